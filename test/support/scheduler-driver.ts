// Drives a Scheduler as the executor does, with the ranks played by a model that checks what reaches them: every plan
// is replayed on tables of slots, blocks, pictures and lengths, in order, and a plan that a rank would refuse fails the
// test.
import assert from 'node:assert/strict';
import { mapRanges, type SamplingParams } from '../../common/sampling.js';
import { Scheduler } from '../../coordinator/scheduler/scheduler.js';
import type {
  PlanLimits,
  SchedulerConfig,
  SequenceOutput,
  SequencePicture,
  StepPlan,
} from '../../coordinator/scheduler/step-plan.js';

export const GREEDY: SamplingParams = {
  ...mapRanges(({ neutral }) => neutral),
  seed: 0n,
  choiceIndex: 0,
  numTopLogprobs: 0,
  returnLogprobs: false,
  stopTokenIds: [],
  logitBiasIds: [],
  logitBiasValues: [],
};

export const SMALL_CONFIG: SchedulerConfig = {
  numBlocks: 16,
  blockSize: 4,
  maxNumSequences: 4,
  maxStepTokens: 8,
  maxModelLength: 64,
  maxPlansInFlight: 2,
  maxWaiting: 16,
  maxWaitingTokens: 2 ** 31,
  ageingIntervalMs: 30_000,
  numTileSlots: 8,
  maxTilesPerStep: 2,
  tokensPerTile: 4,
  graphBuckets: [],
  prefixCaching: false,
  prefixSeed: 7,
};

export const END_TOKEN = 999;

/** What the model of a rank keeps of a sequence. */
interface RankSequence {
  readonly sequenceId: string;
  readonly tokenIds: number[];
  readonly blocks: number[];
  readonly pictures: readonly { pictureId: number; firstPosition: number }[];
  numComputed: number;
}

/** The next token is a function of the tokens so far, so that a recomputed sequence goes on as it would have. */
export function nextToken(tokenIds: readonly number[]): number {
  let hash = 17;
  for (const id of tokenIds) hash = (hash * 31 + id) % 65_521;
  return hash % 97;
}

/** The mask that fits the tokens so far, and no others. */
export function maskAfter(tokenIds: readonly number[]): Uint32Array {
  return Uint32Array.of(tokenIds.length, nextToken(tokenIds));
}

class RankModel {
  readonly slots = new Map<number, RankSequence>();
  readonly pictures = new Map<number, { tileSlots: readonly number[]; encoded: Set<number> }>();
  /** What stands at each position of a block: a token, and what of a picture where it is one's. */
  readonly blocks = new Map<number, string[]>();
  readonly #config: SchedulerConfig;
  readonly #next: (tokenIds: readonly number[]) => number;
  /** What stands in a sequence's prompt, whether its pixels came or not. */
  readonly picturesOf: (sequenceId: string) => readonly SequencePicture[];
  readonly #isMasked: (sequenceId: string) => boolean;

  constructor(
    config: SchedulerConfig,
    picturesOf: (sequenceId: string) => readonly SequencePicture[],
    isMasked: (sequenceId: string) => boolean,
    next: (tokenIds: readonly number[]) => number = nextToken,
  ) {
    this.#config = config;
    this.picturesOf = picturesOf;
    this.#isMasked = isMasked;
    this.#next = next;
  }

  putPixels(pictureId: number, tileSlots: readonly number[]): void {
    for (const other of this.pictures.values()) {
      for (const slot of tileSlots) assert.ok(!other.tileSlots.includes(slot), `tile slot ${slot} is in use`);
    }
    this.pictures.set(pictureId, { tileSlots, encoded: new Set() });
  }

