// Goal: who loses a worker under load loses nothing: real processes with the native engine and the bundled model, 16
// streams, each rank killed again and again. Every answer is that of an undisturbed run, token for token, and only who
// was killed reads weights again.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { InferenceServiceClient } from '../../common/proto.js';
import { RECOVERY_PHASES, type Recovery } from '../../coordinator/engine/recovery.js';
import type { GenerateRequest } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import type { GenerateResponse__Output } from '../../proto/ts/skein/inference/v1/GenerateResponse.js';
import type { GetClusterResponse__Output } from '../../proto/ts/skein/inference/v1/GetClusterResponse.js';
import { repoPath } from '../support/paths.js';
import { SkeinProcess } from '../support/skein-process.js';

const NANO = repoPath('models', 'r1v-nano');
const NUM_STREAMS = 16;
const MAX_TOKENS = 160;
const KILLS_PER_RANK = 3;
/** Far beyond what it takes: a machine that runs other tests too. */
const RECOVERED_WITHIN_MS = 20_000;

type Client = InstanceType<typeof InferenceServiceClient>;

interface Answer {
  readonly tokens: number[];
  readonly logprobs: number[];
  readonly text: string;
}

/**
 * Greedy and seeded, with pictures and without, with what depends on the tokens so far: penalties, minimum lengths,
 * stop tokens.
 */
function requests(): GenerateRequest[] {
  const picture = readFileSync(path.join(NANO, 'examples', 'compare.png'));
  return Array.from({ length: NUM_STREAMS }, (_, index) => {
    const pictures = index % 4 === 3 ? [{ data: picture }] : [];
    const text = `What is ${index} + ${index + 1}? Explain.`;
    const length = { maxTokens: MAX_TOKENS - 3 * index, ignoreEos: index % 5 !== 4, topLogprobs: 2 };
    const sampled = { temperature: 0.9, topP: 0.95, seed: String(1000 + index), minTokens: 40 };
    const penalties = { repetitionPenalty: 1.1, presencePenalty: 0.4, frequencyPenalty: 0.2 };
    const sampling = {
      ...length,
      ...(index % 2 === 1 ? sampled : { temperature: 0 }),
      ...(index % 3 === 2 ? penalties : {}),
    };
    return { text, pictures, sampling };
  });
}

function ask(
  client: Client,
  request: GenerateRequest,
  onTokens: () => void = () => undefined,
): Promise<Answer> {
  const answer = { tokens: [] as number[], logprobs: [] as number[], text: '' };
  const call = client.generate(request);
  call.on('data', ({ tokenIds, logprobs, reasoningDelta, answerDelta }: GenerateResponse__Output) => {
    answer.tokens.push(...tokenIds);
    answer.logprobs.push(...logprobs.map(({ logprob }) => logprob));
    answer.text += reasoningDelta + answerDelta;
    onTokens();
  });
  return new Promise((resolve, reject) => call.on('end', () => resolve(answer)).on('error', reject));
}

function clusterOf(client: Client): Promise<GetClusterResponse__Output> {
  return new Promise((resolve, reject) =>
    client.getCluster({}, (error, value) => (error === null ? resolve(value!) : reject(error))),
  );
}

function recoveriesOf({ stderr }: SkeinProcess): Recovery[] {
  return stderr
    .split('\n')
    .filter((line) => line.includes('"recovery"'))
    .map((line) => (JSON.parse(line) as { recovery: Recovery }).recovery);
}

async function until(isDone: () => boolean, what: string): Promise<void> {
  const deadlineMs = Date.now() + RECOVERED_WITHIN_MS;
  while (!isDone()) {
    assert.ok(Date.now() < deadlineMs, `not within ${RECOVERED_WITHIN_MS} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe('a service whose workers are killed under load', function () {
  this.timeout(300_000);
  let server: SkeinProcess | null = null;
  let client: Client | null = null;

  afterEach(async () => {
    client?.close();
    await server?.killed();
    client = server = null;
  });

  for (const dtype of ['float32', 'bfloat16']) {
    it(`answers as if nothing had happened (${dtype})`, async () => {
      const flags = ['--dtype', dtype, '--tensor-parallel-size', '2', '--kv-cache-memory', '32M'];
      const [used, calls] = await serve(...flags);
      const all = requests();
      const undisturbed = await Promise.all(all.map((request) => ask(calls, request)));
      const before = await clusterOf(calls);
      const numTokens = all.map(() => 0);
      const isDone = all.map(() => false);
      const start = (): Promise<Answer>[] =>
        all.map(async (request, index) => {
          isDone[index] = false;
          const answer = await ask(calls, request, () => (numTokens[index] = numTokens[index]! + 1));
          isDone[index] = true;
          return answer;
        });
      const gaps: number[] = [];
      let running = start();
      const answers: Answer[] = [];
      for (let kill = 0; kill < 2 * KILLS_PER_RANK; kill += 1) {
        // In turns while some are still being computed again, and when all go on: of who is hit in its prefill twice
        // in a row, the service would have to think that it is the cause.
        const seen = [...numTokens];
        const goesOn = (index: number): boolean => isDone[index]! || numTokens[index]! > seen[index]!;
        const numGoing = kill % 2 === 0 ? NUM_STREAMS : NUM_STREAMS / 2;
        await until(() => all.filter((_, index) => goesOn(index)).length >= numGoing, 'tokens');
        const { ranks } = await clusterOf(calls);
        const killedMs = performance.now();
        process.kill(ranks[kill % 2]!.pid, 'SIGKILL');
        await until(() => recoveriesOf(used).length > kill, 'a recovery');
        gaps.push(performance.now() - killedMs);
        // As many again, so that there is always something to lose.
        if (kill === KILLS_PER_RANK - 1) {
          answers.push(...(await Promise.all(running)));
          running = start();
        }
      }
      answers.push(...(await Promise.all(running)));
      for (const [index, answer] of answers.entries())
        assert.deepEqual(answer, undisturbed[index % NUM_STREAMS], `stream ${index}`);
      const recoveries = recoveriesOf(used);
      assert.equal(recoveries.length, 2 * KILLS_PER_RANK);
      const { weightBytes } = before.ranks[0]!;
      for (const { cause, numRequests, numAttempts, readBytes, phasesMs } of recoveries) {
        assert.equal(cause, 'WORKER_LOST');
        assert.ok(numRequests > 0 && numAttempts === 1, `${numRequests} requests, ${numAttempts} attempts`);
        // Of two ranks with as many weights each, one read them.
        assert.ok(readBytes > 0 && readBytes < 1.5 * Number(weightBytes), `${readBytes} bytes`);
        const times = RECOVERY_PHASES.map((phase) => phasesMs[phase] ?? NaN);
        assert.ok(
          times.every((time, index) => time >= (times[index - 1] ?? 0)),
          JSON.stringify(phasesMs),
        );
      }
      const report = recoveries.map(({ phasesMs }) => JSON.stringify(phasesMs)).join('\n');
      if (process.env['SKEIN_TEST_REPORT'] !== undefined)
        process.stdout.write(`${gaps.map(Math.round).join(' ')} ms from kill to token\n${report}\n`);
    });
  }

  async function serve(...flags: string[]): Promise<[SkeinProcess, Client]> {
    const address = ['--grpc-address', '127.0.0.1:0', '--log-level', 'info'];
    server = SkeinProcess.real(['serve', '--model', NANO, ...address, ...flags]);
    const [, boundAddress] = await server.outputMatches(/serving \S+ on (\S+)/, 60_000);
    client = new InferenceServiceClient(boundAddress!, grpc.credentials.createInsecure());
    return [server, client];
  }
});
