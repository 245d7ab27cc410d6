// Goal: more pictures than the coordinator may hold, offered over HTTP at once, are refused with a time to come back
// while its memory stays within what the documentation says and a stream beside them goes on. The engine is a fake.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import OpenAI from 'openai';
import sharp from 'sharp';
import { goldenPath } from '../support/paths.js';
import { SkeinProcess } from '../support/skein-process.js';

const MIB = 1024 * 1024;
const [NUM_CALLS, SIDE] = [120, 1672];

function peakResidentBytes(pid: number): number {
  const kib = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kib) * 1024;
}

function send(url: string, body: Buffer, agent: Agent): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': body.byteLength };
    const call = request(`${url}/v1/chat/completions`, { method: 'POST', headers, agent });
    call.on('response', (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode ?? 0));
    });
    call.on('error', reject);
    call.end(body);
  });
}

describe('a coordinator that is asked too much over HTTP', function () {
  this.timeout(240_000);
  let skein: SkeinProcess | null = null;
  afterEach(() => skein?.killed());

  it('takes the pictures that it has memory for, refuses the others, and loses no stream', async () => {
    const model = ['--model', goldenPath('tiny-6b-vit'), '--dtype', 'float32'];
    const limits = ['--request-memory', '128M', '--picture-memory', '64M', '--encoding-threads', '2'];
    const addresses = ['--grpc-address', '127.0.0.1:0', '--http-address', '127.0.0.1:0'];
    skein = new SkeinProcess(['serve', ...model, ...limits, ...addresses], { stepMs: 10 });
    const [, url] = await skein.outputMatches(/ and (http:\S+)/, 60_000);
    const noise = { raw: { width: SIDE, height: SIDE, channels: 3 as const } };
    const data = await sharp(randomBytes(SIDE * SIDE * 3), noise)
      .png({ compressionLevel: 0 })
      .toBuffer();
    const image = { url: `data:image/png;base64,${data.toString('base64')}` };
    const messages = [
      {
        role: 'user',
        content: [
          { type: 'image_url', image_url: image },
          { type: 'text', text: 'What?' },
        ],
      },
    ];
    const body = Buffer.from(JSON.stringify({ messages, max_tokens: 4 }));
    assert.ok(body.byteLength > 10 * MIB);

    const openai = new OpenAI({ apiKey: 'none', baseURL: `${url}/v1`, maxRetries: 0 });
    const options = { model: 'tiny-6b-vit', prompt: [5], max_tokens: 4000, stream: true as const };
    const stream = await openai.completions.create(options, { body: { ...options, ignore_eos: true } });
    let [numEvents, longestGapMs, isOver] = [0, 0, false];
    const reading = (async () => {
      let lastMs = performance.now();
      for await (const chunk of stream) {
        assert.equal(chunk.choices.length, 1);
        const nowMs = performance.now();
        longestGapMs = Math.max(longestGapMs, nowMs - lastMs);
        lastMs = nowMs;
        numEvents += 1;
        if (isOver) break;
      }
    })();
    const agent = new Agent({ maxSockets: 40, keepAlive: true });
    const statuses = await Promise.all(Array.from({ length: NUM_CALLS }, () => send(url!, body, agent)));
    const before = numEvents;
    assert.equal(await send(url!, body, agent), 200);
    while (numEvents === before) await new Promise((resolve) => setTimeout(resolve, 20));
    isOver = true;
    await reading;
    agent.destroy();
    const numTaken = statuses.filter((status) => status === 200).length;
    assert.equal(statuses.filter((status) => status === 429).length, NUM_CALLS - numTaken);
    assert.ok(numTaken >= 3 && numTaken < NUM_CALLS, `${numTaken} of ${NUM_CALLS} were taken`);
    // docs/operations.md: twice the requests, the pictures, what a thread needs to decode one.
    const limitBytes = 350 * MIB + 2 * 128 * MIB + 64 * MIB + 2 * 100 * MIB;
    const peakBytes = peakResidentBytes(skein.pid);
    assert.ok(peakBytes < limitBytes, `${peakBytes / MIB} MiB at the most; ${limitBytes / MIB} are allowed`);
    const numbers = { numTaken, peakMib: peakBytes / MIB, longestGapMs, numEvents };
    if (process.env['SKEIN_PRINT'] === '1') process.stdout.write(`${JSON.stringify(numbers)}\n`);
  });
});
