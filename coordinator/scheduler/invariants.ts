// What holds of a scheduler after every call: each block, slot and tile slot is free or has one owner, and sequences
// stay within what is known of them. Checked by tests and by the simulator.
import { assert } from '../../common/assert.js';
import type { KvCache } from './kv-cache.js';
import type { PictureManager } from './picture-manager.js';
import type { PlansInFlight } from './plans-in-flight.js';
import type { Sequence } from './sequence.js';
import type { SequenceQueues } from './sequence-queues.js';
import type { SchedulerConfig } from './step-plan.js';

export interface Holdings {
  readonly config: SchedulerConfig;
  readonly queues: SequenceQueues;
  readonly kv: KvCache;
  readonly freeSlots: readonly number[];
  readonly pictures: PictureManager;
  readonly inFlight: PlansInFlight;
}

/** Throws InvariantError. */
export function checkHoldings(holdings: Holdings): void {
  const { config, queues, kv, freeSlots, pictures, inFlight } = holdings;
  const sequences = new Set([...queues.running, ...queues.paused, ...queues.waiting, ...queues.draining]);
  for (const sequence of sequences) checkSequence(sequence, holdings);
  kv.checkInvariants(sequences);
  const slots = [...sequences].filter(({ holdsResources }) => holdsResources).map(({ slot }) => slot);
  const allSlots = new Set([...slots, ...freeSlots]);
  assert(allSlots.size === slots.length + freeSlots.length, 'a slot has one owner');
  assert(allSlots.size === config.maxNumSequences, 'every slot is free or owned');
  assert(inFlight.length <= config.maxPlansInFlight, 'plans in flight');
  pictures.checkInvariants(sequences);
  queues.waiting.checkInvariants();
}

function checkSequence(sequence: Sequence, { config, queues, inFlight }: Holdings): void {
  const name = sequence.sequenceId;
  const { state, numComputedTokens, numTokens, blocks, holdsResources } = sequence;
  const numNaming = inFlight.numNaming(sequence);
  assert(sequence.numPlansInFlight === numNaming, `${name}: plans in flight are counted`);
  assert(numComputedTokens <= numTokens, `${name}: computes known tokens only`);
  assert(blocks.length * config.blockSize >= numComputedTokens, `${name}: has blocks for what it computes`);
  assert(
    state === 'ended' || sequence.numOutputTokens + sequence.numPendingTokens <= sequence.maxTokens,
    `${name}: stays within max_tokens`,
  );
  assert(state !== 'running' || holdsResources, `${name}: runs in a slot`);
  const rests = queues.resting.has(sequence);
  assert(queues.paused.has(sequence) === (state === 'paused'), `${name}: is paused`);
  assert(!rests || (state === 'paused' && holdsResources && sequence.hasSampled), `${name}: rests`);
  assert(
    queues.draining.has(sequence) === (state !== 'running' && holdsResources && !rests),
    `${name}: drains while it holds a slot`,
  );
}
