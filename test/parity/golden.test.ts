// Every golden model, through the addon, at world sizes 1 to 4 over shared memory and over Gloo, with the tower cut and
// whole: the log-probabilities after the prompt and 24 greedy tokens are those of transformers. Collectives sum in rank
// order, so bfloat16 and whole towers over Gloo are only shown to have the bits that shared memory gives.
import assert from 'node:assert/strict';

import { visionQuantizedAtLoad } from '../../coordinator/checkpoint/float8.js';
import { float8Tolerance, goldenTolerance, KV_CACHE_FLOAT8, VISION_FLOAT8 } from '../support/tolerance.js';
import { readGoldenModel, type GoldenModel } from '../support/golden-cases.js';
import { checkCase, distanceOf, GOLDEN_MODELS, runCase } from '../support/golden-run.js';
import { LocalGroup, type GeneratedToken } from '../support/local-group.js';

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
  ]),
];

for (const name of GOLDEN_MODELS) {
  describe(`golden ${name}`, () => {
    let model: GoldenModel;
    before(async () => {
      model = await readGoldenModel(name);
    });

    for (const setting of SETTINGS) {
      const isTextOnly = name === 'tiny-text' || name.startsWith('tiny-fp8');
      if (isTextOnly && setting.visionParallel === 'data') continue;
      const { worldSize, collective, visionParallel } = setting;
      for (const computeType of ['float32', 'bfloat16'] as const) {
        if (collective === 'gloo' && computeType === 'bfloat16') continue;
        const tower = isTextOnly ? '' : `, tower ${visionParallel === 'tensor' ? 'cut' : 'whole'}`;
        it(`${computeType}, world size ${worldSize} over ${collective}${tower}`, async () => {
          const { spec } = model.checkpoint;
          const options = { ...setting, checkpoint: model.checkpoint, computeType };
          const isTooWide = visionParallel === 'tensor' && worldSize > (spec.vision?.numHeads ?? worldSize);
          if (isTooWide) await assert.rejects(LocalGroup.start(options), { code: 'INVALID_REQUEST' });
          const tolerance =
            spec.text.float8 === 'none'
              ? goldenTolerance(computeType, spec.storedType)
              : float8Tolerance(computeType, worldSize, name.endsWith('-static'));
          const group = await LocalGroup.start(isTooWide ? { ...options, visionParallel: 'data' } : options);
          try {
            for (const goldenCase of model.cases)
              checkCase(goldenCase, await runCase(group, goldenCase), tolerance);
          } finally {
            await group.close();
          }
        });
      }
    }
  });
}

// The decoder is what it is; which tower is quantised, and that one is, shows in the distance.
describe('golden, the vision tower in FP8', () => {
  for (const name of ['tiny-6b-vit', 'tiny-300m-vit', 'tiny-awq']) {
    for (const setting of SETTINGS.filter((each) => each.worldSize <= 2 && each.collective !== 'gloo')) {
      const { worldSize, visionParallel } = setting;
      it(`${name}, world size ${worldSize}, tower ${visionParallel === 'tensor' ? 'cut' : 'whole'}`, async () => {
        const { checkpoint, cases } = await readGoldenModel(name);
        const group = await LocalGroup.start({
          ...setting,
          checkpoint: visionQuantizedAtLoad(checkpoint),
          computeType: 'float32',
        });
        try {
          for (const goldenCase of cases) {
            const tokens = await runCase(group, goldenCase);
            if (goldenCase.pictures.length === 0) {
              checkCase(goldenCase, tokens, goldenTolerance('float32', checkpoint.spec.storedType));
              continue;
            }
            checkCase(goldenCase, tokens, VISION_FLOAT8);
            const { greatest } = distanceOf(goldenCase, tokens, VISION_FLOAT8.greedyGap);
            assert.ok(greatest > 1e-3, `off by ${greatest} only: the tower is not in FP8`);
          }
        } finally {
          await group.close();
        }
      });
    }
  }
});

describe('golden, keys and values in FP8', () => {
  for (const name of ['tiny-text', 'tiny-6b-vit', 'tiny-hf-layout']) {
    for (const worldSize of [1, 2]) {
      it(`${name}, world size ${worldSize}`, async () => {
        const { checkpoint, cases } = await readGoldenModel(name);
        const collective = worldSize === 1 ? 'none' : 'shared-memory';
        const options = { checkpoint, worldSize, collective, computeType: 'float32' } as const;
        const group = await LocalGroup.start({ ...options, float8KvCache: true });
        try {
          for (const goldenCase of cases) {
            const tokens = await runCase(group, goldenCase);
            checkCase(goldenCase, tokens, KV_CACHE_FLOAT8);
            const { greatest } = distanceOf(goldenCase, tokens, KV_CACHE_FLOAT8.greedyGap);
            assert.ok(greatest > 1e-3, `off by ${greatest} only: keys and values are not in FP8`);
          }
        } finally {
          await group.close();
        }
      });
    }
  }
});

describe('golden, over Gloo and over shared memory', () => {
  for (const worldSize of [2, 3, 4]) {
    for (const visionParallel of ['tensor', 'data'] as const) {
      it(`has the same bits at world size ${worldSize}, tower ${visionParallel === 'tensor' ? 'cut' : 'whole'}`, async () => {
        const { checkpoint, cases } = await readGoldenModel('tiny-6b-vit');
        const [goldenCase] = cases;
        assert.ok(goldenCase);
        const outcomes: (readonly GeneratedToken[])[] = [];
        for (const collective of ['shared-memory', 'gloo'] as const) {
          const group = await LocalGroup.start({
            checkpoint,
            worldSize,
            collective,
            visionParallel,
            computeType: 'bfloat16',
          });
          outcomes.push(await runCase(group, goldenCase).finally(() => group.close()));
        }
        assert.deepEqual(outcomes[1], outcomes[0]);
      });
    }
  }
});