  /** Tokens by slot. */
  run(plan: StepPlan): { slots: number[]; tokenIds: number[]; tokenOffsets: number[] } {
    for (const slot of plan.releasedSlots)
      assert.ok(this.slots.delete(slot), `slot ${slot} is released, but empty`);
    for (const id of plan.releasedPictures)
      assert.ok(this.pictures.delete(id), `picture ${id} is released, but unknown`);
    this.#addSequences(plan);
    for (const item of plan.encodeItems) {
      const picture = this.pictures.get(item.pictureId);
      assert.ok(picture, `picture ${item.pictureId} is encoded, but unknown`);
      assert.ok(item.tileStart < item.tileEnd && item.tileEnd <= picture.tileSlots.length);
      for (let tile = item.tileStart; tile < item.tileEnd; tile += 1) {
        assert.ok(!picture.encoded.has(tile), `tile ${tile} is encoded once`);
        picture.encoded.add(tile);
      }
    }
    const numRows = plan.scheduledTokens.reduce((sum, count) => sum + count, 0);
    assert.ok(numRows <= this.#config.maxStepTokens, 'rows stay within the budget');
    this.#checkGraphBucket(plan);
    const numTiles = plan.encodeItems.reduce((sum, item) => sum + item.tileEnd - item.tileStart, 0);
    assert.ok(numTiles <= this.#config.maxTilesPerStep, 'tiles stay within the budget');
    const slots: number[] = [];
    const tokenIds: number[] = [];
    plan.scheduledSlots.forEach((slot, index) => {
      const before = [...(this.slots.get(slot)?.tokenIds ?? [])];
      const token = this.#compute(slot, plan.scheduledTokens[index]!);
      this.#checkMask(plan, slot, token === null ? null : before);
      if (token === null) return;
      slots.push(slot);
      tokenIds.push(token);
    });
    return { slots, tokenIds, tokenOffsets: [0, ...tokenIds.map((_, index) => index + 1)] };
  }

  /** Rows to be computed have their tiles; those before were in the blocks that the sequence was given. */
  #checkPictures({ pictures, numComputed }: RankSequence, end: number): void {
    const { tokensPerTile } = this.#config;
    for (const { pictureId, firstPosition } of pictures) {
      const picture = this.pictures.get(pictureId);
      const numTiles = picture?.tileSlots.length ?? 0;
      for (let tile = 0; tile < numTiles; tile += 1) {
        const first = firstPosition + tile * tokensPerTile;
        const isComputed = first < end && first + tokensPerTile > numComputed;
        assert.ok(!isComputed || picture!.encoded.has(tile), 'rows of a picture have their tiles');
      }
    }
  }

  #write(sequence: RankSequence, end: number): void {
    for (let position = sequence.numComputed; position < end; position += 1) {
      const [block, offset] = this.#place(sequence, position);
      block[offset] = this.#contentAt(sequence, position);
    }
  }

  #place({ blocks }: RankSequence, position: number): [string[], number] {
    const { blockSize } = this.#config;
    const id = blocks[Math.floor(position / blockSize)]!;
    const block = this.blocks.get(id) ?? [];
    this.blocks.set(id, block);
    return [block, position % blockSize];
  }

  /** Keys and values depend on all that stands before: so does this. */
  #contentAt({ sequenceId, tokenIds }: RankSequence, position: number): string {
    const pictures = this.picturesOf(sequenceId).filter(({ firstPosition }) => firstPosition <= position);
    const names = pictures.map(({ firstPosition, contentHash }) => `${contentHash}@${firstPosition}`);
    return [...tokenIds.slice(0, position + 1), ...names].join(' ');
  }

  /** A step of one token a sequence, and no other, runs in the smallest bucket that it fits. */
  #checkGraphBucket({ graphBucket, encodeItems, scheduledTokens }: StepPlan): void {
    const isDecode =
      scheduledTokens.length > 0 && scheduledTokens.every((count) => count === 1) && encodeItems.length === 0;
    const fitting = this.#config.graphBuckets.filter((bucket) => bucket >= scheduledTokens.length);
    assert.equal(graphBucket, isDecode && fitting.length > 0 ? Math.min(...fitting) : 0);
  }

  /** A token of a masked sequence comes with the mask that follows all tokens before it; nothing else has one. */
  #checkMask({ masks }: StepPlan, slot: number, before: readonly number[] | null): void {
    const given = masks.filter((each) => each.slot === slot).map(({ mask }) => [...mask]);
    const isMasked = before !== null && this.#isMasked(this.slots.get(slot)!.sequenceId);
    assert.deepEqual(given, isMasked ? [[...maskAfter(before)]] : [], `the mask of slot ${slot}`);
  }

  #addSequences(plan: StepPlan): void {
    for (const sequence of plan.newSequences) {
      assert.ok(!this.slots.has(sequence.slot), `slot ${sequence.slot} is taken`);
      for (const { pictureId } of sequence.pictures)
        assert.ok(this.pictures.has(pictureId), 'pictures are resident');
      this.slots.set(sequence.slot, {
        sequenceId: sequence.sequenceId,
        tokenIds: [...sequence.tokenIds],
        blocks: [],
        pictures: sequence.pictures,
        numComputed: sequence.numComputedTokens,
      });
    }
    for (let index = 0; index < plan.newBlocks.length; index += 2) {
      const sequence = this.slots.get(plan.newBlocks[index]!);
      assert.ok(sequence, 'a new block belongs to a known slot');
      const block = plan.newBlocks[index + 1]!;
      const isPrefix = (sequence.blocks.length + 1) * this.#config.blockSize <= sequence.numComputed;
      for (const other of this.slots.values())
        assert.ok(isPrefix || !other.blocks.includes(block), `block ${block} is in use`);
      sequence.blocks.push(block);
    }
  }

  #compute(slot: number, numTokens: number): number | null {
    const sequence = this.slots.get(slot);
    assert.ok(sequence, `slot ${slot} runs, but is empty`);
    const end = sequence.numComputed + numTokens;
    assert.ok(numTokens > 0 && end <= sequence.tokenIds.length, `slot ${slot} computes known tokens`);
    assert.ok(end <= sequence.blocks.length * this.#config.blockSize, `slot ${slot} has blocks`);
    this.#checkPictures(sequence, end);
    this.#write(sequence, end);
    sequence.numComputed = end;
    if (end < sequence.tokenIds.length) return null;
    for (let position = 0; position < end; position += 1) {
      const [block, offset] = this.#place(sequence, position);
      assert.equal(
        block[offset],
        this.#contentAt(sequence, position),
        `position ${position} is in its block`,
      );
    }
    const token = this.#next(sequence.tokenIds);
    sequence.tokenIds.push(token);
    return token;
  }
}

