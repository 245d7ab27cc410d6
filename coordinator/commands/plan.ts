// `skein plan`: makes the shard plan of a folder or a known model, prices it, prints both. Touches no worker and reads
// no weights.
import { InvalidArgumentError, Option, type Command } from 'commander';
import { resolveModel } from '../checkpoint/known-models.js';
import type { ComputeType } from '../checkpoint/model-spec.js';
import {
  DEFAULT_SIZES,
  kvCacheDtypeOption,
  quantizationOption,
  visionQuantizationOption,
  type KvCacheTypeChoice,
  type QuantizationChoice,
} from '../cluster-options.js';
import { chooseSizes } from '../serving/model-sizes.js';
import { DEFAULT_MEMORY_BANDWIDTH, priceShardPlan } from '../sharding/cost-model.js';
import { estimateMemory, type DeviceKind, type RankMemory } from '../sharding/memory-estimate.js';
import type { MemoryLimits } from '../sharding/load-request.js';
import { makeShardPlan, visionChoice } from '../sharding/make-shard-plan.js';
import type { ShardPlanOptions } from '../sharding/shard-plan.js';
import { CommandOutput } from './command-line.js';
import { planReportJson, planReportText, type PlanReport } from './plan-report.js';

interface PlanFlags {
  readonly model: string;
  readonly tensorParallelSize: number;
  readonly visionParallel: ShardPlanOptions['visionParallel'];
  readonly memoryBandwidth: number;
  readonly dtype: 'auto' | ComputeType;
  readonly quantization: QuantizationChoice;
  readonly visionQuantization: QuantizationChoice;
  readonly kvCacheDtype: KvCacheTypeChoice;
  readonly json?: true;
  readonly slices?: true;
}

export function registerPlan(program: Command): void {
  program
    .command('plan')
    .description('print what each rank would hold, and its price, without a GPU or a weight')
    .requiredOption('--model <folder or name>', 'checkpoint folder, or the name of a known model')
    .option('--tensor-parallel-size <n>', 'ranks', parseInteger, 1)
    .addOption(
      new Option('--vision-parallel <mode>', 'how the vision tower is held')
        .choices(['auto', 'tensor', 'data'])
        .default('auto'),
    )
    .option(
      '--memory-bandwidth <TB/s>',
      "one rank's memory, for the roofline",
      parseBandwidth,
      DEFAULT_MEMORY_BANDWIDTH / 1e12,
    )
    .addOption(
      new Option('--dtype <type>', 'type of products, and of the KV cache if not said otherwise')
        .choices(['auto', 'float32', 'bfloat16'])
        .default('auto'),
    )
    .addOption(quantizationOption())
    .addOption(visionQuantizationOption())
    .addOption(kvCacheDtypeOption())
    .option('--json', 'print one JSON object')
    .option('--slices', 'with --json: every tensor and slice of every rank')
    .action(async (flags: PlanFlags) => {
      const report = await makePlanReport(flags);
      const output = new CommandOutput();
      output.write(
        flags.json
          ? `${JSON.stringify(planReportJson(report, flags.slices === true))}\n`
          : planReportText(report),
      );
      await output.flush();
    });
}

async function makePlanReport(flags: PlanFlags): Promise<PlanReport> {
  const checkpoint = await resolveModel(flags.model, flags);
  const options: ShardPlanOptions = {
    worldSize: flags.tensorParallelSize,
    visionParallel: flags.visionParallel,
  };
  const plan = makeShardPlan(checkpoint, options);
  const float8KvCache = flags.kvCacheDtype === 'fp8';
  const price = priceShardPlan(checkpoint, plan, {
    memoryBandwidth: flags.memoryBandwidth * 1e12,
    computeType: flags.dtype === 'auto' ? null : flags.dtype,
    float8KvCache,
  });
  const limits: MemoryLimits = {
    ...chooseSizes(plan, { maxModelLength: null, ...DEFAULT_SIZES.cuda }),
    computeType: price.computeType,
    float8KvCache,
  };
  const memoryOf = (device: DeviceKind): RankMemory[] =>
    plan.ranks.map((rank) => estimateMemory(plan, rank, limits, device));
  return {
    ...{ plan, price, visionReason: visionChoice(checkpoint, options).reason },
    ...{ cpuMemory: memoryOf('cpu'), gpuMemory: memoryOf('cuda') },
  };
}

function parseInteger(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('Expected a whole number.');
  return Number(text);
}

function parseBandwidth(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value <= 0 || value > 1e6) {
    throw new InvalidArgumentError('Expected terabytes per second, above 0.');
  }
  return value;
}
