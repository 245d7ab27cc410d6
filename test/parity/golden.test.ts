// Every golden model, through the addon, at world sizes 1 to 4 over shared memory and over Gloo, with the tower cut and whole:
// the log-probabilities after the prompt and 24 greedy tokens are those of transformers.
import assert from 'node:assert/strict';

import { goldenTolerance, type Tolerance } from '../support/tolerance.js';
import { readGoldenModel, type GoldenCase, type GoldenModel } from '../support/golden-cases.js';
import { LocalGroup, type GeneratedToken } from '../support/local-group.js';

const MODELS = ['tiny-text', 'tiny-6b-vit', 'tiny-300m-vit', 'tiny-bf16-sharded', 'tiny-awq', 'tiny-hf-layout'];

interface Setting {
  readonly worldSize: number;
  readonly collective: 'none' | 'shared-memory' | 'gloo';
  readonly visionParallel: 'tensor' | 'data';
}

const SETTINGS: readonly Setting[] = [
  { worldSize: 1, collective: 'none', visionParallel: 'tensor' },
  ...[2, 3, 4].flatMap((worldSize) => [
    { worldSize, collective: 'shared-memory', visionParallel: 'tensor' } as const,
    { worldSize, collective: 'shared-memory', visionParallel: 'data' } as const,
    { worldSize, collective: 'gloo', visionParallel: 'tensor' } as const,
    { worldSize, collective: 'gloo', visionParallel: 'data' } as const,
  ]),
];

/** Pixels, encoding and generation of one case; its pictures are released at the end. */
async function runCase(group: LocalGroup, { tokenIds, pictures, expected }: GoldenCase): Promise<GeneratedToken[]> {
  let nextSlot = 0;
  for (const [pictureId, { picture }] of pictures.entries()) {
    const slots = Array.from({ length: picture.numTiles }, () => nextSlot++);
    await group.putPicture(pictureId, slots, picture.tiles);
    await group.step({ encodeItems: [{ pictureId, tileStart: 0, tileEnd: picture.numTiles }] });
  }
  const tokens = await group.generate({
    tokenIds,
    numTokens: expected.greedy_ids.length,
    sampling: { numTopLogprobs: 20, returnLogprobs: true },
    pictures: pictures.map(({ firstPosition }, pictureId) => ({ pictureId, firstPosition })),
  });
  await group.step({ releasedPictures: Uint32Array.from(pictures.keys()) });
  return tokens;
}

function checkCase({ expected }: GoldenCase, tokens: readonly GeneratedToken[], tolerance: Tolerance): void {
  const top = new Map(tokens[0]?.top.map(({ tokenId, logprob }) => [tokenId, logprob]));
  const differences = expected.top_ids.map((id, index) =>
    Math.abs((top.get(id) ?? Number.NaN) - (expected.top_logprobs[index] ?? Number.NaN)),
  );
  const mean = differences.reduce((sum, difference) => sum + difference, 0) / differences.length;
  const isClose = differences.every((difference) => difference <= tolerance.logprob) && mean <= tolerance.meanLogprob;
  assert.ok(isClose, `"${expected.question}": log-probabilities of ${expected.top_ids.join()} are off by ${differences.join()}`);
  const near = expected.greedy_gap.findIndex((gap) => gap < tolerance.greedyGap);
  const length = near < 0 ? expected.greedy_ids.length : near;
  assert.deepEqual(
    tokens.slice(0, length).map(({ tokenId }) => tokenId),
    expected.greedy_ids.slice(0, length),
    `greedy tokens of "${expected.question}"`,
  );
}

for (const name of MODELS) {
  describe(`golden ${name}`, () => {
    let model: GoldenModel;
    before(async () => {
      model = await readGoldenModel(name);
    });

    for (const setting of SETTINGS) {
      if (name === 'tiny-text' && setting.visionParallel === 'data') continue;
      const { worldSize, collective, visionParallel } = setting;
      for (const computeType of ['float32', 'bfloat16'] as const) {
        const tower = name === 'tiny-text' ? '' : `, tower ${visionParallel === 'tensor' ? 'cut' : 'whole'}`;
        it(`${computeType}, world size ${worldSize} over ${collective}${tower}`, async () => {
          const { spec } = model.checkpoint;
          const options = { ...setting, checkpoint: model.checkpoint, computeType };
          if (visionParallel === 'tensor' && spec.vision !== null && worldSize > spec.vision.numHeads) {
            await assert.rejects(LocalGroup.start(options), { code: 'INVALID_REQUEST' });
            return;
          }
          const tolerance = goldenTolerance(computeType, spec.storedType);
          const group = await LocalGroup.start(options);
          try {
            for (const goldenCase of model.cases) checkCase(goldenCase, await runCase(group, goldenCase), tolerance);
          } finally {
            await group.close();
          }
        });
      }
    }
  });
}
