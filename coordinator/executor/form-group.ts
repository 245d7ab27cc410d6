// Brings workers together to a group: reach them, check that they belong together, decide who is which rank, take them
// under an epoch that is higher than any of them has seen, load their shards, size the KV cache by the poorest rank,
// connect them.
import type { Clock } from '../../common/clock.js';
import { AppError, toAppError } from '../../common/errors.js';
import { GPU_WARM_UP_MS, RANKS_CONNECT_TIMEOUT_MS, WORKER_CONNECT_TIMEOUT_MS } from '../../common/limits.js';
import type { Logger } from '../../common/logger.js';
import { uint64FromBigInt, uint64ToNumber } from '../../common/proto.js';
import type { DescribeResponse__Output } from '../../proto/ts/skein/worker/v1/DescribeResponse.js';
import type { JoinGroupResponse__Output } from '../../proto/ts/skein/worker/v1/JoinGroupResponse.js';
import type { LoadRequest } from '../../proto/ts/skein/worker/v1/LoadRequest.js';
import type { LoadResult__Output } from '../../proto/ts/skein/worker/v1/LoadResult.js';
import { memoryShareOf, type RankDevice } from '../sharding/memory-plan.js';
import type { CoordinatorIdentity } from '../cluster/identity.js';
import { placeRanks } from '../cluster/placement.js';
import {
  checkAlike,
  chooseCollective,
  countKvBlocks,
  type CollectiveChoice,
  type KvLimits,
} from './group-choices.js';
import { RankClient } from './rank-client.js';
import { RankGroup } from './rank-group.js';
import { toRankInfo } from './rank-info.js';
import type { OpenRankTransport } from './rank-transport.js';

