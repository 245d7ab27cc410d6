// Brings workers together to a group: reach them, check that they belong together, load their shards, size the KV cache by the
// poorest rank, connect them under an epoch that is higher than any of them has seen.
import type { Clock } from '../../common/clock.js';
import { AppError, toAppError } from '../../common/errors.js';
import { PROTOCOL_VERSION } from '../../common/limits.js';
import type { Logger } from '../../common/logger.js';
import { uint64ToNumber } from '../../common/proto.js';
import { VERSION } from '../../common/version.js';
import type { DescribeResponse__Output } from '../../proto/ts/skein/worker/v1/DescribeResponse.js';
import type { JoinGroupResponse__Output } from '../../proto/ts/skein/worker/v1/JoinGroupResponse.js';
import type { LoadRequest } from '../../proto/ts/skein/worker/v1/LoadRequest.js';
import type { LoadResult__Output } from '../../proto/ts/skein/worker/v1/LoadResult.js';
import { memoryShareOf, type RankDevice } from '../sharding/memory-plan.js';
import { RankClient } from './rank-client.js';
import { RankGroup, type RankInfo } from './rank-group.js';
import type { OpenRankTransport } from './rank-transport.js';

export type CollectiveChoice = 'auto' | 'shared-memory' | 'gloo';

export interface FormGroupOptions {
  /** In rank order. */
  readonly addresses: readonly string[];
  readonly openTransport: OpenRankTransport;
  readonly makeLoadRequest: (rank: number, isOnGpu: boolean) => LoadRequest;
  readonly collective: CollectiveChoice;
  /** Bytes a rank; null: as much as is useful, within DEFAULT_KV_BYTES on a CPU. */
  readonly kvCacheBytes: number | null;
  /** Of a GPU's whole memory, what its ranks may take together. */
  readonly gpuMemoryUtilization: number;
  /** Throws when the ranks' devices, in rank order, cannot hold what they would load. */
  readonly checkMemory: (devices: readonly RankDevice[]) => void;
  /** Blocks beyond which more are of no use: every sequence at its full length. */
  readonly maxUsefulBlocks: number;
  readonly onProgress: (progress: LoadProgress) => void;
  /** Rejects when a worker is lost while the group forms. */
  readonly lost: Promise<never>;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface LoadProgress {
  /** Sums over the ranks. */
  readonly loadedBytes: number;
  readonly totalBytes: number;
  readonly numRanksReady: number;
}

const DEFAULT_KV_BYTES = 512 * 1024 * 1024;
const CONNECT_TIMEOUT_MS = 30_000;
/** GPUs warm up before they have joined; where ranks share one and take turns, that is a minute. */
const GPU_WARM_UP_MS = 300_000;

export async function formGroup(options: FormGroupOptions): Promise<RankGroup> {
  const clients = options.addresses.map(
    (address, rank) => new RankClient(rank, options.openTransport(address), options.clock),
  );
  let groupEpoch = 0;
  const onEpoch = (chosen: number): void => {
    groupEpoch = chosen;
  };
  try {
    return await Promise.race([form(clients, options, onEpoch), options.lost]);
  } catch (error) {
    // Ranks that warm up may wait in a collective for one that is lost.
    if (groupEpoch > 0) {
      const { code } = toAppError(error);
      await Promise.allSettled(clients.map((client) => client.abort(groupEpoch, code)));
    }
    for (const client of clients) client.close();
    throw error;
  }
}

async function form(
  clients: readonly RankClient[],
  options: FormGroupOptions,
  onEpoch: (groupEpoch: number) => void,
): Promise<RankGroup> {
  await Promise.all(clients.map((client) => client.connect()));
  const descriptions = await Promise.all(clients.map((client) => client.describe()));
  checkAlike(descriptions);
  const groupEpoch =
    Math.max(...descriptions.map((each) => uint64ToNumber(each.highestEpoch, 'highest_epoch'))) + 1;
  const isOnGpu = descriptions.some((each) => each.device !== 'cpu');
  const devices = descriptions.map(toRankDevice);
  options.checkMemory(devices);
  const loads = await loadAll(clients, devices, options, isOnGpu);
  const numKvBlocks = countKvBlocks(descriptions, loads, options);
  const collective = chooseCollective(options.collective, descriptions);
  options.logger.info({ groupEpoch, worldSize: clients.length, collective, numKvBlocks }, 'forming a group');
  onEpoch(groupEpoch);
  const addresses = await Promise.all(
    clients.map((client) =>
      client.prepareGroup({
        groupEpoch,
        rank: client.rank,
        worldSize: clients.length,
        collective: `COLLECTIVE_KIND_${collective.replace('-', '_').toUpperCase()}` as 'COLLECTIVE_KIND_NONE',
        bindHost: hostOf(client.address),
      }),
    ),
  );
  const joins = await Promise.all(
    clients.map((client) =>
      client.joinGroup(
        { groupEpoch, addresses, numKvBlocks, timeoutMs: CONNECT_TIMEOUT_MS },
        isOnGpu ? GPU_WARM_UP_MS : 0,
      ),
    ),
  );
  const ranks = clients.map((client, rank) =>
    toRankInfo(client, descriptions[rank]!, loads[rank]!, joins[rank]!),
  );
  return new RankGroup({
    groupEpoch,
    ranks,
    numKvBlocks,
    collective,
    clients,
    clock: options.clock,
    logger: options.logger,
  });
}

function checkAlike(descriptions: readonly DescribeResponse__Output[]): void {
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
  const ids = new Set(descriptions.map((each) => `${each.host}/${each.pid}/${each.workerId}`));
  if (ids.size !== descriptions.length) {
    throw new AppError(
      'RANK_TAKEN',
      'two ranks of the group are one and the same worker: each needs its own address',
    );
  }
}

function toRankDevice({ host, device, memoryTotalBytes }: DescribeResponse__Output): RankDevice {
  return { host, device, totalBytes: uint64ToNumber(memoryTotalBytes, 'memory_total_bytes') };
}

async function loadAll(
  clients: readonly RankClient[],
  devices: readonly RankDevice[],
  options: FormGroupOptions,
  isOnGpu: boolean,
): Promise<LoadResult__Output[]> {
  const loaded = clients.map(() => 0);
  const totals = clients.map(() => 0);
  let numRanksReady = 0;
  const report = (): void =>
    options.onProgress({ loadedBytes: sum(loaded), totalBytes: sum(totals), numRanksReady });
  return Promise.all(
    clients.map(async (client, rank) => {
      // Not of the plan's hash: another share loads nothing anew.
      const memoryShare = memoryShareOf(devices, rank, options.gpuMemoryUtilization);
      const request = { ...options.makeLoadRequest(rank, isOnGpu), memoryShare };
      const result = await client.load(request, (loadedBytes, totalBytes) => {
        loaded[rank] = loadedBytes;
        totals[rank] = totalBytes;
        report();
      });
      numRanksReady += 1;
      loaded[rank] = totals[rank]!;
      report();
      return result;
    }),
  );
}

/** The smallest number over the ranks, for every rank's blocks have the same numbers. */
function countKvBlocks(
  descriptions: readonly DescribeResponse__Output[],
  loads: readonly LoadResult__Output[],
  options: FormGroupOptions,
): number {
  const counts = loads.map((load, rank) => {
    const isCpu = descriptions[rank]!.device === 'cpu';
    // CPU ranks of one host draw on the same memory; a GPU's have their shares already.
    const numSharing = isCpu
      ? descriptions.filter((each) => each.host === descriptions[rank]!.host).length
      : 1;
    const available = Math.floor(uint64ToNumber(load.availableBytes, 'available_bytes') / numSharing);
    const perBlock = Math.max(uint64ToNumber(load.kvBytesPerBlock, 'kv_bytes_per_block'), 1);
    const byDefault = isCpu ? Math.min(DEFAULT_KV_BYTES, available) : available;
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

function chooseCollective(
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

/** The interface that ranks reach each other by: the one that the coordinator reaches. */
function hostOf(address: string): string {
  if (address.startsWith('unix:')) return '127.0.0.1';
  return address.slice(0, address.lastIndexOf(':')).replace(/^\[|\]$/g, '');
}

function toRankInfo(
  client: RankClient,
  description: DescribeResponse__Output,
  load: LoadResult__Output,
  join: JoinGroupResponse__Output,
): RankInfo {
  const { workerId, host, pid, device, deviceName } = description;
  return {
    rank: client.rank,
    workerId,
    host,
    pid,
    device,
    deviceName,
    address: client.address,
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

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
