// A NativeEngine without weights: the next token is a function of the ids so far, so that whatever the coordinator does
// (chunks, preemption, run-ahead) the same prompt gives the same answer. It checks plans as a real engine does, and can
// be slow, fail, disagree or stand still.
import { AppError } from '../../common/errors.js';
import type {
  NativeDescription,
  NativeEngine,
  NativeGroupOptions,
  NativeLoadPlan,
  NativeLoadResult,
  NativeMemoryUse,
  NativeProgress,
  NativeSamplingParams,
  NativeStepPlan,
  NativeStepResult,
} from '../../common/native/native.js';
import { FAKE_FIRST_TOKEN, fakeNextToken, nextAllowed, sumOf, toResult } from './fake-model.js';

export interface FakeEngineOptions {
  readonly stepMs: number;
  readonly loadMs: number;
  /** Step that fails with DEVICE_ERROR; 0: none. */
  readonly failAtStep: number;
  /** What it fails with. */
  readonly failCode: 'DEVICE_ERROR' | 'INTERNAL';
  /** Its device does not let it end. */
  readonly hangsAtClose: boolean;
  /** Step whose hash differs from the other ranks'; 0: none. */
  readonly disagreeAtStep: number;
  /** Step at which the process kills itself; 0: none. */
  readonly dieAtStep: number;
  /** A file that its first process makes: later ones end at once. Empty: none. */
  readonly startsOnce: string;
  /** Token whose prefill kills the process; 0: none. */
  readonly dieOfToken: number;
  /** Step that never ends, until it is aborted; 0: none. */
  readonly hangAtStep: number;
  /** Step at which the engine stands still without taking processor time, as in a deadlock; 0: none. */
  readonly stallAtStep: number;
  /** Step that computes for `slowMs`; 0: none. */
  readonly slowAtStep: number;
  readonly slowMs: number;
  readonly failLoad: boolean;
  readonly instructionClass: string;
  readonly kvBytesPerBlock: number;
  readonly availableBytes: number;
  readonly memoryTotalBytes: number;
  /** The first of the 26 tokens that answers are made of. */
  readonly firstToken: number;
  /** What every prompt is answered with instead, and behind it the last of it again; empty: letters. */
  readonly answer: readonly number[];
}

const FAKE_DEFAULTS: FakeEngineOptions = {
  stepMs: 0,
  loadMs: 0,
  failAtStep: 0,
  failCode: 'DEVICE_ERROR',
  hangsAtClose: false,
  disagreeAtStep: 0,
  hangAtStep: 0,
  dieAtStep: 0,
  dieOfToken: 0,
  stallAtStep: 0,
  slowAtStep: 0,
  slowMs: 0,
  startsOnce: '',
  failLoad: false,
  instructionClass: 'fake',
  kvBytesPerBlock: 4096,
  availableBytes: 64 * 1024 * 1024,
  memoryTotalBytes: 2 ** 34,
  firstToken: FAKE_FIRST_TOKEN,
  answer: [],
};

interface FakeSequence {
  readonly tokenIds: number[];
  readonly numPromptTokens: number;
  readonly sampling: NativeSamplingParams;
  /** By first position: what the picture's bytes come to. */
  readonly pictures: Map<number, number>;
  readonly blocks: number[];
  numComputed: number;
}

export class FakeEngine implements NativeEngine {
  readonly #options: FakeEngineOptions;
  readonly #device: string;
  #plan: NativeLoadPlan | null = null;
  #listener: ((error: Error | null, result: NativeStepResult | null) => void) | null = null;
  #epoch = 0;
  #worldSize = 1;
  #numKvBlocks = 0;
  readonly #queue: NativeStepPlan[] = [];
  #timer: NodeJS.Timeout | null = null;
  #isClosed = false;
  #lastStep = 0;
  #collectives = 0;
  #movedAtMs = performance.now();
  #computedMs = 0;
  #isStalled = false;
  readonly #sequences = new Map<number, FakeSequence>();
  readonly #pictures = new Map<number, number>();
  /** What the keys and values of a block know of pictures: those up to its end, as a sequence has them. */
  readonly #blockPictures = new Map<number, ReadonlyMap<number, number>>();

