// Faults that tests plant into the real code, to see that the simulator finds them. Each changes a method and puts it
// back.
import { toAppError } from '../../common/errors.js';
import { CoordinatorIdentity } from '../../coordinator/cluster/identity.js';
import { Backlog } from '../../coordinator/requests/backlog.js';
import { Request } from '../../coordinator/requests/request.js';
import { KvCache } from '../../coordinator/scheduler/kv-cache.js';
import { Scheduler } from '../../coordinator/scheduler/scheduler.js';
import { SequenceQueues } from '../../coordinator/scheduler/sequence-queues.js';
import type { TokenMask } from '../../coordinator/scheduler/step-plan.js';
import { StepRunner } from '../../worker/step-runner.js';
import type { SimulationOptions } from './simulation.js';

export interface Plant {
  readonly name: string;
  readonly options: Omit<SimulationOptions, 'seed'>;
  /** Within which it must be found; default: 1,000. */
  readonly numSeeds?: number;
  /** Returns how to take it out again. */
  readonly install: () => () => void;
}

function nothing(): void {
  // Its options are all there is of it.
}

/** Returns how to put the method back. */
export function replaceMethod<Class extends object, Name extends keyof Class>(
  prototype: Class,
  name: Name,
  make: (original: Class[Name]) => Class[Name],
): () => void {
  const original = prototype[name];
  prototype[name] = make(original);
  return () => {
    prototype[name] = original;
  };
}

/** Every fourth time, the first of the new blocks goes to the next sequence too. */
function freeBlocksTooEarly(): () => void {
  let numCalls = 0;
  let freed: number | null = null;
  return replaceMethod(
    KvCache.prototype,
    'grow',
    (grow) =>
      function (this: KvCache, sequence, numBlocks) {
        const blocks = grow.call(this, sequence, numBlocks);
        if (freed !== null && blocks.length > 0) {
          sequence.blocks[sequence.blocks.length - blocks.length] = freed;
          blocks[0] = freed;
          freed = null;
        }
        numCalls += 1;
        if (numCalls % 4 === 0) freed = blocks[0] ?? null;
        return blocks;
      },
  );
}

/** Blocks are shared while the sequence that they were entered for computes them. */
function shareBlocksTooEarly(): () => void {
  return replaceMethod(
    KvCache.prototype,
    'admit',
    (admit) =>
      function (this: KvCache, sequence, match) {
        admit.call(this, sequence, match);
        for (const cached of sequence.cachedBlocks) cached.state = 'ready';
      },
  );
}

/** Every fiftieth token comes twice. */
function doubleTokens(): () => void {
  let numCalls = 0;
  return replaceMethod(
    Request.prototype,
    'onTokens',
    (onTokens) =>
      function (this: Request, tokens, start, end, finishReason) {
        numCalls += 1;
        if (numCalls % 50 === 0) onTokens.call(this, tokens, start, end, null);
        onTokens.call(this, tokens, start, end, finishReason);
      },
  );
}

/** A group that is formed again has the epoch of the one before. */
function reuseEpochs(): () => void {
  const epochs = new WeakMap<CoordinatorIdentity, number>();
  return replaceMethod(
    CoordinatorIdentity.prototype,
    'nextEpoch',
    (nextEpoch) =>
      function (this: CoordinatorIdentity, highestReported) {
        const epoch = epochs.get(this) ?? nextEpoch.call(this, highestReported);
        epochs.set(this, epoch);
        return epoch;
      },
  );
}

/** A replay leaves out the last token that its reader has, so that the reader gets it again. */
function replayTokenTwice(): () => void {
  return replaceMethod(
    Request.prototype,
    'toSequence',
    (toSequence) =>
      function (this: Request) {
        const sequence = toSequence.call(this);
        const hasTokens = sequence.tokenIds.length > sequence.numPromptTokens;
        return hasTokens ? { ...sequence, tokenIds: sequence.tokenIds.slice(0, -1) } : sequence;
      },
  );
}

/** Of the requests that wait for the next epoch, it is not given the last. */
function forgetAtRequeue(): () => void {
  return replaceMethod(
    Backlog.prototype,
    'take',
    (take) =>
      function (this: Backlog) {
        return take.call(this).slice(0, -1);
      },
  );
}

/** A token is held to what was to hold the one before it. */
function maskLate(): () => void {
  const given = new Map<string, TokenMask>();
  return replaceMethod(
    Scheduler.prototype,
    'setMask',
    (setMask) =>
      function (this: Scheduler, sequenceId, mask) {
        setMask.call(this, sequenceId, given.get(sequenceId) ?? mask);
        given.set(sequenceId, mask);
      },
  );
}

/** Every tenth sequence that is paused stays so. */
function leavePaused(): () => void {
  let numCalls = 0;
  return replaceMethod(
    Scheduler.prototype,
    'unpause',
    (unpause) =>
      function (this: Scheduler, sequenceId) {
        numCalls += 1;
        if (numCalls % 10 !== 0) unpause.call(this, sequenceId);
      },
  );
}

/** What a paused sequence gives up is had by others while plans in flight name it. */
function takeFromPausedTooEarly(): () => void {
  return replaceMethod(
    SequenceQueues.prototype,
    'isDrained',
    (isDrained) =>
      function (this: SequenceQueues, sequence) {
        const { numPlansInFlight } = sequence;
        if (sequence.state === 'paused') sequence.numPlansInFlight = 0;
        const isFree = isDrained.call(this, sequence);
        sequence.numPlansInFlight = numPlansInFlight;
        return isFree;
      },
  );
}

/** A plan that comes twice, or too early, is computed as if it were the next. */
function computeWhateverComes(): () => void {
  return replaceMethod(
    StepRunner.prototype,
    'submit',
    (submit) =>
      function (this: StepRunner, sink, plan) {
        try {
          submit.call(this, sink, plan);
        } catch (error) {
          const { code, details } = toAppError(error);
          if (code !== 'STEP_OUT_OF_ORDER' || typeof details['expected'] !== 'number') throw error;
          submit.call(this, sink, { ...plan, step: details['expected'] });
        }
      },
  );
}

export const PLANTS: readonly Plant[] = [
  // By the tokens that come of it alone.
  { name: 'a block freed too early', options: { checksInvariants: false }, install: freeBlocksTooEarly },
  { name: 'a block shared too early', options: { checksInvariants: false }, install: shareBlocksTooEarly },
  { name: 'a token doubled', options: {}, install: doubleTokens },
  { name: 'an epoch reused', options: {}, install: reuseEpochs },
  { name: 'a token replayed twice', options: {}, install: replayTokenTwice },
  { name: 'a request forgotten at requeue', options: {}, install: forgetAtRequeue },
  { name: 'a mask that is late by a token', options: {}, install: maskLate },
  { name: 'a request that stays paused', options: {}, install: leavePaused },
  {
    name: 'room taken too early from a paused sequence',
    options: { checksInvariants: false },
    install: takeFromPausedTooEarly,
  },
  // One seed in several hundred shows it.
  { name: 'a plan out of order', options: {}, numSeeds: 2_000, install: computeWhateverComes },
  { name: 'a lost wake-up', options: { losesWakeUps: true }, install: () => nothing },
];