export interface FormGroupOptions extends KvLimits {
  /** In rank order, but where a worker holds another rank's weights. */
  readonly addresses: readonly string[];
  readonly openTransport: OpenRankTransport;
  readonly identity: CoordinatorIdentity;
  readonly makeLoadRequest: (rank: number, isOnGpu: boolean) => LoadRequest;
  readonly collective: CollectiveChoice;
  /** Of a GPU's whole memory, what its ranks may take together. */
  readonly gpuMemoryUtilization: number;
  /** Throws when the ranks' devices, in rank order, cannot hold what they would load. */
  readonly checkMemory: (devices: readonly RankDevice[]) => void;
  readonly onProgress: (progress: LoadProgress) => void;
  /** By weights_hash: what was read for it first, by whoever it was. Filled here; what is read later has to be it. */
  readonly checksums: Map<string, Buffer>;
  /** What all of them have come to. */
  readonly onPhase?: (phase: 'opened' | 'loaded' | 'joined') => void;
  /** A worker has spoken on its step stream: as long as the group lives. */
  readonly onSignOfLife: (workerId: string) => void;
  /** A rank that is silent or does not move for so long hangs. */
  readonly hangTimeoutMs: number;
  /** Rejects when a worker is lost while the group forms. */
  readonly lost: Promise<never>;
  /** Uint64, different each time. */
  readonly drawNonce: () => bigint;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface LoadProgress {
  /** Sums over the ranks. */
  readonly loadedBytes: number;
  readonly totalBytes: number;
  readonly numRanksReady: number;
}

interface Member {
  readonly client: RankClient;
  readonly description: DescribeResponse__Output;
  readonly load: LoadRequest;
}

export async function formGroup(options: FormGroupOptions): Promise<RankGroup> {
  const { openTransport, identity, clock, onSignOfLife, hangTimeoutMs } = options;
  const clients = options.addresses.map(
    (address) =>
      new RankClient({ transport: openTransport(address), identity, clock, onSignOfLife, hangTimeoutMs }),
  );
  const opened: RankClient[] = [];
  const lost = clients.map((client) => client.lost.then((error) => Promise.reject(error)));
  try {
    return await Promise.race([form(clients, options, opened), options.lost, ...lost]);
  } catch (error) {
    // Ranks that warm up may wait in a collective for one that is lost.
    const { code } = toAppError(error);
    await Promise.allSettled(opened.map((client) => client.abort(code)));
    for (const client of clients) client.close();
    throw error;
  }
}

/** `opened`: filled with those whose workers are held. */
async function form(
  clients: readonly RankClient[],
  options: FormGroupOptions,
  opened: RankClient[],
): Promise<RankGroup> {
  const { identity, clock, logger } = options;
  await connectAll(clients, logger);
  const described = await Promise.all(clients.map((client) => client.describe()));
  checkAlike(described);
  const isOnGpu = described.some((each) => each.device !== 'cpu');
  const members = place(clients, described, options, isOnGpu);
  const descriptions = members.map(({ description }) => description);
  const devices = descriptions.map(toRankDevice);
  options.checkMemory(devices);
  const groupEpoch = identity.nextEpoch(
    Math.max(...descriptions.map((each) => uint64ToNumber(each.highestEpoch, 'highest_epoch'))),
  );
  await Promise.all(
    clients.map(async (client) => {
      await client.open(groupEpoch);
      opened.push(client);
    }),
  );
  options.onPhase?.('opened');
  const loads = await loadAll(members, devices, options);
  options.onPhase?.('loaded');
  const numKvBlocks = countKvBlocks(descriptions, loads, options);
  const collective = chooseCollective(options.collective, descriptions);
  logger.info({ groupEpoch, worldSize: clients.length, collective, numKvBlocks }, 'forming a group');
  const joins = await connect(members, { collective, numKvBlocks, isOnGpu, nonce: options.drawNonce() });
  options.onPhase?.('joined');
  const ranks = members.map(({ client, description }, rank) =>
    toRankInfo(client, description, loads[rank]!, joins[rank]!),
  );
  const placed = members.map(({ client }) => client);
  const vocabularyRows = members.map(({ load: { layout } }) => ({
    start: layout?.vocabStart ?? 0,
    count: layout?.vocabValidRows ?? 0,
  }));
  return new RankGroup({
    ...{ groupEpoch, ranks, numKvBlocks, collective, clients: placed, vocabularyRows },
    ...{ hangTimeoutMs: options.hangTimeoutMs, clock, logger },
  });
}

/** In rank order: who holds a rank's weights has that rank. */
function place(
  clients: readonly RankClient[],
  descriptions: readonly DescribeResponse__Output[],
  options: FormGroupOptions,
  isOnGpu: boolean,
): Member[] {
  const requests = clients.map((_, rank) => options.makeLoadRequest(rank, isOnGpu));
  const workers = placeRanks(
    descriptions.map((each) => each.weightsHash),
    requests.map((request) => request.weightsHash ?? ''),
  );
  return workers.map((worker, rank) => {
    const client = clients[worker]!;
    client.rank = rank;
    return { client, description: descriptions[worker]!, load: requests[rank]! };
  });
}

/** Who cannot be reached is told of together: they are mended together. */
async function connectAll(clients: readonly RankClient[], logger: Logger): Promise<void> {
  const results = await Promise.allSettled(
    clients.map((client) =>
      client.connect((reason) =>
        logger.warn(
          { address: client.address, reason, timeoutMs: WORKER_CONNECT_TIMEOUT_MS },
          'a worker cannot be reached yet; it is dialled until it can',
        ),
      ),
    ),
  );
  const errors = results.flatMap((result) =>
    result.status === 'rejected' ? [toAppError(result.reason)] : [],
  );
  if (errors.length === 0) return;
  throw new AppError(errors[0]!.code, errors.map(({ message }) => message).join('; '), { cause: errors[0] });
}

interface Connection {
  readonly collective: string;
  readonly numKvBlocks: number;
  readonly isOnGpu: boolean;
  readonly nonce: bigint;
}

async function connect(
  members: readonly Member[],
  { collective, numKvBlocks, isOnGpu, nonce }: Connection,
): Promise<JoinGroupResponse__Output[]> {
  const addresses = await Promise.all(
    members.map(({ client }) =>
      client.prepareGroup({
        rank: client.rank,
        worldSize: members.length,
        collective: `COLLECTIVE_KIND_${collective.replace('-', '_').toUpperCase()}` as 'COLLECTIVE_KIND_NONE',
        bindHost: hostOf(client.address),
        nonce: uint64FromBigInt(nonce, 'nonce'),
      }),
    ),
  );
  return Promise.all(
    members.map(({ client }) =>
      client.joinGroup(
        { addresses, numKvBlocks, timeoutMs: RANKS_CONNECT_TIMEOUT_MS },
        isOnGpu ? GPU_WARM_UP_MS : 0,
      ),
    ),
  );
}

function toRankDevice({ host, device, memoryTotalBytes }: DescribeResponse__Output): RankDevice {
  return { host, device, totalBytes: uint64ToNumber(memoryTotalBytes, 'memory_total_bytes') };
}

async function loadAll(
  members: readonly Member[],
  devices: readonly RankDevice[],
  options: FormGroupOptions,
): Promise<LoadResult__Output[]> {
  const loaded = members.map(() => 0);
  const totals = members.map(() => 0);
  let numRanksReady = 0;
  const report = (): void =>
    options.onProgress({ loadedBytes: sum(loaded), totalBytes: sum(totals), numRanksReady });
  return Promise.all(
    members.map(async ({ client, load }, rank) => {
      const memoryShare = memoryShareOf(devices, rank, options.gpuMemoryUtilization);
      const weightsHash = load.weightsHash ?? '';
      const expectedChecksums = options.checksums.get(weightsHash) ?? Buffer.alloc(0);
      const request = { ...load, memoryShare, expectedChecksums };
      const result = await client.load(request, (loadedBytes, totalBytes) => {
        loaded[rank] = loadedBytes;
        totals[rank] = totalBytes;
        report();
      });
      options.checksums.set(weightsHash, result.tensorChecksums);
      const { loadMs, times } = result;
      const readBytes = uint64ToNumber(result.readBytes, 'read_bytes');
      options.logger.info({ rank, readBytes, loadMs, ...times }, 'weights loaded');
      numRanksReady += 1;
      loaded[rank] = totals[rank]!;
      report();
      return result;
    }),
  );
}

/** The interface that ranks reach each other by: the one that the coordinator reaches. */
function hostOf(address: string): string {
  if (address.startsWith('unix:')) return '127.0.0.1';
  return address.slice(0, address.lastIndexOf(':')).replace(/^\[|\]$/g, '');
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
