// Whether what the ranks would hold fits their devices: asked before anything is loaded, and, where it does not, what
// would. Arithmetic over what the native engine estimates.
import { AppError } from '../../common/errors.js';
import { estimateMemory, type RankMemory } from './memory-estimate.js';
import type { MemoryLimits } from './load-request.js';
import type { ShardPlan } from './shard-plan.js';

export interface RankDevice {
  readonly host: string;
  /** "cpu" or "cuda:N". */
  readonly device: string;
  readonly totalBytes: number;
}

const MIB = 2 ** 20;
const GIB = 2 ** 30;

/**
 * Of the device's memory, the rank's part of what its ranks may take together; 0 on a CPU, which has no limit of its
 * own.
 */
export function memoryShareOf(devices: readonly RankDevice[], rank: number, utilization: number): number {
  const own = devices[rank]!;
  if (own.device === 'cpu') return 0;
  return utilization / numSharing(devices, own);
}

function numSharing(devices: readonly RankDevice[], { host, device }: RankDevice): number {
  return devices.filter((each) => each.host === host && each.device === device).length;
}

export interface LimitChanges {
  readonly maxModelLength?: number;
  readonly maxStepTokens?: number;
}

export interface MemoryCheck {
  /** Of the ranks, in order. */
  readonly devices: readonly RankDevice[];
  readonly utilization: number;
  /** What is asked for explicitly; null: room for one sequence of the longest length is the least. */
  readonly kvCacheBytes: number | null;
  readonly plan: ShardPlan;
  /** Null for a number of ranks that the model cannot be cut for. */
  readonly planFor: (worldSize: number) => ShardPlan | null;
  readonly limitsOf: (plan: ShardPlan, changes: LimitChanges) => MemoryLimits;
  readonly maxWorldSize: number;
}

interface Need {
  readonly memory: RankMemory;
  readonly kvCache: number;
  readonly total: number;
}

/**
 * Throws DEVICE_OUT_OF_MEMORY, naming the rank, what it needs for what, what there is, and what would fit; and
 * INVALID_REQUEST for a cache that holds no block.
 */
export function checkMemory(check: MemoryCheck): void {
  const limits = check.limitsOf(check.plan, {});
  for (const [rank, device] of check.devices.entries()) {
    const available = availableTo(check, rank);
    const need = needOf(check, check.plan, rank, limits);
    const { memory, kvCache } = need;
    if (kvCache < memory.kvPerBlock) {
      throw new AppError(
        'INVALID_REQUEST',
        `--kv-cache-memory is ${kvCache} bytes; rank ${rank} needs ${memory.kvPerBlock} for one block of ` +
          `${limits.blockSize} tokens`,
        { details: { param: 'kv-cache-memory', limit: memory.kvPerBlock } },
      );
    }
    if (need.total <= available) continue;
    const rest = memory.workspaces + memory.reserve;
    const parts = [
      `${gib(memory.weights)} for weights`,
      `${gib(memory.activations)} for activations`,
      ...(rest === 0 ? [] : [`${gib(rest)} for workspaces and in reserve`]),
      check.kvCacheBytes === null
        ? `${gib(kvCache)} for the keys and values of one sequence of ${limits.maxModelLength} tokens`
        : `${gib(kvCache)} for the KV cache`,
    ];
    const remedies = whatFits(check, available);
    throw new AppError(
      'DEVICE_OUT_OF_MEMORY',
      `rank ${rank} needs ${gib(need.total)}: ${parts.join(', ')}; ${device.device} of ${device.host} has ` +
        `${gib(available)} for it (${gib(device.totalBytes)} in all). ` +
        (remedies.length === 0 ? 'No smaller setting fits' : `It would fit with ${remedies.join(', or ')}`),
      { details: { rank, needed: need.total, available, total: device.totalBytes } },
    );
  }
}

/** CPU ranks of one host share its memory, all of it. */
function availableTo({ devices, utilization }: MemoryCheck, rank: number): number {
  const own = devices[rank]!;
  const share = own.device === 'cpu' ? 1 : utilization;
  return Math.floor((own.totalBytes * share) / numSharing(devices, own));
}

function needOf(check: MemoryCheck, plan: ShardPlan, rank: number, limits: MemoryLimits): Need {
  const kind = (check.devices[rank] ?? check.devices[0]!).device === 'cpu' ? 'cpu' : 'cuda';
  const memory = estimateMemory(plan, plan.ranks[rank]!, limits, kind);
  // A CPU's cache is as large as what is left; its ranks have always run with less than a whole sequence.
  const leastBlocks = kind === 'cpu' ? 1 : Math.ceil(limits.maxModelLength / limits.blockSize);
  const kvCache = check.kvCacheBytes ?? leastBlocks * memory.kvPerBlock;
  const total = memory.weights + memory.activations + memory.workspaces + memory.reserve + kvCache;
  return { memory, kvCache, total };
}

function fitsAll(check: MemoryCheck, plan: ShardPlan, limits: MemoryLimits, available: number): boolean {
  return plan.ranks.every((_, rank) => needOf(check, plan, rank, limits).total <= available);
}

/** Settings, each by itself, under which every rank fits into what the poorest one has. */
function whatFits(check: MemoryCheck, poorest: number): string[] {
  const { plan } = check;
  const available = Math.min(poorest, ...check.devices.map((_, rank) => availableTo(check, rank)));
  const present = check.limitsOf(plan, {});
  const fits = (changes: LimitChanges): boolean =>
    fitsAll(check, plan, check.limitsOf(plan, changes), available);
  const remedies: string[] = [];
  const length = largestThatFits(present.blockSize, present.maxModelLength, present.blockSize, (value) =>
    fits({ maxModelLength: value }),
  );
  if (length !== null) remedies.push(`--max-model-length ${length}`);
  const tokens = largestThatFits(present.maxNumSequences, present.maxStepTokens, 1, (value) =>
    fits({ maxStepTokens: value }),
  );
  if (tokens !== null) remedies.push(`--max-step-tokens ${tokens}`);
  const isOnCpu = check.devices[0]!.device === 'cpu';
  // More ranks on one host's processors share the memory that there is.
  for (let size = plan.worldSize + 1; !isOnCpu && size <= check.maxWorldSize; size += 1) {
    const larger = check.planFor(size);
    if (larger === null || !fitsAll(check, larger, check.limitsOf(larger, {}), available)) continue;
    remedies.push(`--tensor-parallel-size ${size}, each rank on a device like this`);
    break;
  }
  return remedies;
}

/** The largest multiple of `step` in [low, high) for which `fits` holds, which it does below some bound; null: none. */
function largestThatFits(
  low: number,
  high: number,
  step: number,
  fits: (value: number) => boolean,
): number | null {
  let good = Math.ceil(low / step);
  let bad = Math.ceil(high / step);
  if (good >= bad || !fits(good * step)) return null;
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2);
    if (fits(middle * step)) good = middle;
    else bad = middle;
  }
  return good * step;
}

function gib(bytes: number): string {
  return bytes >= GIB / 10 ? `${(bytes / GIB).toFixed(1)} GiB` : `${(bytes / MIB).toFixed(1)} MiB`;
}
