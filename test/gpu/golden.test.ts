// Every golden model on a GPU in bfloat16, at world sizes 1, 2 and 4: real processes, real NCCL, one GPU. Eagerly and through CUDA
// graphs.
import { readFileSync } from 'node:fs';

import { goldenTolerance } from '../support/tolerance.js';
import { readGoldenModel, type GoldenModel } from '../support/golden-cases.js';
import { checkCase, GOLDEN_MODELS, runCase } from '../support/golden-run.js';
import { requireGpu } from '../support/gpu.js';
import { LocalGroup } from '../support/local-group.js';
import { goldenPath } from '../support/paths.js';

const TIMEOUT_MS = 120_000;

interface Setting {
  readonly worldSize: number;
  readonly visionParallel: 'tensor' | 'data';
}

/** A tower is cut over no more ranks than it has heads; the CPU's golden tests show that more are refused. */
function settingsOf(name: string): Setting[] {
  const config = JSON.parse(readFileSync(goldenPath(name, 'config.json'), 'utf8')) as {
    vision_config?: { num_attention_heads: number };
  };
  const numHeads = config.vision_config?.num_attention_heads ?? Infinity;
  const hasTower = config.vision_config !== undefined;
  return [1, 2, 4].flatMap((worldSize) => [
    ...(worldSize <= numHeads ? [{ worldSize, visionParallel: 'tensor' } as const] : []),
    ...(hasTower && worldSize > 1 ? [{ worldSize, visionParallel: 'data' } as const] : []),
  ]);
}

for (const name of GOLDEN_MODELS) {
  describe(`golden ${name} on cuda`, function () {
    this.timeout(TIMEOUT_MS);
    let model: GoldenModel;
    before(async function () {
      await requireGpu(this);
      model = await readGoldenModel(name);
    });

    for (const { worldSize, visionParallel } of settingsOf(name)) {
      const tower = name === 'tiny-text' ? '' : `, tower ${visionParallel === 'tensor' ? 'cut' : 'whole'}`;
      it(`world size ${worldSize}${tower}`, async () => {
        const { checkpoint, cases } = model;
        const tolerance = goldenTolerance('bfloat16', checkpoint.spec.storedType);
        const group = await LocalGroup.start({
          device: 'cuda:0',
          worldSize,
          visionParallel,
          checkpoint,
          computeType: 'bfloat16',
          graphBuckets: [4],
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
  });
}
