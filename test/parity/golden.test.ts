// Every golden model, through the addon, at world sizes 1 to 4 over shared memory and over Gloo, with the tower cut and whole:
// the log-probabilities after the prompt and 24 greedy tokens are those of transformers.
import assert from 'node:assert/strict';

import { goldenTolerance } from '../support/tolerance.js';
import { readGoldenModel, type GoldenModel } from '../support/golden-cases.js';
import { checkCase, GOLDEN_MODELS, runCase } from '../support/golden-run.js';
import { LocalGroup } from '../support/local-group.js';

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

for (const name of GOLDEN_MODELS) {
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