export interface DriverSubmission {
  readonly sequenceId: string;
  readonly numPromptTokens: number;
  /** Its first tokens are those of all sequences of the same family. */
  readonly family?: string;
  readonly tokenIds?: readonly number[];
  readonly maxTokens: number | null;
  readonly stopTokenIds?: readonly number[];
  readonly minTokens?: number;
  readonly prefillsAlone?: boolean;
  readonly priority?: number;
  readonly client?: string;
  readonly arrivedMs?: number;
  readonly hasRun?: boolean;
  readonly isPaused?: boolean;
  readonly isMasked?: boolean;
  readonly pictures?: readonly SequencePicture[];
}

export class SchedulerDriver {
  readonly scheduler: Scheduler;
  readonly ranks: RankModel;
  readonly inFlight: StepPlan[] = [];
  readonly outputs = new Map<string, number[]>();
  readonly finished = new Map<string, string>();
  readonly #prompts = new Map<string, Uint32Array>();
  readonly #pictures = new Map<string, readonly SequencePicture[]>();
  readonly #masked = new Set<string>();
  /** Whose next mask is still to come, in order. */
  readonly #maskless: string[] = [];
  readonly #paused = new Set<string>();
  readonly #owners = new Map<number, string>();
  readonly #uploads: { pictureId: number; tileSlots: readonly number[] }[] = [];

  constructor(config: SchedulerConfig, next?: (tokenIds: readonly number[]) => number) {
    this.scheduler = new Scheduler(config);
    this.ranks = new RankModel(
      config,
      (sequenceId) => this.#pictures.get(sequenceId) ?? [],
      (sequenceId) => this.#masked.has(sequenceId),
      next,
    );
  }

  submit(submission: DriverSubmission): void {
    const tokenIds = Uint32Array.from(submission.tokenIds ?? promptOf(submission));
    this.scheduler.submit({
      sequenceId: submission.sequenceId,
      tokenIds,
      numPromptTokens: submission.numPromptTokens,
      maxTokens: submission.maxTokens,
      prefillsAlone: submission.prefillsAlone ?? false,
      priority: submission.priority ?? 0,
      client: submission.client ?? '',
      arrivedMs: submission.arrivedMs ?? 0,
      hasRun: submission.hasRun ?? false,
      isPaused: submission.isPaused ?? false,
      isMasked: submission.isMasked ?? false,
      sampling: {
        ...GREEDY,
        stopTokenIds: submission.stopTokenIds ?? [],
        minTokens: submission.minTokens ?? 0,
      },
      pictures: submission.pictures ?? [],
    });
    this.#prompts.set(submission.sequenceId, tokenIds);
    this.#pictures.set(submission.sequenceId, submission.pictures ?? []);
    this.outputs.set(submission.sequenceId, []);
    if (submission.isPaused === true) this.#paused.add(submission.sequenceId);
    if (submission.isMasked === true) {
      this.#masked.add(submission.sequenceId);
      this.#maskless.push(submission.sequenceId);
    }
    this.scheduler.checkInvariants();
  }

