// Every golden model on a GPU in bfloat16, at world sizes 1, 2 and 4: real processes, real NCCL, one GPU. Eagerly and through CUDA
// graphs, the fast way and the deterministic one.
import { readFileSync } from 'node:fs';

import { gpuGoldenTolerance } from '../support/tolerance.js';
import { readGoldenModel, type GoldenModel } from '../support/golden-cases.js';
import { checkCase, GOLDEN_MODELS, runCase, worstOf, type CaseDistance } from '../support/golden-run.js';
import { requireGpu } from '../support/gpu.js';
import { LocalGroup } from '../support/local-group.js';
import { recordMeasured } from '../support/measured.js';
import { goldenPath } from '../support/paths.js';

const TIMEOUT_MS = 120_000;

interface Setting {
  readonly worldSize: number;
  readonly visionParallel: 'tensor' | 'data';
  readonly deterministic: boolean;
}

/** A tower is cut over no more ranks than it has heads; the CPU's golden tests show that more are refused. */
function settingsOf(name: string): Setting[] {
  const config = JSON.parse(readFileSync(goldenPath(name, 'config.json'), 'utf8')) as {
    vision_config?: { num_attention_heads: number };
  };
  const numHeads = config.vision_config?.num_attention_heads ?? Infinity;
  const hasTower = config.vision_config !== undefined;
  return [false, true].flatMap((deterministic) =>
    [1, 2, 4].flatMap((worldSize) => [
      ...(worldSize <= numHeads ? [{ worldSize, visionParallel: 'tensor', deterministic } as const] : []),
      ...(hasTower && worldSize > 1 ? [{ worldSize, visionParallel: 'data', deterministic } as const] : []),
    ]),
  );
}

for (const name of GOLDEN_MODELS) {
  describe(`golden ${name} on cuda`, function () {
    this.timeout(TIMEOUT_MS);
    let model: GoldenModel;
    before(async function () {
      await requireGpu(this);
      model = await readGoldenModel(name);
    });

    for (const { worldSize, visionParallel, deterministic } of settingsOf(name)) {
      const tower = name === 'tiny-text' ? '' : `, tower ${visionParallel === 'tensor' ? 'cut' : 'whole'}`;
      const title = `world size ${worldSize}${tower}${deterministic ? ', deterministic' : ''}`;
      it(title, async () => {
        const { checkpoint, cases } = model;
        const { storedType, text } = checkpoint.spec;
        const tolerance = gpuGoldenTolerance(storedType, text.awqGroupSize > 0, deterministic);
        const group = await LocalGroup.start({
          device: 'cuda:0',
          worldSize,
          visionParallel,
          deterministic,
          checkpoint,
          computeType: 'bfloat16',
          graphBuckets: [4],
        });
        try {
          const distances: CaseDistance[] = [];
          for (const goldenCase of cases) {
            for (const graphBucket of [0, 4]) {
              const tokens = await runCase(group, goldenCase, graphBucket);
              distances.push(checkCase(goldenCase, tokens, tolerance));
            }
          }
          recordMeasured(`golden: ${name}, ${title}`, { ...worstOf(distances) });
        } finally {
          await group.close();
        }
      });
    }
  });
}