  constructor(device: string, options: Partial<FakeEngineOptions> = {}) {
    this.#options = { ...FAKE_DEFAULTS, ...options };
    this.#device = device;
  }

  describe(): NativeDescription {
    return {
      device: this.#device,
      deviceName: 'fake',
      instructionClass: this.#options.instructionClass,
      memoryTotalBytes: this.#options.memoryTotalBytes,
      memoryFreeBytes: 2 ** 29,
      backends: ['cpu'],
      collectives: ['none', 'shared-memory', 'gloo'],
    };
  }

  async load(
    plan: NativeLoadPlan,
    onProgress: (loaded: number, total: number) => void,
  ): Promise<NativeLoadResult> {
    const total = 1000;
    for (let loaded = 0; loaded <= total; loaded += 250) {
      onProgress(loaded, total);
      if (this.#options.loadMs > 0)
        await new Promise((resolve) => setTimeout(resolve, this.#options.loadMs / 4));
    }
    if (this.#options.failLoad)
      throw new AppError('CORRUPT_WEIGHTS', 'model.safetensors: tensor x is truncated');
    this.#plan = plan;
    return {
      weightBytes: total,
      readBytes: total,
      peakResidentBytes: 0,
      activationBytes: 0,
      kvBytesPerBlock: this.#options.kvBytesPerBlock,
      availableBytes: this.#options.availableBytes,
      workspaceBytes: 0,
      reserveBytes: 0,
      ...{ loadMs: this.#options.loadMs, tensorChecksums: new BigUint64Array() },
      times: { openMs: 0, readMs: 0, transferMs: 0, prepareMs: 0, checksumMs: 0 },
    };
  }

  prepareGroup(options: NativeGroupOptions): Promise<Uint8Array> {
    this.#epoch = options.groupEpoch;
    this.#worldSize = options.worldSize;
    return Promise.resolve(Buffer.from(`rank-${options.rank}`));
  }

  joinGroup(_epoch: number, addresses: Uint8Array[], numKvBlocks: number): Promise<number> {
    addresses.forEach((address, rank) => {
      if (Buffer.from(address).toString() !== `rank-${rank}`)
        throw new AppError('COLLECTIVE_ERROR', 'wrong address');
    });
    this.#numKvBlocks = numKvBlocks;
    return Promise.resolve(numKvBlocks * this.#options.kvBytesPerBlock);
  }

  putPixels(_epoch: number, pictureId: number, tileSlots: Uint32Array, pixels: Uint8Array): Promise<void> {
    if (this.#pictures.has(pictureId))
      throw new AppError('INVALID_REQUEST', `picture ${pictureId} is resident`);
    let sum = tileSlots.length;
    for (const byte of pixels) sum = (sum * 31 + byte) >>> 0;
    this.#pictures.set(pictureId, sum);
    return Promise.resolve();
  }

  memoryUse(): Promise<NativeMemoryUse> {
    return Promise.resolve({
      weightBytes: 1000,
      activationBytes: 0,
      kvBytes: this.#numKvBlocks * this.#options.kvBytesPerBlock,
      graphBytes: 0,
      workspaceBytes: 0,
      otherBytes: 0,
      freeBytes: this.#options.availableBytes,
      totalBytes: this.#options.memoryTotalBytes,
    });
  }

  inspect(): Promise<Float32Array> {
    return Promise.reject(new AppError('INVALID_REQUEST', 'the fake engine has no hidden states'));
  }

  onStep(listener: (error: Error | null, result: NativeStepResult | null) => void): void {
    this.#listener = listener;
  }

  submitStep(plan: NativeStepPlan): boolean {
    if (this.#queue.length >= 2) return false;
    this.#queue.push(plan);
    this.#next();
    return true;
  }

  abort(): void {
    this.#queue.length = 0;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  endEpoch(): Promise<void> {
    this.abort();
    this.#sequences.clear();
    this.#pictures.clear();
    this.#blockPictures.clear();
    this.#lastStep = 0;
    this.#collectives = 0;
    return Promise.resolve();
  }

  progress(): NativeProgress {
    return {
      groupEpoch: this.#epoch,
      lastStep: this.#lastStep,
      collectives: this.#collectives,
      deviceCalls: 0,
      collective: '',
      idleMs: this.#progressIdleMs(),
      phase: this.#queue.length === 0 ? 'idle' : 'decoder',
      inCollective: false,
      cpuMs: this.#cpuMs(),
    };
  }

  /** A step that hangs (`hangAtStep`) moves all the time: it is the step's deadline that ends it. */
  #progressIdleMs(): number {
    return this.#queue[0]?.step === this.#options.hangAtStep ? 0 : performance.now() - this.#movedAtMs;
  }

  #cpuMs(): number {
    const isComputing = this.#queue.length > 0 && !this.#isStalled;
    return this.#computedMs + (isComputing ? performance.now() - this.#movedAtMs : 0);
  }

  close(): Promise<void> {
    this.abort();
    this.#isClosed = true;
    return this.#options.hangsAtClose ? new Promise(() => undefined) : Promise.resolve();
  }

  #next(): void {
    const plan = this.#queue[0];
    if (this.#timer !== null || plan === undefined || plan.step === this.#options.hangAtStep) return;
    this.#movedAtMs = performance.now();
    this.#isStalled = plan.step === this.#options.stallAtStep;
    if (this.#isStalled) return;
    const { stepMs, slowAtStep, slowMs } = this.#options;
    this.#timer = setTimeout(
      () => {
        this.#timer = null;
        this.#queue.shift();
        this.#computedMs += performance.now() - this.#movedAtMs;
        this.#movedAtMs = performance.now();
        this.#collectives += 1;
        try {
          const result = this.#run(plan);
          this.#lastStep = plan.step;
          if (!this.#isClosed) this.#listener?.(null, result);
        } catch (error) {
          this.#queue.length = 0;
          this.#listener?.(error as Error, null);
          return;
        }
        this.#next();
      },
      stepMs + (plan.step === slowAtStep ? slowMs : 0),
    );
  }

  #run(plan: NativeStepPlan): NativeStepResult {
    const { failAtStep, failCode, dieAtStep, dieOfToken } = this.#options;
    const isDeadly = plan.newSequences.some(({ tokenIds }) => tokenIds.includes(dieOfToken));
    if (plan.step === dieAtStep || (dieOfToken !== 0 && isDeadly)) process.kill(process.pid, 'SIGKILL');
    if (plan.step === failAtStep) throw new AppError(failCode, 'the fake device failed');
    for (const slot of plan.releasedSlots) check(this.#sequences.delete(slot), `slot ${slot} is empty`);
    for (const id of plan.releasedPictures) check(this.#pictures.delete(id), `picture ${id} is unknown`);
    this.#admit(plan);
    for (const item of plan.encodeItems)
      check(this.#pictures.has(item.pictureId), `picture ${item.pictureId} is unknown`);
    const sampled: { slot: number; id: number; sampling: NativeSamplingParams }[] = [];
    this.#checkGraphBucket(plan);
    const masks = this.#masksOf(plan);
    plan.scheduledSlots.forEach((slot, index) => {
      const id = this.#compute(slot, plan.scheduledTokens[index]!, masks.get(slot));
      if (id !== null) sampled.push({ slot, id, sampling: this.#sequences.get(slot)!.sampling });
    });
    return toResult(plan, sampled, plan.step === this.#options.disagreeAtStep);
  }

  /** A step of one token a sequence, and no other, runs in the smallest of the announced buckets that it fits. */
  #checkGraphBucket({ graphBucket, scheduledTokens, encodeItems }: NativeStepPlan): void {
    const isDecode =
      scheduledTokens.length > 0 && scheduledTokens.every((count) => count === 1) && encodeItems.length === 0;
    const fitting = this.#plan!.graphBuckets.find((bucket) => bucket >= scheduledTokens.length);
    const expected = isDecode ? (fitting ?? 0) : 0;
    check(graphBucket === expected, `bucket ${graphBucket} instead of ${expected}`);
  }

  #admit(plan: NativeStepPlan): void {
    for (const sequence of plan.newSequences) {
      check(!this.#sequences.has(sequence.slot), `slot ${sequence.slot} is taken`);
      check(sequence.slot < this.#plan!.maxNumSequences, `slot ${sequence.slot} is out of range`);
      const pictures = new Map<number, number>();
      for (const { pictureId, firstPosition } of sequence.pictures) {
        check(this.#pictures.has(pictureId), `picture ${pictureId} is unknown`);
        pictures.set(firstPosition, this.#pictures.get(pictureId)!);
      }
      this.#sequences.set(sequence.slot, {
        tokenIds: [...sequence.tokenIds],
        numPromptTokens: sequence.numPromptTokens,
        sampling: sequence.sampling,
        pictures,
        blocks: [],
        numComputed: sequence.numComputedTokens,
      });
    }
    for (let index = 0; index < plan.newBlocks.length; index += 2) {
      check(plan.newBlocks[index + 1]! < this.#numKvBlocks, 'block out of range');
      const sequence = this.#sequences.get(plan.newBlocks[index]!);
      check(sequence !== undefined, 'block of an empty slot');
      sequence!.blocks.push(plan.newBlocks[index + 1]!);
    }
  }

  /** By slot. Of one rank only: others would have to tell each other what their rows allow. */
  #masksOf({ maskedSlots, masks }: NativeStepPlan): ReadonlyMap<number, Uint32Array> {
    const length = masks.length / Math.max(1, maskedSlots.length);
    check(Number.isInteger(length), 'masks of several lengths');
    check(maskedSlots.length === 0 || this.#worldSize === 1, 'the fake engine takes masks on one rank');
    return new Map(
      Array.from(maskedSlots, (slot, index) => [slot, masks.subarray(index * length, (index + 1) * length)]),
    );
  }

  #compute(slot: number, numTokens: number, mask: Uint32Array | undefined): number | null {
    const sequence = this.#sequences.get(slot);
    if (sequence === undefined) throw new AppError('INVALID_REQUEST', `slot ${slot} is empty`);
    const { blocks, pictures, numComputed: start } = sequence;
    const end = start + numTokens;
    const { blockSize } = this.#plan!;
    check(end <= sequence.tokenIds.length && end <= blocks.length * blockSize, 'rows out of range');
    // Pictures whose rows are all there are not sent again: the block before the first row to compute knows them.
    const known =
      start === 0 ? [] : (this.#blockPictures.get(blocks[Math.ceil(start / blockSize) - 1]!) ?? []);
    for (const [position, sum] of known)
      if (position < start && !pictures.has(position)) pictures.set(position, sum);
    for (let index = Math.floor(start / blockSize); index * blockSize < end; index += 1)
      this.#blockPictures.set(blocks[index]!, pictures);
    sequence.numComputed = end;
    if (end < sequence.tokenIds.length) return null;
    const { tokenIds, numPromptTokens } = sequence;
    const { answer, firstToken } = this.#options;
    const wanted =
      answer.length > 0
        ? answer[Math.min(tokenIds.length - numPromptTokens, answer.length - 1)]!
        : fakeNextToken(tokenIds, numPromptTokens, sumOf(pictures), firstToken);
    const id = mask === undefined ? wanted : nextAllowed(mask, wanted);
    sequence.tokenIds.push(id);
    return id;
  }
}

function check(condition: boolean, message: string): void {
  if (!condition) throw new AppError('INVALID_REQUEST', message);
}
