// Every golden model on a GPU in bfloat16, at world sizes 1, 2 and 4: real processes, real NCCL, one GPU. Eagerly and through CUDA
// graphs.
import { goldenTolerance } from '../support/tolerance.js';
import { readGoldenModel, type GoldenModel } from '../support/golden-cases.js';
import { checkCase, GOLDEN_MODELS, runCase } from '../support/golden-run.js';
import { requireGpu } from '../support/gpu.js';
import { LocalGroup } from '../support/local-group.js';

const TIMEOUT_MS = 120_000;

for (const name of GOLDEN_MODELS) {
  describe(`golden ${name} on cuda`, function () {
    this.timeout(TIMEOUT_MS);
    let model: GoldenModel;
    before(async function () {
      await requireGpu(this);
      model = await readGoldenModel(name);
    });

    for (const worldSize of [1, 2, 4]) {
      for (const visionParallel of ['tensor', 'data'] as const) {
        if (visionParallel === 'data' && (worldSize === 1 || name === 'tiny-text')) continue;
        it(`world size ${worldSize}${name === 'tiny-text' ? '' : `, tower ${visionParallel === 'tensor' ? 'cut' : 'whole'}`}`, async function () {
          const { checkpoint, cases } = model;
          const numHeads = checkpoint.spec.vision?.numHeads ?? Infinity;
          if (visionParallel === 'tensor' && worldSize > numHeads) this.skip();
          const tolerance = goldenTolerance('bfloat16', checkpoint.spec.storedType);
          const group = await LocalGroup.start({
            device: 'cuda:0',
            worldSize,
            visionParallel,
            checkpoint,
            computeType: 'bfloat16',
          });
          try {
            for (const goldenCase of cases) {
              for (const graphBucket of [0, 4]) {
                checkCase(goldenCase, await runCase(group, goldenCase, graphBucket), tolerance);
              }
            }
          } finally {
            await group.close();
          }
        });
      }
    }
  });
}
