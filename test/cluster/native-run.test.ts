// The installed commands with the native engine, over real processes: what a newcomer types, what goes wrong, what is
// left behind.
import assert from 'node:assert/strict';
import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { EXIT_CODES } from '../../common/exit-codes.js';
import { isRunning, SkeinProcess } from '../support/skein-process.js';
import { writeRandomCheckpoint } from '../support/random-checkpoint.js';
import { repoPath } from '../support/paths.js';
import { Stopwatch } from '../support/stopwatch.js';

interface Example {
  readonly picture: string;
  readonly question: string;
  readonly answer: string;
}

interface RunReport {
  readonly reasoning: string;
  readonly answer: string;
  readonly token_ids: readonly number[];
  readonly world_size: number;
  readonly ranks: readonly {
    readonly memory: { readonly kv_cache: number };
    readonly pid: number;
    readonly weight_bytes: number;
    readonly read_bytes: number;
    readonly peak_resident_bytes: number;
  }[];
}

const NANO = repoPath('models', 'r1v-nano');
const EXAMPLES = JSON.parse(readFileSync(path.join(NANO, 'examples', 'examples.json'), 'utf8')) as Example[];
const LOST_WORKER_LIMIT_MS = 2000;

describe('skein with the native engine', function () {
  this.timeout(120_000);
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'skein-test-'));
  });

  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  function ask(example: Example, ...flags: string[]): SkeinProcess {
    const picture = path.join(NANO, 'examples', example.picture);
    return SkeinProcess.real([
      'run',
      '--model',
      NANO,
      '--image-paths',
      picture,
      '--question',
      example.question,
      ...flags,
    ]);
  }

  async function refused(args: readonly string[], line: RegExp, code = 1): Promise<void> {
    const skein = SkeinProcess.real(args);
    assert.equal((await skein.exited).code, code, skein.stderr);
    const errors = skein.stderr.split('\n').filter((text) => text.startsWith('skein: '));
    assert.equal(errors.length, 1, skein.stderr);
    assert.match(errors[0]!, line);
    assert.equal(skein.stdout, '');
  }

  const collectives = ['shared-memory', 'gloo'];
  for (const [index, example] of EXAMPLES.entries()) {
    const collective = collectives[index % collectives.length]!;
    it(`answers "${example.question}" with two workers over ${collective} and leaves none behind`, async () => {
      const skein = ask(example, '--tensor-parallel-size', '2', '--collective', collective, '--json');
      assert.equal((await skein.exited).code, 0, skein.stderr);
      const report = JSON.parse(skein.stdout) as RunReport;
      assert.equal(report.answer.trim(), example.answer);
      assert.ok(report.reasoning.trim().length > 0);
      assert.equal(report.world_size, 2);
      assert.deepEqual(
        report.ranks.map(({ pid }) => isRunning(pid)),
        [false, false],
      );
      assert.equal(skein.stderr.includes('"level":"warn"'), false, skein.stderr);
    });
  }

  it('keeps keys and values in FP8 where it is asked to, and answers the same', async () => {
    const bytes: number[] = [];
    for (const type of ['auto', 'fp8']) {
      const skein = ask(EXAMPLES[0]!, '--tensor-parallel-size', '2', '--kv-cache-dtype', type, '--json');
      assert.equal((await skein.exited).code, 0, skein.stderr);
      const { answer, ranks } = JSON.parse(skein.stdout) as RunReport;
      assert.equal(answer.trim(), EXAMPLES[0]!.answer);
      bytes.push(ranks[0]!.memory.kv_cache);
    }
    // Of as many tokens: 32 codes and a float32 for 32 values in bfloat16.
    assert.equal(bytes[1]! / bytes[0]!, 36 / 64);
  });

  it('reads each byte of its slices once and stays within the predicted memory', async () => {
    writeRandomCheckpoint(folder, {
      hiddenSize: 1024,
      numLayers: 10,
      numHeads: 16,
      numKvHeads: 16,
      intermediateSize: 4096,
      vocabSize: 8192,
    });
    const plan = SkeinProcess.real(['plan', '--model', folder, '--tensor-parallel-size', '2', '--json']);
    assert.equal((await plan.exited).code, 0, plan.stderr);
    const predicted = JSON.parse(plan.stdout) as {
      ranks: {
        weight_bytes: number;
        read_bytes: number;
        load: { peak_bytes: number; fixed_bytes: number };
      }[];
    };
    const args = ['--tensor-parallel-size', '2', '--question', 'hello', '--max-tokens', '2', '--ignore-eos'];
    const skein = SkeinProcess.real([
      'run',
      '--model',
      folder,
      '--kv-cache-memory',
      '16M',
      '--json',
      ...args,
    ]);
    assert.equal((await skein.exited).code, 0, skein.stderr);
    const { ranks } = JSON.parse(skein.stdout) as RunReport;
    for (const [index, rank] of ranks.entries()) {
      const { read_bytes, load } = predicted.ranks[index]!;
      assert.equal(rank.read_bytes, read_bytes);
      assert.ok(rank.peak_resident_bytes > read_bytes, 'a peak was measured');
      assert.ok(
        rank.peak_resident_bytes <= load.peak_bytes,
        `${rank.peak_resident_bytes} of ${load.peak_bytes}`,
      );
      assert.ok(load.peak_bytes <= 1.1 * read_bytes + load.fixed_bytes, 'slices, 10 % and what is fixed');
    }
  });

  it('ends a call within two seconds when a worker is killed, and leaves no orphan', async () => {
    const skein = ask(EXAMPLES[0]!, '--tensor-parallel-size', '2', '--max-tokens', '400', '--ignore-eos');
    await skein.outputMatches(/--- reasoning ---\n\w/);
    const [first, second] = skein.childPids();
    assert.ok(first !== undefined && second !== undefined);
    const sinceKilled = new Stopwatch();
    process.kill(second, 'SIGKILL');
    assert.equal((await skein.exited).code, 1);
    const elapsedMs = sinceKilled.stop();
    assert.ok(elapsedMs < LOST_WORKER_LIMIT_MS, `${elapsedMs.toFixed(0)} ms`);
    assert.match(skein.stderr, /^skein: WORKER_LOST: /m);
    assert.deepEqual([first, second].map(isRunning), [false, false]);
  });

  it('refuses a corrupt checkpoint by file and tensor', async () => {
    for (const name of readdirSync(NANO).filter((entry) => /\.(json|safetensors)$/.test(entry))) {
      copyFileSync(path.join(NANO, name), path.join(folder, name));
    }
    truncateSync(path.join(folder, 'model.safetensors'), 1_000_000);
    const args = ['run', '--model', folder, '--question', 'hello'];
    await refused(args, /^skein: CORRUPT_WEIGHTS: .*model\.safetensors/, EXIT_CODES.unservable.code);
  });

  it('refuses an empty picture and one whose header claims 60,000 x 60,000 pixels', async () => {
    const empty = path.join(folder, 'empty.png');
    writeFileSync(empty, '');
    const huge = path.join(folder, 'huge.png');
    writeFileSync(huge, hugePng());
    for (const [picture, line] of [
      [empty, /^skein: INVALID_PICTURE: .*empty\.png/],
      [huge, /^skein: INVALID_PICTURE: .*60,?000/],
    ] as const) {
      await refused(['run', '--model', NANO, '--image-paths', picture, '--question', 'what is it?'], line);
    }
  });

  it('refuses unknown flags and world sizes that cannot be', async () => {
    await refused(['run', '--model', NANO, '--question', 'hello', '--colour', 'red'], /--colour/, 2);
    const nine = ['run', '--model', NANO, '--question', 'hello', '--tensor-parallel-size', '9'];
    await refused(nine, /^skein: INVALID_REQUEST: .* 9 does not fit .*8 query heads .*fit: 1-8$/, 2);
  });
});

/**
 * Signature and header chunk of a PNG of 60,000 x 60,000 pixels, 8-bit RGB, with its right checksum, and nothing after
 * it.
 */
function hugePng(): Buffer {
  const header = Buffer.from('IHDR0000000000000', 'latin1');
  header.writeUInt32BE(60_000, 4);
  header.writeUInt32BE(60_000, 8);
  header.set([8, 2, 0, 0, 0], 12);
  const chunk = Buffer.alloc(4 + header.length + 4);
  chunk.writeUInt32BE(13, 0);
  header.copy(chunk, 4);
  chunk.writeUInt32BE(crc32(header), 4 + header.length);
  return Buffer.concat([Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), chunk]);
}

function crc32(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb8_8320 : crc >>> 1;
  }
  return (crc ^ 0xffff_ffff) >>> 0;
}
