// Goal: `skein run` and `serve` as a user types them: the JSON object, the printed answer, and one clear line with a
// non-zero code for whatever cannot be. The engine is a fake.
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { EXIT_CODES } from '../../common/exit-codes.js';
import { goldenPath } from '../support/paths.js';
import { allGone, SkeinProcess } from '../support/skein-process.js';

const MODEL = ['--model', goldenPath('tiny-6b-vit'), '--dtype', 'float32'];
const ASK = ['run', ...MODEL, '--question', 'Why?'];

async function run(args: readonly string[], engine: object = {}) {
  const skein = new SkeinProcess(args, engine);
  const { code } = await skein.exited;
  return { code, stdout: skein.stdout, stderr: skein.stderr };
}

describe('the command line', function () {
  let folder: string;

  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 't-'));
  });

  after(() => rmSync(folder, { recursive: true, force: true }));

  it('run --json prints one object with every field', async () => {
    const image = goldenPath('tiny-6b-vit', 'img0.png');
    const args = [
      ...ASK,
      '--tensor-parallel-size',
      '2',
      '--image-paths',
      image,
      image,
      '--max-tokens',
      '7',
      '--top-logprobs',
      '3',
      '--json',
    ];
    const { code, stdout, stderr } = await run(args);
    assert.equal(code, 0, stderr);
    const report = JSON.parse(stdout) as Record<string, never> & {
      token_ids: number[];
      prompt_token_ids: number[];
      top_logprobs: { id: number; logprob: number }[][];
      timings: Record<string, number>;
      ranks: { rank: number; pid: number; host: string; device: string; weight_bytes: number }[];
    };
    assert.deepEqual(Object.keys(report), [
      'text',
      'reasoning',
      'answer',
      'token_ids',
      'prompt_token_ids',
      'prompt_tokens',
      'completion_tokens',
      'finish_reason',
      'top_logprobs',
      'timings',
      'world_size',
      'deterministic',
      'ranks',
    ]);
    assert.deepEqual(Object.keys(report.timings), ['load_ms', 'ttft_ms', 'tpot_ms', 'total_ms']);
    assert.deepEqual(
      [report.token_ids.length, report.top_logprobs.length, report.top_logprobs[0]?.length],
      [7, 7, 3],
    );
    assert.equal(report['prompt_tokens'], report.prompt_token_ids.length);
    assert.equal(report['world_size'], 2);
    assert.deepEqual(
      report.ranks.map(({ rank, device, weight_bytes: bytes }) => [rank, device, bytes]),
      [
        [0, 'cpu', 1000],
        [1, 'cpu', 1000],
      ],
    );
    await allGone(
      report.ranks.map(({ pid }) => pid),
      100,
    );
  });

  it('run streams reasoning or answer under a heading, then says what each rank held', async () => {
    const { code, stdout, stderr } = await run([...ASK, '--tensor-parallel-size', '3', '--max-tokens', '9']);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^--- (reasoning|answer) ---\n\S/);
    for (const rank of [0, 1, 2]) {
      assert.match(
        stdout,
        new RegExp(`^rank ${rank} \\(process \\d+, cpu\\): heads .*MLP columns .*vision .*$`, 'm'),
      );
      assert.match(
        stdout,
        new RegExp(
          `^rank ${rank} cpu weights .* MiB, .*KV cache .* tokens\\), free 64\\.0 of 16384\\.0$`,
          'm',
        ),
      );
    }
    assert.match(stdout, /9 generated; first token after \d+ ms, [\d.]+ tokens\/s; finished by length/);
    assert.match(stderr, /loading: 100 %/);
  });

  it("takes the command lines of upstream's script as they are written", async () => {
    const images = ['img0.png', 'img1.png'].map((name) => goldenPath('tiny-6b-vit', name));
    const sampling = [
      '--temperature',
      '0.0',
      '--max_tokens',
      '3',
      '--repetition_penalty=1.05',
      '--top_p',
      '0.95',
    ];
    const upstream = (question: string) => [
      'run',
      ...[
        '--model_path',
        goldenPath('tiny-6b-vit'),
        '--tensor_parallel_size',
        '2',
        '--image_paths',
        ...images,
      ],
      ...['--question', question, ...sampling],
    ];
    const ours = ['run', ...MODEL, '--image-paths', ...images];
    const expected = await promptOf([...ours, '--question', 'What differs?']);
    // A question that brings its own markers gets no others.
    assert.deepEqual(await promptOf(upstream('<image>\n<image>\nWhat differs?')), expected);
    const { code, stderr } = await run(upstream('<image>\nWhat differs?'));
    assert.equal(code, EXIT_CODES.usage.code);
    assert.match(
      stderr,
      /^skein: INVALID_REQUEST: --question begins with 1 <image> markers?, .* 2 pictures\n$/,
    );
  });

  async function promptOf(args: readonly string[]): Promise<readonly number[]> {
    const { code, stdout, stderr } = await run([...args, '--json']);
    assert.equal(code, 0, stderr);
    return (JSON.parse(stdout) as { prompt_token_ids: number[] }).prompt_token_ids;
  }

  it('says at start which settings the checkpoint does not give, louder where their file is missing', async () => {
    const model = path.join(folder, 'without-picture-settings');
    cpSync(goldenPath('tiny-hf-layout'), model, { recursive: true });
    rmSync(path.join(model, 'preprocessor_config.json'));
    const args = ['run', '--model', model, '--question', 'Why?', '--max-tokens', '1', '--log-level', 'info'];
    const { code, stderr } = await run(args);
    assert.equal(code, 0, stderr);
    const lines = stderr.split('\n').filter((line) => line.includes('"defaults"'));
    const logged = new Map(
      lines.map((line) => {
        const { level, defaults } = JSON.parse(line) as { level: string; defaults: Record<string, unknown> };
        return [level, defaults];
      }),
    );
    const missing = 'processor_config.json, preprocessor_config.json';
    assert.deepEqual([...logged.keys()], ['warn', 'info']);
    assert.equal(logged.get('warn')?.[`${missing}: max_patches`], 12);
    assert.equal(logged.get('info')?.['config.json: text_config: head_dim'], 16);
  });

  const corrupt = () => {
    const file = path.join(folder, 'empty.png');
    writeFileSync(file, '');
    return file;
  };
  const bomb = () => {
    // A header of 60,000 x 60,000 pixels and nothing behind it.
    const file = path.join(folder, 'bomb.png');
    const header = Buffer.from('89504e470d0a1a0a0000000d494844520000ea600000ea6008020000000000000000', 'hex');
    writeFileSync(file, header);
    return file;
  };

  const refused: [string, () => string[], number, RegExp][] = [
    ['an unknown flag', () => [...ASK, '--frobnicate'], 2, /INVALID_REQUEST: unknown option '--frobnicate'/],
    ['a number that is none', () => [...ASK, '--max-tokens', 'many'], 2, /INVALID_REQUEST: .*--max-tokens/],
    ['a missing question', () => ['run', ...MODEL], 2, /INVALID_REQUEST: .*--question/],
    ['a missing model', () => ['run', '--question', 'x'], 2, /INVALID_REQUEST: .*--model/],
    ['a folder that is none', () => ['run', '--model', '/nonexistent', '--question', 'x'], 3, /nonexistent/],
    ['a temperature below 0', () => [...ASK, '--temperature', '-1'], 2, /INVALID_REQUEST: temperature/],
    ['top_p of 0', () => [...ASK, '--top-p', '0'], 2, /INVALID_REQUEST: top_p/],
    ['a seed beyond 64 bits', () => [...ASK, '--seed', '18446744073709551616'], 2, /INVALID_REQUEST: seed/],
    [
      'a missing picture',
      () => [...ASK, '--image-paths', '/nonexistent.png'],
      1,
      /INVALID_PICTURE: \/nonexistent\.png/,
    ],
    ['an empty picture', () => [...ASK, '--image-paths', corrupt()], 1, /INVALID_PICTURE: .*empty\.png/],
    [
      'a picture of 60,000 x 60,000',
      () => [...ASK, '--image-paths', bomb()],
      1,
      /INVALID_PICTURE: .*bomb\.png/,
    ],
    ['a world size that cannot be', () => [...ASK, '--tensor-parallel-size', '41'], 2, /INVALID_REQUEST: /],
    [
      'a context that is too long',
      () => [...ASK, '--max-tokens', '100000'],
      1,
      /CONTEXT_LENGTH_EXCEEDED: .*100000/,
    ],
    [
      'a model length beyond the model',
      () => [...ASK, '--max-model-length', '10000000'],
      2,
      /INVALID_REQUEST: --max-model-length/,
    ],
    [
      'too little KV memory',
      () => [...ASK, '--kv-cache-memory', '1K'],
      EXIT_CODES.usage.code,
      /INVALID_REQUEST: --kv-cache-memory is 1024 bytes; rank 0 needs \d+ for one block of 16 tokens/,
    ],
  ];
  for (const [what, args, exitCode, message] of refused) {
    it(`refuses ${what} in one line`, async () => {
      const { code, stdout, stderr } = await run(args());
      assert.equal(code, exitCode, stderr);
      assert.equal(stdout, '');
      const lines = stderr.split('\n').filter((line) => !line.startsWith('loading: '));
      assert.equal(lines.length, 2, stderr);
      assert.match(lines[0]!, /^skein: [A-Z_]+: /);
      assert.match(lines[0]!, message);
    });
  }

  it('says what a worker said when it could not load', async () => {
    const { code, stderr } = await run([...ASK, '--tensor-parallel-size', '2'], { failLoad: true });
    assert.equal(code, EXIT_CODES.unservable.code);
    assert.match(stderr, /^skein: CORRUPT_WEIGHTS: rank \d: model\.safetensors: tensor x is truncated$/m);
  });

  it('--help says how each command is called, and no default as JSON', async () => {
    for (const name of ['serve', 'worker', 'health', 'bench serve']) {
      const skein = SkeinProcess.real([...name.split(' '), '--help']);
      assert.equal((await skein.exited).code, 0, skein.stderr);
      assert.match(skein.stdout, new RegExp(`^Usage: skein ${name} \\[options\\]`));
      assert.doesNotMatch(skein.stdout, /default: [[{]/);
    }
  });

  it('serve refuses an address that is taken, and leaves no worker', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const skein = new SkeinProcess([
      'serve',
      ...MODEL,
      '--grpc-address',
      `127.0.0.1:${port}`,
      '--log-level',
      'silent',
    ]);
    assert.equal((await skein.exited).code, 1);
    assert.match(skein.stderr, new RegExp(`skein: INVALID_REQUEST: cannot listen on 127.0.0.1:${port}`));
    assert.deepEqual(skein.childPids(), []);
    server.close();
  });
});
