// One token stream as the scheduler sees it: what is known of it, how far it is computed, what it holds. Only the
// scheduler writes to it.
//
//   waiting -> running -> ended
//    ^   ^       |   ^
//    |   +-------+   |     preempted: waits again, and is admitted once its steps in flight have come back
//    +--> paused <---+     its reader is behind: keeps what it holds, or gives it up as one that is preempted; may end
import { TokenList } from '../../common/token-list.js';
import type { Client } from './clients.js';
import type { CachedBlock } from './kv-cache.js';
import type { RankPicture } from './picture-manager.js';
import type { FinishReason, SequenceRequest, TokenMask } from './step-plan.js';
import type { Line } from './waiting-line.js';

const NO_PICTURES: readonly PictureState[] = [];

export type SequenceState = 'waiting' | 'running' | 'paused' | 'ended';

export interface PictureState {
  readonly numTiles: number;
  readonly firstPosition: number;
  readonly contentHash: string | undefined;
  /** Null: it has no slots, or no need of them any more. */
  onRanks: RankPicture | null;
}

export class Sequence {
  // What every step asks of every sequence stands together: with a thousand of them, what is fetched from memory is
  // most of what they cost.
  state: SequenceState = 'waiting';
  /** -1 while it holds none. */
  slot = -1;
  /** Prompt and produced. */
  numKnownTokens: number;
  /** Sampled by steps in flight: tokens that exist in the engine and are not known here yet. */
  numPendingTokens = 0;
  /** Positions whose keys and values are computed by the plans made so far. */
  numComputedTokens = 0;
  /** Plans in flight that name it; what it holds is freed only at 0. */
  numPlansInFlight = 0;
  /** Of its blocks, the first so many are ready to be shared. */
  numReadyBlocks = 0;
  /** A plan that was made since its admission computes its last known token: what follows are decodes. */
  hasSampled = false;
  /** Of the request. */
  readonly isMasked: boolean;
  readonly numPromptTokens: number;
  readonly minTokens: number;
  readonly maxTokens: number;
  /** The first of its stop tokens, mostly the only one; -1: there is none. */
  readonly #stopTokenId: number;
  /** Of its next token, where it is masked; null: it is not known yet. */
  mask: TokenMask | null = null;
  readonly pictures: readonly PictureState[];
  /** Whose it is: what it is given counts as the client's. */
  readonly client: Client;
  readonly sequenceId: string;
  /** Tokens produced since it was submitted. */
  readonly #produced = new TokenList();
  /** Of the KV cache, by position. */
  blocks: number[] = [];

  readonly request: SequenceRequest;
  /** Null: there are no others. */
  readonly #otherStopTokenIds: ReadonlySet<number> | null;
  /** Smaller goes first. */
  readonly priority: number;
  readonly arrivedMs: number;
  /** Of all sequences, in order of submission; smaller goes first. */
  readonly arrival: number;
  /** While it waits: in which line of its client's; null: it has run before. */
  line: Line | null = null;
  /** It ran in an epoch that ended, and waits. */
  isResumed = false;
  /** Since it began to wait. */
  numWaitingTokens = 0;
  /** Since it was its client's first to wait; of one that runs, since it was when it was admitted. */
  headSinceMs = 0;
  /** Its prompt counts as what its client was given: only once, however often it is computed. */
  isCharged: boolean;
  /** The first of its blocks, as the cache knows them. */
  cachedBlocks: CachedBlock[] = [];
  /** False: another computes the same block, and what follows is not entered into the cache. */
  isChained = true;
  /** By block, as far as they were asked for. */
  readonly blockKeys: number[] = [];
  /** It waits for another sequence to compute what both have in common. */
  awaited: CachedBlock | null = null;

  constructor(request: SequenceRequest, client: Client, arrival: number, maxTokens: number) {
    this.sequenceId = request.sequenceId;
    this.request = request;
    this.client = client;
    this.priority = request.priority ?? 0;
    this.arrivedMs = request.arrivedMs ?? 0;
    this.isCharged = request.hasRun === true;
    this.arrival = arrival;
    this.maxTokens = maxTokens;
    const [stopTokenId = -1, ...otherStopTokenIds] = request.sampling.stopTokenIds;
    this.#stopTokenId = stopTokenId;
    this.#otherStopTokenIds = otherStopTokenIds.length === 0 ? null : new Set(otherStopTokenIds);
    this.numPromptTokens = request.numPromptTokens;
    this.minTokens = request.sampling.minTokens;
    this.isMasked = request.isMasked === true;
    this.numKnownTokens = request.tokenIds.length;
    this.pictures =
      request.pictures.length === 0
        ? NO_PICTURES
        : request.pictures.map(({ numTiles, firstPosition, contentHash }) => ({
            ...{ numTiles, firstPosition, contentHash },
            onRanks: null,
          }));
  }

  /** Length once the steps in flight have come back. */
  get numTokens(): number {
    return this.numKnownTokens + this.numPendingTokens;
  }

  get numRemainingTokens(): number {
    return this.numTokens - this.numComputedTokens;
  }

  /** Of these rows from `start` on: the last one, which samples, waits for its mask and for room in the plan. */
  rowsBeforeMask(start: number, rows: number, { maskBytesLeft }: { readonly maskBytesLeft: number }): number {
    const mayBeSampled = !this.isMasked || (this.mask?.byteLength ?? Infinity) <= maskBytesLeft;
    return mayBeSampled ? rows : Math.min(rows, this.numTokens - 1 - start);
  }

  get numOutputTokens(): number {
    return this.numKnownTokens - this.numPromptTokens;
  }

  /** Every token that it may produce is produced or in flight: another step would be wasted. */
  get hasReachedLength(): boolean {
    return this.numOutputTokens + this.numPendingTokens >= this.maxTokens;
  }

  /** Of a known token. */
  tokenAt(position: number): number {
    const { tokenIds } = this.request;
    return position < tokenIds.length ? tokenIds[position]! : this.#produced.at(position - tokenIds.length)!;
  }

  get holdsResources(): boolean {
    return this.slot >= 0;
  }

  /** A token that a step in flight was to sample. Null: it goes on after it. */
  take(token: number): FinishReason | null {
    this.numPendingTokens -= 1;
    this.#produced.push(token);
    this.numKnownTokens += 1;
    const mayStop = this.numOutputTokens > this.minTokens;
    if (mayStop && this.#isStop(token)) return 'stop';
    return this.numOutputTokens >= this.maxTokens ? 'length' : null;
  }

  allTokenIds(): Uint32Array {
    return this.#produced.after(this.request.tokenIds);
  }

  #isStop(token: number): boolean {
    return token === this.#stopTokenId || this.#otherStopTokenIds?.has(token) === true;
  }
}
