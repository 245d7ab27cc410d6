// A whole tensor-parallel group over real collectives: one native engine per rank, each on its own thread of this
// process, or, on CUDA with several ranks, in a process of its own.
// Drives them as a coordinator would, with the simplest scheduling: one sequence a slot, blocks dealt out in order.
import assert from 'node:assert/strict';

import type { Checkpoint } from '../../coordinator/checkpoint/model-spec.js';
import { makeShardPlan } from '../../coordinator/sharding/make-shard-plan.js';
import type { ShardPlan } from '../../coordinator/sharding/shard-plan.js';
import { createNativeEngine } from '../../worker/native/native-engine.js';
import type {
  NativeEngine,
  NativeGroupOptions,
  NativeLoadResult,
  NativeNewSequence,
  NativeSamplingParams,
  NativeStepPlan,
  NativeStepResult,
} from '../../common/native/native.js';
import { RemoteEngine, type GroupEngine } from './remote-engine.js';
import {
  makeNewSequence,
  makeSampling,
  makeStepPlan,
  toNativeLoadPlan,
  type NativeLoadLimits,
} from './native-plans.js';

export interface LocalGroupOptions extends Partial<NativeLoadLimits> {
  readonly checkpoint: Checkpoint;
  readonly worldSize: number;
  /** One that all ranks share, or one a rank. Default: cpu. */
  readonly device?: string | readonly string[];
  /** Default: true. */
  readonly deterministic?: boolean;
  readonly collective?: NativeGroupOptions['collective'];
  readonly visionParallel?: 'auto' | 'tensor' | 'data';
  readonly numKvBlocks?: number;
}

export interface GenerateOptions {
  readonly tokenIds: Uint32Array;
  readonly numTokens: number;
  readonly sampling?: Partial<NativeSamplingParams>;
  readonly pictures?: NativeNewSequence['pictures'];
  /** Decodes run as steps of this CUDA graph bucket; default: eagerly. */
  readonly graphBucket?: number;
  /** Each decode is submitted before the one in front of it has come back. Default: false. */
  readonly ahead?: boolean;
  /** Most tokens of the prompt in one step; default: all. */
  readonly chunk?: number;
  readonly slot?: number;
}

export interface GeneratedToken {
  readonly tokenId: number;
  readonly logprob: number;
  readonly top: readonly { readonly tokenId: number; readonly logprob: number }[];
}

const DEFAULT_LIMITS: NativeLoadLimits = {
  computeType: 'float32',
  maxNumSequences: 16,
  maxStepTokens: 512,
  blockSize: 16,
  maxModelLength: 1024,
  numTileSlots: 64,
  maxTilesPerStep: 8,
  dummySeed: null,
};

const JOIN_TIMEOUT_MS = 20_000;

type StepOutcome = { readonly error: Error | null; readonly result: NativeStepResult | null };

/** One engine and the steps whose outcome is awaited. */
class Rank {
  readonly #waiting: ((outcome: StepOutcome) => void)[] = [];

  constructor(readonly engine: GroupEngine) {
    engine.onStep((error, result) => {
      const settle = this.#waiting.shift();
      assert.ok(settle, 'a step outcome that nobody waits for');
      settle({ error, result });
    });
  }

  submit(plan: NativeStepPlan): Promise<NativeStepResult> {
    return new Promise((resolve, reject) => {
      if (!this.engine.submitStep(plan)) return reject(new Error('the queue of steps is full'));
      this.#waiting.push(({ error, result }) => {
        if (error !== null) return reject(error);
        assert.ok(result);
        resolve(result);
      });
    });
  }
}

function deviceOf({ device = 'cpu' }: LocalGroupOptions, rank: number): string {
  return (typeof device === 'string' ? device : device[rank]) ?? 'cpu';
}

/**
 * Ranks on GPUs are real processes. Where any two share a GPU each tells NCCL that it is a host of its own; ranks with
 * a GPU each meet as a cluster's do.
 */