  promptOf(sequenceId: string): Uint32Array {
    return this.#prompts.get(sequenceId)!;
  }

  cancel(sequenceId: string): void {
    this.scheduler.cancel(sequenceId);
    if (!this.finished.has(sequenceId)) this.finished.set(sequenceId, 'cancelled');
    this.scheduler.checkInvariants();
  }

  pause(sequenceId: string): void {
    this.scheduler.pause(sequenceId);
    this.#paused.add(sequenceId);
    this.scheduler.checkInvariants();
  }

  unpause(sequenceId: string): void {
    this.scheduler.unpause(sequenceId);
    this.#paused.delete(sequenceId);
    this.scheduler.checkInvariants();
  }

  isPaused(sequenceId: string): boolean {
    return this.#paused.has(sequenceId);
  }

  schedule(limits?: PlanLimits): StepPlan | null {
    const plan = this.scheduler.schedule(limits);
    for (const { slot, sequenceId } of plan?.newSequences ?? []) this.#owners.set(slot, sequenceId);
    for (const slot of plan?.scheduledSlots ?? [])
      assert.ok(!this.#paused.has(this.#owners.get(slot)!), `slot ${slot} is paused, and planned`);
    this.#uploads.push(...this.scheduler.takeUploads());
    if (plan !== null) this.inFlight.push(plan);
    this.scheduler.checkInvariants();
    return plan;
  }

  get numUploads(): number {
    return this.#uploads.length;
  }

  /** The pixels of the picture that has waited longest reach all ranks. */
  upload(): number | null {
    const upload = this.#uploads.shift();
    if (upload === undefined) return null;
    this.ranks.putPixels(upload.pictureId, upload.tileSlots);
    this.scheduler.pictureUploaded(upload.pictureId);
    this.scheduler.checkInvariants();
    return upload.pictureId;
  }

  /** The mask that has been owed longest is there. */
  giveMask(): boolean {
    const sequenceId = this.#maskless.shift();
    if (sequenceId === undefined) return false;
    const tokenIds = [...this.promptOf(sequenceId), ...this.outputs.get(sequenceId)!];
    this.scheduler.setMask(sequenceId, maskAfter(tokenIds));
    this.scheduler.checkInvariants();
    return true;
  }

  /** The oldest plan in flight is computed and its result applied. */
  complete(): readonly (SequenceOutput & { readonly tokenId: number })[] {
    const plan = this.inFlight.shift();
    assert.ok(plan, 'a plan is in flight');
    const result = { step: plan.step, ...this.ranks.run(plan) };
    const outputs = this.scheduler.applyStepResult(result);
    this.scheduler.checkInvariants();
    return outputs.map((output) => {
      const tokenId = result.tokenIds[output.tokenStart]!;
      assert.ok(!this.finished.has(output.sequenceId), 'nothing comes out after the end');
      this.outputs.get(output.sequenceId)!.push(tokenId);
      if (output.finishReason !== null) this.finished.set(output.sequenceId, output.finishReason);
      else if (this.#masked.has(output.sequenceId)) this.#maskless.push(output.sequenceId);
      return { ...output, tokenId };
    });
  }

  /** Until nothing can happen any more. Throws when that takes longer than `maxSteps`. */
  drain(maxSteps = 10_000): void {
    for (let round = 0; round < maxSteps; round += 1) {
      const hasScheduled = this.schedule() !== null;
      const hasUploaded = this.upload() !== null;
      const hasMasked = this.giveMask();
      if (this.inFlight.length > 0) this.complete();
      else if (!hasScheduled && !hasUploaded && !hasMasked) return;
    }
    assert.fail(`still busy after ${maxSteps} rounds: ${JSON.stringify(this.scheduler.stats)}`);
  }
}

function promptOf({ family, sequenceId, numPromptTokens }: DriverSubmission): number[] {
  const seed = [...(family ?? sequenceId)].reduce((sum, char) => sum + char.charCodeAt(0), 0);
  return Array.from({ length: numPromptTokens }, (_, index) => (seed + index * 7) % 90);
}
