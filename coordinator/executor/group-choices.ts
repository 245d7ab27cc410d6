// What the descriptions of a group's workers decide: whether they belong together, how they meet, how many blocks each
// can hold. Pure.
import { AppError } from '../../common/errors.js';
import { DEFAULT_CPU_KV_BYTES, PROTOCOL_VERSION } from '../../common/limits.js';
import { uint64ToNumber } from '../../common/proto.js';
import { VERSION } from '../../common/version.js';
import type { DescribeResponse__Output } from '../../proto/ts/skein/worker/v1/DescribeResponse.js';
import type { LoadResult__Output } from '../../proto/ts/skein/worker/v1/LoadResult.js';

export type CollectiveChoice = 'auto' | 'shared-memory' | 'gloo';

export interface KvLimits {
  /** Bytes a rank; null: as much as is useful, within DEFAULT_CPU_KV_BYTES on a CPU. */
  readonly kvCacheBytes: number | null;
  /** Blocks beyond which more are of no use: every sequence at its full length. */
  readonly maxUsefulBlocks: number;
}

export function checkAlike(descriptions: readonly DescribeResponse__Output[]): void {
  const [first] = descriptions;
  for (const [rank, each] of descriptions.entries()) {
    if (each.version !== VERSION || each.protocolVersion !== PROTOCOL_VERSION) {
      throw new AppError(
        'JOIN_REJECTED',
        `rank ${rank} on ${each.host} has version ${each.version}, protocol ${each.protocolVersion}; ` +
          `the coordinator has ${VERSION}, protocol ${PROTOCOL_VERSION}`,
      );
    }
    if (each.instructionClass !== first!.instructionClass) {
      throw new AppError(
        'JOIN_REJECTED',
        `rank ${rank} on ${each.host} computes with ${each.instructionClass} and rank 0 on ${first!.host} with ` +
          `${first!.instructionClass}: the ranks of a group must have one class of instruction set`,
      );
    }
  }
  const ids = new Set(
    descriptions.map((each) => `${each.workerIncarnation}/${each.host}/${each.pid}/${each.workerId}`),
  );
  if (ids.size !== descriptions.length) {
    throw new AppError(
      'RANK_TAKEN',
      'two ranks of the group are one and the same worker: each needs its own address',
    );
  }
}

/** The smallest number over the ranks, for every rank's blocks have the same numbers. */
export function countKvBlocks(
  descriptions: readonly DescribeResponse__Output[],
  loads: readonly LoadResult__Output[],
  options: KvLimits,
): number {
  const counts = loads.map((load, rank) => {
    const isCpu = descriptions[rank]!.device === 'cpu';
    // CPU ranks of one host draw on the same memory; a GPU's have their shares already.
    const numSharing = isCpu
      ? descriptions.filter((each) => each.host === descriptions[rank]!.host).length
      : 1;
    const available = Math.floor(uint64ToNumber(load.availableBytes, 'available_bytes') / numSharing);
    const perBlock = Math.max(uint64ToNumber(load.kvBytesPerBlock, 'kv_bytes_per_block'), 1);
    const byDefault = isCpu ? Math.min(DEFAULT_CPU_KV_BYTES, available) : available;
    const wanted = options.kvCacheBytes ?? byDefault;
    if (wanted > available || wanted < perBlock) {
      throw new AppError(
        'DEVICE_OUT_OF_MEMORY',
        `rank ${rank}: the KV cache is to have ${wanted} bytes; a block needs ${perBlock} and ${available} are free`,
        { details: { rank, wanted, available, per_block: perBlock } },
      );
    }
    return Math.min(Math.floor(wanted / perBlock), options.maxUsefulBlocks);
  });
  return Math.min(...counts);
}

export function chooseCollective(
  choice: CollectiveChoice,
  descriptions: readonly DescribeResponse__Output[],
): string {
  const isOnGpu = descriptions.some((each) => each.device !== 'cpu');
  const isOneHost = new Set(descriptions.map((each) => `${each.host} ${each.sharedMemoryDomain}`)).size === 1;
  if (descriptions.length === 1) return 'none';
  if (isOnGpu) return 'nccl';
  if (choice === 'shared-memory' && !isOneHost) {
    throw new AppError(
      'INVALID_REQUEST',
      '--collective shared-memory: the ranks are on several hosts, or in containers without common process ids; use gloo',
      {
        details: { param: 'collective' },
      },
    );
  }
  if (choice !== 'auto') return choice;
  return isOneHost ? 'shared-memory' : 'gloo';
}
