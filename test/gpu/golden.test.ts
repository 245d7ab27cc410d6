// Every golden model on GPUs in bfloat16, at world sizes 1, 2 and 4, or those that test/support/gpu.ts is told: real
// processes, real NCCL, one GPU unless told otherwise. Eagerly and through CUDA graphs, the fast way and the
// deterministic one.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

import { AppError } from '../../common/errors.js';
import { visionQuantizedAtLoad } from '../../coordinator/checkpoint/float8.js';
import { makeShardPlan } from '../../coordinator/sharding/make-shard-plan.js';

import { GPU_KV_CACHE_FLOAT8, gpuGoldenTolerance, VISION_FLOAT8 } from '../support/tolerance.js';
import { readGoldenModel, type GoldenModel } from '../support/golden-cases.js';
import { checkCase, GOLDEN_MODELS, runCase, worstOf, type CaseDistance } from '../support/golden-run.js';
import { gpuDevices, gpuRounds, gpuWorldSizes, requireGpu } from '../support/gpu.js';
import { LocalGroup } from '../support/local-group.js';
import { recordMeasured } from '../support/measured.js';
import { goldenPath } from '../support/paths.js';

const TIMEOUT_MS = 120_000;

interface Setting {
  readonly worldSize: number;
  readonly visionParallel: 'tensor' | 'data';
  readonly deterministic: boolean;
}

interface Heads {
  readonly text: number;
  /** Null where there is no tower. */
  readonly vision: number | null;
}

function headsOf(name: string): Heads {
  type Part = { readonly num_attention_heads: number };
  const config = JSON.parse(readFileSync(goldenPath(name, 'config.json'), 'utf8')) as {
    readonly vision_config?: Part;
    readonly llm_config?: Part;
    readonly text_config?: Part;
  } & Part;
  const text = config.llm_config ?? config.text_config ?? config;
  return { text: text.num_attention_heads, vision: config.vision_config?.num_attention_heads ?? null };
}

/** Decoder and tower are cut over no more ranks than they have heads. */
function isPossible({ text, vision }: Heads, { worldSize, visionParallel }: Setting): boolean {
  return worldSize <= text && (visionParallel === 'data' || vision === null || worldSize <= vision);
}

function settingsOf({ vision }: Heads): Setting[] {
  return [false, true].flatMap((deterministic) =>
    gpuWorldSizes().flatMap((worldSize) => [
      { worldSize, visionParallel: 'tensor', deterministic } as const,
      ...(vision !== null && worldSize > 1
        ? [{ worldSize, visionParallel: 'data', deterministic } as const]
        : []),
    ]),
  );
}

/** What the plan says of a setting that cannot be. */
function refusal({ checkpoint }: GoldenModel, { worldSize, visionParallel }: Setting): string {
  try {
    makeShardPlan(checkpoint, { worldSize, visionParallel });
  } catch (error) {
    assert.ok(error instanceof AppError && error.code === 'INVALID_REQUEST', String(error));
    return error.message;
  }
  return assert.fail('the plan takes it');
}

for (const name of GOLDEN_MODELS) {
  describe(`golden ${name} on cuda`, function () {
    this.timeout(TIMEOUT_MS);
    let model: GoldenModel;
    before(async function () {
      await requireGpu(this);
      model = await readGoldenModel(name);
    });

    const heads = headsOf(name);
    for (const setting of settingsOf(heads)) {
      const { worldSize, visionParallel, deterministic } = setting;
      const tower = heads.vision === null ? '' : `, tower ${visionParallel === 'tensor' ? 'cut' : 'whole'}`;
      const title = `world size ${worldSize}${tower}${deterministic ? ', deterministic' : ''}`;
      if (!isPossible(heads, setting)) {
        it(`${title}: refused`, () => {
          recordMeasured(`golden: ${name}, ${title}`, { refused: refusal(model, setting) });
        });
        continue;
      }
      it(title, async () => {
        const { checkpoint, cases } = model;
        const tolerance = gpuGoldenTolerance(checkpoint.spec, deterministic);
        const group = await LocalGroup.start({
          device: gpuDevices(worldSize),
          worldSize,
          visionParallel,
          deterministic,
          checkpoint,
          computeType: 'bfloat16',
          graphBuckets: [4],
        });
        try {
          const distances: CaseDistance[] = [];
          const rounds = gpuRounds();
          for (let round = 0; round < rounds; round += 1) {
            for (const goldenCase of cases) {
              for (const graphBucket of [0, 4]) {
                const tokens = await runCase(group, goldenCase, graphBucket);
                distances.push(checkCase(goldenCase, tokens, tolerance));
              }
            }
          }
          recordMeasured(`golden: ${name}, ${title}`, { rounds, ...worstOf(distances) });
        } finally {
          await group.close();
        }
      });
    }
  });
}

/** The tower alone, on one rank: its products, sums added to the residual, and rows that norms leave in FP8. */
for (const name of ['tiny-6b-vit', 'tiny-300m-vit']) {
  describe(`golden ${name} on cuda, the vision tower in FP8`, function () {
    this.timeout(TIMEOUT_MS);
    before(async function () {
      await requireGpu(this);
    });

    for (const deterministic of [false, true]) {
      it(deterministic ? 'deterministic' : 'not deterministic', async () => {
        const { checkpoint, cases } = await readGoldenModel(name);
        const group = await LocalGroup.start({
          device: gpuDevices(1),
          worldSize: 1,
          deterministic,
          checkpoint: visionQuantizedAtLoad(checkpoint),
          computeType: 'bfloat16',
        });
        try {
          const distances: CaseDistance[] = [];
          for (const goldenCase of cases)
            distances.push(checkCase(goldenCase, await runCase(group, goldenCase), VISION_FLOAT8));
          const title = `${name}, tower in FP8${deterministic ? ', deterministic' : ''}`;
          recordMeasured(`golden: ${title}`, { ...worstOf(distances) });
        } finally {
          await group.close();
        }
      });
    }
  });
}

/** Eagerly and through CUDA graphs: its own store, decode attention and attention of prompts. */
describe('golden, keys and values in FP8 on cuda', function () {
  this.timeout(TIMEOUT_MS);
  before(async function () {
    await requireGpu(this);
  });

  for (const name of ['tiny-text', 'tiny-6b-vit', 'tiny-hf-layout']) {
    for (const deterministic of [false, true]) {
      it(`${name}${deterministic ? ', deterministic' : ''}`, async () => {
        const { checkpoint, cases } = await readGoldenModel(name);
        const group = await LocalGroup.start({
          device: gpuDevices(1),
          worldSize: 1,
          deterministic,
          checkpoint,
          computeType: 'bfloat16',
          float8KvCache: true,
          graphBuckets: [4],
        });
        const { numLayers, numKvHeads, headDim } = checkpoint.spec.text;
        try {
          assert.equal(group.loads[0]!.kvBytesPerBlock, 2 * numLayers * 16 * numKvHeads * (headDim + 4));
          const distances: CaseDistance[] = [];
          for (const goldenCase of cases) {
            for (const graphBucket of [0, 4]) {
              const tokens = await runCase(group, goldenCase, graphBucket);
              distances.push(checkCase(goldenCase, tokens, GPU_KV_CACHE_FLOAT8));
            }
          }
          const title = `${name}, keys and values in FP8${deterministic ? ', deterministic' : ''}`;
          recordMeasured(`golden: ${title}`, { ...worstOf(distances) });
        } finally {
          await group.close();
        }
      });
    }
  }
});
