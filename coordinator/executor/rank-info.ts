// What a rank is and holds, as far as anybody asks: put together from what its worker answered while the group was
// formed.
import { uint64ToNumber } from '../../common/proto.js';
import type { DescribeResponse__Output } from '../../proto/ts/skein/worker/v1/DescribeResponse.js';
import type { JoinGroupResponse__Output } from '../../proto/ts/skein/worker/v1/JoinGroupResponse.js';
import type { LoadResult__Output } from '../../proto/ts/skein/worker/v1/LoadResult.js';

export interface RankInfo {
  readonly rank: number;
  readonly workerId: string;
  readonly host: string;
  readonly pid: number;
  readonly device: string;
  readonly deviceName: string;
  readonly address: string;
  readonly weightBytes: number;
  /** 0: the worker held the weights already. */
  readonly readBytes: number;
  /** Peak of the process while loading; 0 where the worker cannot tell. */
  readonly peakResidentBytes: number;
  readonly kvBytes: number;
  readonly loadMs: number;
  /** The rest of the device's memory when the group was formed; 0 where it is not counted. */
  readonly activationBytes: number;
  readonly graphBytes: number;
  readonly workspaceBytes: number;
  /** In use beyond these: the driver's own, the communicator's, and that of other processes. */
  readonly otherBytes: number;
  readonly freeBytes: number;
  readonly totalBytes: number;
}

export function toRankInfo(
  { rank, address }: { readonly rank: number; readonly address: string },
  description: DescribeResponse__Output,
  load: LoadResult__Output,
  join: JoinGroupResponse__Output,
): RankInfo {
  const { workerId, host, pid, device, deviceName } = description;
  return {
    ...{ rank, workerId, host, pid, device, deviceName, address },
    weightBytes: uint64ToNumber(load.weightBytes, 'weight_bytes'),
    readBytes: uint64ToNumber(load.readBytes, 'read_bytes'),
    peakResidentBytes: uint64ToNumber(load.peakResidentBytes, 'peak_resident_bytes'),
    kvBytes: uint64ToNumber(join.kvBytes, 'kv_bytes'),
    loadMs: load.loadMs,
    activationBytes: uint64ToNumber(join.activationBytes, 'activation_bytes'),
    graphBytes: uint64ToNumber(join.graphBytes, 'graph_bytes'),
    workspaceBytes: uint64ToNumber(join.workspaceBytes, 'workspace_bytes'),
    otherBytes: uint64ToNumber(join.otherBytes, 'other_bytes'),
    freeBytes: uint64ToNumber(join.freeBytes, 'free_bytes'),
    totalBytes: uint64ToNumber(join.totalBytes, 'total_bytes'),
  };
}