function createEngine(group: LocalGroupOptions, rank: number): GroupEngine {
  const { deterministic = true, worldSize } = group;
  const device = deviceOf(group, rank);
  const options = { device, numThreads: 1, deterministic };
  if (device === 'cpu' || worldSize === 1) return createNativeEngine(options);
  const devices = new Set(Array.from({ length: worldSize }, (_, each) => deviceOf(group, each)));
  const claim = { NCCL_HOSTID: `skein-${process.pid}-${rank}`, NCCL_SOCKET_IFNAME: 'lo' };
  return new RemoteEngine(options, devices.size === worldSize ? {} : claim);
}

export class LocalGroup {
  readonly ranks: readonly Rank[];
  readonly blockSize: number;
  loads: readonly NativeLoadResult[] = [];
  groupEpoch = 0;
  #step = 0;
  #nextBlock = 0;
  readonly #options: LocalGroupOptions;
  readonly #limits: NativeLoadLimits;

  /**
   * Submits the plan and waits until its first collective has begun. Joining counts collectives too: the group warms
   * up.
   */
  static async enterCollective(
    engine: Pick<NativeEngine, 'progress' | 'submitStep'>,
    plan: NativeStepPlan,
  ): Promise<void> {
    const before = engine.progress().collectives;
    assert.ok(engine.submitStep(plan));
    while (engine.progress().collectives === before) await new Promise((resolve) => setTimeout(resolve, 1));
  }

