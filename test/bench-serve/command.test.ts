// Goal: `skein bench serve` as it is typed: against a served model over both protocols, with everything that it writes;
// and mistakes on the command line, which are told in one line before anything is asked.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { EXIT_CODES } from '../../common/exit-codes.js';
import type { Result } from '../../bench-serve/report/result.js';
import { repoPath } from '../support/paths.js';
import { SkeinProcess } from '../support/skein-process.js';
import { CALM, startHttp } from './fake-servers.js';

/** The machine that runs the tests does other things too. */
const PATIENT = ['--max-lag', '60000'];

async function bench(
  ...args: readonly string[]
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const skein = SkeinProcess.real(['bench', 'serve', ...args]);
  const { code } = await skein.exited;
  return { code, stdout: skein.stdout, stderr: skein.stderr };
}

describe('skein bench serve', function () {
  this.timeout(120_000);
  let folder: string;

  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'skein-bench-serve-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  describe('against a served model', () => {
    let skein: SkeinProcess;
    let grpcAddress: string;
    let baseUrl: string;

    before(async () => {
      skein = SkeinProcess.real([
        ...['serve', '--model', repoPath('models', 'r1v-nano'), '--tensor-parallel-size', '2'],
        ...['--grpc-address', '127.0.0.1:0', '--http-address', '127.0.0.1:0', '--log-level', 'silent'],
      ]);
      const [, grpc, http] = await skein.outputMatches(/^serving \S+ on (\S+) and (\S+)$/m, 60_000);
      [grpcAddress, baseUrl] = [grpc!, http!];
    });
    after(() => skein.killed());

    function results(name: string): { result: Result; html: string } {
      return {
        result: JSON.parse(readFileSync(path.join(folder, `${name}.json`), 'utf8')) as Result,
        html: readFileSync(path.join(folder, `${name}.html`), 'utf8'),
      };
    }

    const WORKLOAD = ['--num-prompts', '8', '--input-len', '60', '--output-len', '12', '--ignore-eos'];

    for (const [name, target] of [
      ['grpc', () => ['--address', grpcAddress]],
      ['openai-chat', () => ['--base-url', baseUrl]],
      ['openai', () => ['--backend', 'openai', '--base-url', `${baseUrl}/v1`]],
    ] as const) {
      it(`measures two rates by ${name}, and writes table, JSON and page`, async () => {
        const files = ['json', 'html'].map((ending) => path.join(folder, `${name}.${ending}`));
        const { code, stdout, stderr } = await bench(
          ...[
            ...target(),
            ...WORKLOAD,
            ...PATIENT,
            '--rate',
            '8,16',
            '--goodput',
            'ttft:60000',
            'tpot:60000',
          ],
          ...['--output', files[0]!, '--report', files[1]!, '--save-detailed', '--label', 'a <test>'],
          ...['--header', 'X-Secret: hush'],
        );
        assert.equal(code, EXIT_CODES.done.code, stderr);
        const { result, html } = results(name);
        assert.deepEqual(
          [result.target.api, result.target.model, result.points.length],
          [name, 'r1v-nano', 2],
        );
        for (const { requests, tokens, itlMs, goodput, requestRecords, ttftMs } of result.points) {
          assert.deepEqual([requests.completed, requests.failed, tokens.output], [8, 0, 96]);
          assert.deepEqual([tokens.prompt, tokens.otherPromptLength, tokens.otherOutputLength], [480, 0, 0]);
          assert.equal(tokens.counted, 'usage');
          assert.ok(itlMs.samples > 0 && ttftMs.min! > 0);
          assert.equal(goodput!.good, 8);
          assert.equal(requestRecords!.length, 8);
        }
        assert.match(stdout, /^rate +done +failed .*\n8\/s +8\/8 +0 /);
        assert.ok(
          html.includes('a &#60;test&#62;') && !html.includes('<script') && !/https?:\/\/(?!127)/.test(html),
        );
        assert.ok(!/NaN|Infinity|undefined/.test(html));
        for (const text of [html, JSON.stringify(result), stdout]) assert.ok(!text.includes('hush'));
      });
    }

    it('takes pictures, turns and prefixes over both protocols', async () => {
      const workload = ['--num-prompts', '2', '--input-len', '30', '--output-len', '4', '--ignore-eos'];
      const more = ['--pictures', '1', '--picture-size', '200x100', '--turns', '2', '--prefix-len', '40'];
      for (const target of [
        ['--address', grpcAddress],
        ['--base-url', baseUrl],
      ]) {
        const output = path.join(folder, 'rich.json');
        const { code, stderr } = await bench(...target, ...workload, ...more, ...PATIENT, '--output', output);
        assert.equal(code, 0, stderr);
        const [point] = (JSON.parse(readFileSync(output, 'utf8')) as Result).points;
        assert.equal(point!.requests.completed, 4);
        // The second of each conversation finds the first; tokens of pictures come on top of what was asked for.
        assert.ok(point!.tokens.cached! > 0 && point!.tokens.prompt! > 2 * 70);
      }
    });

    it('follows a trace, with a tokenizer of its own where that is asked for', async () => {
      const trace = path.join(folder, 'trace.jsonl');
      const lines = [0, 150, 300].map((timestamp) => ({
        timestamp,
        input_length: 50,
        output_length: 3,
        hash_ids: [1],
      }));
      writeFileSync(trace, lines.map((line) => JSON.stringify(line)).join('\n'));
      const output = path.join(folder, 'trace.json');
      const { code, stderr } = await bench(
        ...['--base-url', baseUrl, '--trace', trace, '--trace-block-size', '32', '--trace-speed', '2'],
        ...['--tokenizer', repoPath('models', 'r1v-nano'), '--ignore-eos', '--output', output, ...PATIENT],
      );
      assert.equal(code, 0, stderr);
      const [point] = (JSON.parse(readFileSync(output, 'utf8')) as Result).points;
      assert.deepEqual([point!.rate, point!.tokens.prompt, point!.tokens.output], [null, 150, 9]);
      assert.ok(point!.durationS >= 0.149);
    });

    it('says why the server refused the warm-up, with its field and limit, or that it took too long', async () => {
      const grpc = ['--address', grpcAddress];
      const http = ['--base-url', baseUrl];
      const cases: [string[], RegExp, number][] = [
        [
          [...grpc, '--input-len', '5000'],
          /CONTEXT_LENGTH_EXCEEDED: the warm-up failed: the prompt has .*5000 tokens; .* 4096 /,
          EXIT_CODES.failed.code,
        ],
        [
          [...http, '--input-len', '30', '--extra-body', '{"top_p": 9}'],
          /INVALID_REQUEST: the warm-up failed: HTTP 400 invalid_request: top_p must be .* at most 1; got 9$/,
          EXIT_CODES.failed.code,
        ],
        [
          [...grpc, '--model', 'another'],
          /MODEL_NOT_FOUND: the warm-up failed: .*"another"/,
          EXIT_CODES.unservable.code,
        ],
        [
          [...http, '--model', 'another'],
          /MODEL_NOT_FOUND: .*\/tokenize: HTTP 404 .*"another"/,
          EXIT_CODES.unservable.code,
        ],
        [
          [...grpc, '--output-len', '3000', '--ignore-eos', '--input-len', '30', '--request-timeout', '1'],
          /DEADLINE_EXCEEDED: the warm-up failed: TIMEOUT: no end .* 1 s \(--request-timeout\)$/,
          EXIT_CODES.failed.code,
        ],
      ];
      for (const [args, pattern, exitCode] of cases) {
        const { code, stderr } = await bench('--num-prompts', '1', ...args);
        assert.match(stderr.trimEnd(), pattern);
        assert.equal(code, exitCode, stderr);
      }
    });

    it('ends with what it has when it is stopped, and says by which signal', async () => {
      const output = path.join(folder, 'stopped.json');
      const stopped = SkeinProcess.real([
        ...['bench', 'serve', '--address', grpcAddress, ...WORKLOAD, ...PATIENT],
        ...['--rate', '200,0.1', '--warm-ups', '0', '--output', output],
      ]);
      const deadline = Date.now() + 60_000;
      while (!stopped.stderr.includes('0.1/s') && Date.now() < deadline)
        await new Promise((resolve) => setTimeout(resolve, 20));
      stopped.child.kill('SIGINT');
      assert.equal((await stopped.exited).code, EXIT_CODES.interrupted.code);
      assert.match(stopped.stderr, /CANCELLED: stopped by SIGINT/);
      const { points } = JSON.parse(readFileSync(output, 'utf8')) as Result;
      assert.equal(points[0]!.requests.completed, 8);
      assert.deepEqual(points[1]!.invalid.at(0), 'it was stopped before its end');
    });
  });

  it('says when the client could not keep up, in the table and by its exit code', async () => {
    const server = await startHttp(CALM);
    try {
      const args = ['--base-url', server.address, '--num-prompts', '10', '--rate', '50', '--input-len', '20'];
      // Nobody comes to a timer so soon.
      const { code, stdout, stderr } = await bench(...args, '--output-len', '4', '--max-lag', '0.1');
      assert.equal(code, EXIT_CODES.failed.code);
      assert.match(stdout, /^50\/s INVALID /m);
      assert.match(stderr, /not valid \(50\/s\): the client could not keep up/);
    } finally {
      await server.stop();
    }
  });

  it('says that a warm-up broke off, which the server did not mean', async () => {
    const server = await startHttp({ ...CALM, fate: () => 'break' });
    try {
      const { code, stderr } = await bench(
        '--base-url',
        server.address,
        '--num-prompts',
        '1',
        '--input-len',
        '20',
      );
      assert.equal(code, EXIT_CODES.failed.code);
      assert.match(stderr, /NOT_READY: the warm-up failed: (ECONNRESET|INCOMPLETE): /);
    } finally {
      await server.stop();
    }
  });

  it('fails where nothing was answered, with the reason of one', async () => {
    const server = await startHttp({ ...CALM, fate: () => 'refuse' });
    try {
      const args = [
        '--base-url',
        server.address,
        '--num-prompts',
        '3',
        '--warm-ups',
        '0',
        '--input-len',
        '20',
      ];
      const { code, stdout, stderr } = await bench(...args, ...PATIENT);
      assert.equal(code, EXIT_CODES.failed.code);
      assert.match(stdout, /failed: 3 HTTP 429 queue_full/);
      assert.match(
        stderr,
        /QUEUE_FULL: no request was answered; the first that failed: HTTP 429 queue_full: full/,
      );
    } finally {
      await server.stop();
    }
  });

  it('refuses what is wrong in one line that names the flag', async () => {
    const wrong: [string[], RegExp][] = [
      [['--rate', '0'], /--rate .* above 0/],
      [['--rate', '1,x'], /--rate /],
      [['--burstiness', '0'], /--burstiness .* 0\.01 to/],
      [['--goodput', 'itl:5'], /--goodput itl:5: expected ttft:MS, tpot:MS or e2e:MS/],
      [['--percentiles', '101'], /--percentiles .* 0 to 100/],
      [['--picture-size', '10'], /--picture-size .* WIDTHxHEIGHT/],
      [['--extra-body', '[]'], /--extra-body .* JSON object/],
      [['--extra-body', '{"a": 1}'], /--extra-body is for HTTP/],
      [['--header', 'nothing'], /--header .*'Name: value'/],
      [['--backend', 'vllm'], /--backend .* grpc, openai-chat, openai/],
      [['--backend', 'openai'], /--base-url is missing/],
      [['--base-url', 'here'], /--base-url here is no URL/],
      [['--base-url', 'ftp://x'], /neither http nor https/],
      [['--base-url', 'http://a:b@x'], /credentials/],
      [['--base-url', 'http://x', '--prompts', 'ids'], /--prompts ids is for grpc and openai/],
      [['--backend', 'openai', '--base-url', 'http://x', '--turns', '2'], /--turns 2 needs/],
      [['--backend', 'openai', '--base-url', 'http://x', '--pictures', '1'], /--pictures needs/],
      [['--duration', '5'], /--duration needs a finite --rate/],
      [['--trace', '/nowhere'], /--trace \/nowhere: ENOENT/],
      [['--address', 'nowhere'], /--address "nowhere"/],
      [['--address', '127.0.0.1:1'], /NOT_READY: 127\.0\.0\.1:1: /],
      [['--base-url', 'http://127.0.0.1:1'], /NOT_READY: http:\/\/127\.0\.0\.1:1: .*ECONNREFUSED/],
      [['--num-prompts', '100000', '--input-len', '100000', '--address', 'unix:/nowhere'], /NOT_READY/],
      [['--header', 'x-bin: 1'], /--header of gRPC must not end in -bin/],
      [['--unheard-of'], /unknown option/],
    ];
    await Promise.all(
      [0, 1].map(async (half) => {
        for (const [args, pattern] of wrong.filter((_, index) => index % 2 === half)) {
          const { code, stdout, stderr } = await bench(...args);
          assert.ok(
            code === EXIT_CODES.usage.code || code === EXIT_CODES.failed.code,
            `${args.join(' ')}: ${code}`,
          );
          assert.match(stderr, pattern);
          assert.equal(stderr.trimEnd().split('\n').length, 1, stderr);
          assert.equal(stdout, '');
        }
      }),
    );
  });
});
