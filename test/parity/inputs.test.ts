// test/inputs, laid over checkpoints: files in forms that other tools write give what transformers gives.
import assert from 'node:assert/strict';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { readGoldenFolder } from '../support/golden-cases.js';
import { goldenPath, repoPath } from '../support/paths.js';
import { SkeinProcess } from '../support/skein-process.js';

interface InputRow {
  readonly what: string;
  readonly checkpoint: string;
  /** Folder of test/inputs. */
  readonly laidOver: string;
  readonly removed?: readonly string[];
  readonly check: (folder: string) => Promise<void>;
}

/** Every golden case: tiles and prompt ids are checked while they are read. */
async function isGolden(folder: string, maxTiles: number): Promise<void> {
  const { checkpoint, cases } = await readGoldenFolder(folder);
  assert.equal(checkpoint.spec.tiling?.maxTiles, maxTiles);
  const picture = cases.find(({ expected }) => expected.images.join() === 'img1.png');
  assert.deepEqual([picture?.pictures[0]?.picture.numTiles, picture?.tokenIds.length], [4, 43]);
}

interface Report {
  readonly reasoning: string;
  readonly answer: string;
  readonly prompt_token_ids: readonly number[];
  readonly token_ids: readonly number[];
}

async function ask(model: string, question: string, ...flags: readonly string[]): Promise<Report> {
  const skein = SkeinProcess.real(['run', '--model', model, '--question', question, '--json', ...flags]);
  const { code } = await skein.exited;
  assert.equal(code, 0, skein.stderr);
  return JSON.parse(skein.stdout) as Report;
}

/** The answer about each file of `pictures`, with these flags. */
async function answersAre(
  folder: string,
  expected: Readonly<Record<string, string>>,
  ...flags: readonly string[]
): Promise<void> {
  for (const [picture, answer] of Object.entries(expected)) {
    const report = await ask(
      folder,
      'Where is the blue square?',
      '--image-paths',
      join(folder, picture),
      ...flags,
    );
    assert.equal(report.answer.trim(), answer, `${picture} ${flags.join(' ')}`);
  }
}

const ROWS: readonly InputRow[] = [
  {
    what: 'crop_to_patches: false counts for nothing',
    checkpoint: goldenPath('tiny-hf-layout'),
    laidOver: 'hf-crop-false',
    check: (folder) => isGolden(folder, 6),
  },
  {
    what: 'processor_config.json alone, settings nested under image_processor',
    checkpoint: goldenPath('tiny-hf-layout'),
    laidOver: 'hf-processor-config',
    removed: ['preprocessor_config.json'],
    check: (folder) => isGolden(folder, 6),
  },
  {
    what: 'tokens that stand only in tokenizer_config.json exist, under their ids',
    checkpoint: goldenPath('tiny-hf-layout'),
    laidOver: 'hf-tokens-in-config',
    async check(folder) {
      await isGolden(folder, 6);
      const { cases } = await readGoldenFolder(folder);
      const picture = cases.find(({ expected }) => expected.images.join() === 'img1.png');
      assert.equal(picture?.tokenIds.filter((id) => id === 372).length, 16, '<IMG_CONTEXT>');
    },
  },
  {
    what: '<think> and </think> are one id each, and the reasoning is split at them',
    checkpoint: repoPath('models', 'r1v-nano'),
    laidOver: 'nano-tokens-in-config',
    async check(folder) {
      const picture = repoPath('test', 'inputs', 'pictures', 'upright.jpg');
      const report = await ask(folder, 'Where is the blue square?', '--image-paths', picture);
      const counts = [report.prompt_token_ids, report.token_ids].map((ids) =>
        [608, 609].map((id) => ids.filter((other) => other === id).length),
      );
      assert.deepEqual(counts, [
        [1, 0],
        [0, 1],
      ]);
      assert.notEqual(report.reasoning.trim(), '');
      assert.equal(report.answer.trim(), 'bottom middle');
    },
  },
  {
    what: 'a phone held upright stores its picture turned, and says so; it is shown upright',
    checkpoint: repoPath('models', 'r1v-nano'),
    laidOver: 'pictures',
    async check(folder) {
      await answersAre(folder, { 'phone.jpg': 'bottom middle', 'upright.jpg': 'bottom middle' });
      await answersAre(folder, { 'phone.jpg': 'middle right' }, '--no-exif-rotation');
    },
  },
];

describe('inputs as other tools write them', () => {
  let scratch = '';
  before(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'skein-inputs-'));
  });
  after(() => rm(scratch, { recursive: true, force: true }));

  for (const { what, checkpoint, laidOver, removed = [], check } of ROWS) {
    it(`${laidOver}: ${what}`, async () => {
      const folder = join(scratch, laidOver);
      await cp(checkpoint, folder, { recursive: true });
      for (const name of removed) await rm(join(folder, name));
      await cp(repoPath('test', 'inputs', laidOver), folder, { recursive: true });
      await check(folder);
    });
  }
});
