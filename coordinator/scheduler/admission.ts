// Which of the sequences that wait come into the plan being made: in the order of the waiting queue, as far as slots,
// blocks, tile slots and the budgets of the step go.
import { addRows, admissionBytes, hasRoomFor, prefillRoom, toNewSequence, type Draft } from './draft.js';
import type { PrefixMatch } from './kv-cache.js';
import type { PlansInFlight } from './plans-in-flight.js';
import type { Room, RoomParts } from './room.js';
import type { Sequence } from './sequence.js';
import type { SchedulerConfig, SequenceRequest } from './step-plan.js';
import { mayBeginPrefill } from './suspects.js';
import type { TileRows } from './tile-rows.js';

/** Of those that wait, so many are passed over in one plan: what it takes does not depend on how many there are. */
const MAX_PASSED = 128;

/** What the scheduler has; admission takes from it. */
export interface AdmissionParts extends RoomParts {
  readonly config: SchedulerConfig;
  readonly room: Room;
  readonly tiles: TileRows;
  readonly inFlight: PlansInFlight;
}

export class Admission {
  /** Of admitted sequences, and how many of them needed no computing. */
  numAdmittedTokens = 0;
  numCachedTokens = 0;
  readonly #parts: AdmissionParts;
  /** Some sequence of this epoch is prefilled alone, or was. */
  #hasSuspects = false;

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
  }

  arrived(request: SequenceRequest): void {
    this.#hasSuspects ||= request.prefillsAlone === true;
  }

  /** Admits waiting sequences in their order. True when one waits for tile slots. */
  admit(draft: Draft): boolean {
    const { waiting } = this.#parts.queues;
    let isBlockedOnTiles = false;
    let numPassed = 0;
    while (numPassed < MAX_PASSED) {
      const sequence = waiting.next();
      if (sequence === undefined) break;
      const verdict = this.#tryToAdmit(sequence, draft);
      if (verdict === 'stop') break;
      isBlockedOnTiles ||= verdict === 'no tile slots';
      // Who is admitted waits no more.
      if (verdict === 'admitted') continue;
      waiting.pass(sequence);
      numPassed += 1;
    }
    waiting.resume();
    return isBlockedOnTiles;
  }

  /**
   * Those that wait for pixels, tile slots, a mask, or a prefix that another is computing, do not hold up the ones
   * behind them; want of slots, blocks or budgets does.
   */
  #tryToAdmit(sequence: Sequence, draft: Draft): 'admitted' | 'passed' | 'no tile slots' | 'stop' {
    const { config, queues, kv, room, pictures, tiles, inFlight } = this.#parts;
    // Preempted, and its last steps are still in flight: it goes before those behind it.
    if (sequence.holdsResources) return 'stop';
    const mostRows = prefillRoom(draft);
    const isFull = mostRows === 0 || !room.mayHaveSlot;
    // Pictures are sent ahead; all else can wait until there is room.
    if (isFull && sequence.pictures.length === 0) return 'stop';
    if (sequence.awaited?.state === 'computing' || pictures.isUploading(sequence)) return 'passed';
    const prefix = kv.match(sequence);
    if (sequence.rowsBeforeMask(prefix.numTokens, 1, draft) === 0) return 'passed';
    sequence.awaited = prefix.computing;
    if (prefix.computing !== null) return 'passed';
    const assignment = pictures.isReady(sequence, prefix.numTokens)
      ? null
      : pictures.assign(sequence, prefix.numTokens);
    // Their outputs may have been kept.
    if (!pictures.isReady(sequence, prefix.numTokens))
      return assignment === 'no slots' ? 'no tile slots' : 'passed';
    if (isFull) return 'stop';
    if (this.#hasSuspects && !mayBeginPrefill(sequence, queues.running, draft, inFlight)) return 'stop';
    const wanted = Math.min(mostRows, sequence.numTokens - prefix.numTokens);
    const rows = tiles.limitRows(sequence, prefix.numTokens, wanted, draft);
    const bytes = admissionBytes(sequence, config.blockSize);
    if (rows === 0 || !hasRoomFor(draft, bytes)) return 'stop';
    // Last of all: others may have to make way.
    if (!room.makeFor(sequence, prefix)) return 'stop';
    draft.bytesLeft -= bytes;
    this.#start(sequence, prefix, draft);
    addRows(draft, sequence, rows, tiles);
    return 'admitted';
  }

  #start(sequence: Sequence, prefix: PrefixMatch, draft: Draft): void {
    const { queues, kv, slots } = this.#parts;
    queues.start(sequence);
    sequence.slot = slots.take();
    sequence.hasSampled = false;
    sequence.numComputedTokens = prefix.numTokens;
    this.numAdmittedTokens += sequence.numTokens;
    this.numCachedTokens += prefix.numTokens;
    if (!sequence.isCharged)
      queues.waiting.clients.admitted(
        sequence.client,
        sequence.numTokens - prefix.numTokens,
        prefix.numTokens,
      );
    sequence.isCharged = true;
    draft.plan.newSequences.push(toNewSequence(sequence));
    kv.admit(sequence, prefix);
    for (const block of sequence.blocks) draft.plan.newBlocks.push(sequence.slot, block);
  }
}