  private constructor(options: LocalGroupOptions) {
    const {
      computeType,
      float8KvCache = false,
      maxNumSequences,
      maxStepTokens,
      blockSize,
      maxModelLength,
      numTileSlots,
      maxTilesPerStep,
      dummySeed,
      graphBuckets = [],
    } = { ...DEFAULT_LIMITS, ...options };
    this.#limits = {
      computeType,
      float8KvCache,
      maxNumSequences,
      maxStepTokens,
      blockSize,
      maxModelLength,
      numTileSlots,
      maxTilesPerStep,
      dummySeed,
      graphBuckets,
    };
    this.#options = options;
    this.blockSize = blockSize;
    this.ranks = Array.from(
      { length: options.worldSize },
      (_, rank) => new Rank(createEngine(options, rank)),
    );
  }

  /** Loads every rank's slices and joins epoch 1. */
  static async start(options: LocalGroupOptions): Promise<LocalGroup> {
    const { checkpoint, worldSize, visionParallel = 'auto' } = options;
    const plan = makeShardPlan(checkpoint, { worldSize, visionParallel });
    const group = new LocalGroup(options);
    try {
      await group.#load(plan);
      await group.join(1);
    } catch (error) {
      await group.close();
      throw error;
    }
    return group;
  }

  async #load(plan: ShardPlan): Promise<void> {
    this.loads = await Promise.all(
      this.ranks.map(({ engine }, index) => {
        const rankPlan = plan.ranks[index];
        assert.ok(rankPlan);
        return engine.load(toNativeLoadPlan(plan, rankPlan, this.#limits), () => {});
      }),
    );
  }

  async join(groupEpoch: number): Promise<void> {
    const { worldSize, numKvBlocks = 128 } = this.#options;
    const multiple = deviceOf(this.#options, 0) === 'cpu' ? 'shared-memory' : 'nccl';
    const collective = this.#options.collective ?? (worldSize === 1 ? 'none' : multiple);
    const addresses = await Promise.all(
      this.ranks.map(({ engine }, rank) =>
        engine.prepareGroup({ groupEpoch, rank, worldSize, collective, bindHost: '127.0.0.1' }),
      ),
    );
    await Promise.all(
      this.ranks.map(({ engine }) => engine.joinGroup(groupEpoch, addresses, numKvBlocks, JOIN_TIMEOUT_MS)),
    );
    this.groupEpoch = groupEpoch;
    this.#step = 0;
    this.#nextBlock = 0;
  }

  /** Runs one step on all ranks, which must agree; resolves with rank 0's result. */
  async step(changes: Partial<NativeStepPlan>): Promise<NativeStepResult> {
    const plan = makeStepPlan(this.groupEpoch, ++this.#step, changes);
    const outcomes = await Promise.allSettled(this.ranks.map((rank) => rank.submit(plan)));
    const results = outcomes.map((outcome) => {
      if (outcome.status === 'rejected') throw outcome.reason;
      return outcome.value;
    });
    const [first] = results;
    assert.ok(first);
    for (const result of results)
      assert.equal(result.sampleHash, first.sampleHash, 'ranks sampled different tokens');
    return first;
  }

  async putPicture(pictureId: number, tileSlots: readonly number[], pixels: Uint8Array): Promise<void> {
    await Promise.all(
      this.ranks.map(({ engine }) =>
        engine.putPixels(this.groupEpoch, pictureId, Uint32Array.from(tileSlots), pixels),
      ),
    );
  }

  /** Pairs (slot, block) of fresh blocks for positions start .. end - 1. */
  blocksFor(slot: number, start: number, end: number): number[] {
    const pairs: number[] = [];
    for (let block = Math.ceil(start / this.blockSize); block * this.blockSize < end; block++)
      pairs.push(slot, this.#nextBlock++);
    return pairs;
  }

  /** Prefill and `numTokens` decodes of one sequence; its slot is released at the end. */
  async generate(options: GenerateOptions): Promise<GeneratedToken[]> {
    const { tokenIds, numTokens, pictures = [], slot = 0, graphBucket = 0, ahead = false } = options;
    const chunk = options.chunk ?? tokenIds.length;
    const sampling = makeSampling(options.sampling);
    const tokens: GeneratedToken[] = [];
    for (let start = 0; start < tokenIds.length; start += chunk) {
      const end = Math.min(tokenIds.length, start + chunk);
      const result = await this.step({
        newSequences: start === 0 ? [makeNewSequence(slot, tokenIds, { sampling, pictures })] : [],
        newBlocks: Uint32Array.from(this.blocksFor(slot, start, end)),
        scheduledSlots: Uint32Array.of(slot),
        scheduledTokens: Uint32Array.of(end - start),
      });
      tokens.push(...sampledTokens(result));
    }
    const inFlight: Promise<NativeStepResult>[] = [];
    const take = async (): Promise<void> => {
      const result = await inFlight.shift();
      assert.ok(result);
      tokens.push(...sampledTokens(result));
    };
    for (let position = tokenIds.length; tokens.length + inFlight.length < numTokens; position++) {
      const step = this.step({
        newBlocks: Uint32Array.from(this.blocksFor(slot, position, position + 1)),
        scheduledSlots: Uint32Array.of(slot),
        scheduledTokens: Uint32Array.of(1),
        graphBucket,
      });
      // One that is not awaited yet may fail, too.
      step.catch(() => undefined);
      inFlight.push(step);
      if (!ahead || inFlight.length === 2) await take();
    }
    while (inFlight.length > 0) await take();
    await this.step({ releasedSlots: Uint32Array.of(slot) });
    // No sequence is left: all blocks are free again.
    this.#nextBlock = 0;
    return tokens;
  }

  async close(): Promise<void> {
    await Promise.all(this.ranks.map(({ engine }) => engine.close()));
  }
}

/** The tokens of a step's result, in order. */
export function sampledTokens(result: NativeStepResult): GeneratedToken[] {
  return Array.from(result.tokenIds, (tokenId, index) => {
    const start = result.topOffsets[index] ?? 0;
    const end = result.topOffsets[index + 1] ?? start;
    const top = Array.from(result.topIds.subarray(start, end), (id, offset) => ({
      tokenId: id,
      logprob: result.topLogprobs[start + offset] ?? Number.NaN,
    }));
    return { tokenId, logprob: result.logprobs[index] ?? Number.NaN, top };
  });
}
