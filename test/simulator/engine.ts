// A simulated engine: one job after another as on the engine's thread, steps that wait for every other rank, keys and
// values in blocks that anybody may overwrite. It has no rules of its own beyond those: what is wrong shows in the
// tokens.
import { assert } from '../../common/assert.js';
import { AppError } from '../../common/errors.js';
import type {
  NativeDescription,
  NativeEngine,
  NativeGroupOptions,
  NativeLoadPlan,
  NativeLoadResult,
  NativeMemoryUse,
  NativeNewSequence,
  NativeProgress,
  NativeStepPlan,
  NativeStepResult,
} from '../../common/native/native.js';
import { EngineProgress } from './engine-progress.js';
import { nextAllowed } from '../support/fake-model.js';
import type { Fabric } from './fabric.js';
import { maskPartOf, wholeMasks } from './masks.js';
import { attend, DEADLY_TOKEN, keyValue, nextToken, tileValue } from './model.js';
import type { SimulatedProcess } from './process.js';
import type { Random } from './random.js';
import type { Picture, Sequence } from './rank-state.js';
import { StepTimer, toResult } from './step-result.js';

export const KV_BYTES_PER_BLOCK = 64;

/** Of the end of an epoch, which no abort stops. */
const NO_EPOCH = -1;
const NOT_YET_WRITTEN = 0xbad;

interface Job {
  /** 0: a load. */
  readonly groupEpoch: number;
  readonly start: (done: () => void) => void;
  readonly fail: (error: AppError) => void;
}

export interface SimulatedEngineOptions {
  readonly process: SimulatedProcess;
  readonly fabric: Fabric;
  readonly random: Random;
  readonly numBlocks: number;
  readonly maxStepMs: number;
  readonly maxLoadMs: number;
  /** Its process ends. */
  readonly die: () => void;
  /** A group is prepared, or a step submitted, in an epoch. */
  readonly onDriven?: (groupEpoch: number) => void;
}

export class SimulatedEngine implements NativeEngine {
  readonly #options: SimulatedEngineOptions;
  #plan: NativeLoadPlan | null = null;
  #group: NativeGroupOptions | null = null;
  #listener: ((error: Error | null, result: NativeStepResult | null) => void) | null = null;
  readonly #jobs: Job[] = [];
  #running: Job | null = null;
  readonly #sequences = new Map<number, Sequence>();
  readonly #pictures = new Map<number, Picture>();
  readonly #tiles = new Map<number, number>();
  readonly #keyValues = new Map<number, Uint32Array>();
  /** Blocks that the present step writes, and for which slot: what another slot reads there is not what it will be. */
  readonly #written = new Map<number, number>();
  #lastStep = 0;
  #timer = new StepTimer();
  readonly #progress: EngineProgress;
  /** Its thread stands still, and no abort wakes it. */
  isStalled = false;
  /** Computing of the next step, beyond what a step takes. */
  slowsNextStepMs = 0;
  /** How often weights were read, and how often to their end. */
  numReads = 0;
  numWholeReads = 0;
  failsNextStep = false;

  constructor(options: SimulatedEngineOptions) {
    this.#options = options;
    this.#progress = new EngineProgress(options.process.queue);
  }

  describe(): NativeDescription {
    return {
      ...{ device: 'cpu', deviceName: 'simulated', instructionClass: 'simulated' },
      ...{ memoryTotalBytes: 2 ** 30, memoryFreeBytes: 2 ** 30, backends: [], collectives: [] },
    };
  }

  load(plan: NativeLoadPlan, onProgress: (loaded: number, total: number) => void): Promise<NativeLoadResult> {
    return this.#job<NativeLoadResult>(0, (resolve, _reject, isOver) => {
      const isResident = this.#plan?.weightsHash === plan.weightsHash;
      if (!isResident) this.numReads += 1;
      const loadMs = isResident ? 0 : this.#options.random.integer(0, this.#options.maxLoadMs);
      const half = loadMs / 2;
      this.#later(half, () => onProgress(1, 2));
      this.#later(loadMs, () => {
        if (isOver()) return;
        this.#plan = plan;
        if (!isResident) this.numWholeReads += 1;
        // Ranks of one host share what there is.
        const availableBytes = this.#options.numBlocks * KV_BYTES_PER_BLOCK * plan.layout.worldSize;
        resolve({
          ...{ weightBytes: 1, readBytes: isResident ? 0 : 1, peakResidentBytes: 0, activationBytes: 0 },
          ...{ kvBytesPerBlock: KV_BYTES_PER_BLOCK, availableBytes, workspaceBytes: 0, reserveBytes: 0 },
          ...{ loadMs, tensorChecksums: new BigUint64Array() },
          times: { openMs: 0, readMs: 0, transferMs: 0, prepareMs: 0, checksumMs: 0 },
        });
      });
    });
  }

  prepareGroup(options: NativeGroupOptions): Promise<Uint8Array> {
    this.#options.onDriven?.(options.groupEpoch);
    return this.#job(options.groupEpoch, (resolve, reject) => {
      if (this.#plan === null) return reject(new AppError('NOT_READY', 'no weights are loaded'));
      this.#group = options;
      resolve(Buffer.from(`${options.groupEpoch}/${options.rank}`));
    });
  }

  joinGroup(
    groupEpoch: number,
    addresses: Uint8Array[],
    _blocks: number,
    timeoutMs: number,
  ): Promise<number> {
    return this.#job(groupEpoch, (resolve, reject) => {
      const { fabric, process } = this.#options;
      const { rank, worldSize } = this.#group!;
      const names = addresses.map((address) => Buffer.from(address).toString());
      for (const [index, name] of names.entries())
        if (name !== `${groupEpoch}/${index}`) return reject(new AppError('COLLECTIVE_ERROR', name));
      fabric.meet({ key: `${groupEpoch}/join`, rank, worldSize, process }, (error) => {
        if (error === null) resolve(1);
        else reject(error);
      });
      this.#later(timeoutMs, () => reject(new AppError('COLLECTIVE_ERROR', 'the others did not join')));
    });
  }

  putPixels(
    groupEpoch: number,
    pictureId: number,
    tileSlots: Uint32Array,
    pixels: Uint8Array,
  ): Promise<void> {
    // Copied before the call returns: the memory of the pixels is the next picture's then. A Buffer's slice is none.
    const size = pixels.length / tileSlots.length;
    const tiles = Array.from(tileSlots, (_, index) =>
      Uint8Array.from(pixels.subarray(index * size, (index + 1) * size)),
    );
    return this.#job(groupEpoch, (resolve, reject) => {
      if (this.#pictures.has(pictureId)) return reject(new AppError('INVALID_REQUEST', 'resident already'));
      this.#pictures.set(pictureId, { tileSlots, tiles });
      resolve();
    });
  }

  memoryUse(): Promise<NativeMemoryUse> {
    return Promise.resolve({
      ...{ weightBytes: 1, activationBytes: 0, kvBytes: 1, graphBytes: 0, workspaceBytes: 0 },
      ...{ otherBytes: 0, freeBytes: 0, totalBytes: 2 ** 30 },
    });
  }

  inspect(): Promise<Float32Array> {
    return Promise.reject(new AppError('INVALID_REQUEST', 'nothing to see'));
  }

  onStep(listener: (error: Error | null, result: NativeStepResult | null) => void): void {
    this.#listener = listener;
  }

  submitStep(plan: NativeStepPlan): boolean {
    const { fabric, random, maxStepMs, process } = this.#options;
    const { rank, worldSize } = this.#group!;
    this.#options.onDriven?.(plan.groupEpoch);
    void this.#job<NativeStepResult>(plan.groupEpoch, (resolve, reject, isOver) => {
      if (this.isStalled) return;
      const beganAtMs = process.queue.nowMs;
      const stepMs = random.real(0, maxStepMs) + this.slowsNextStepMs;
      this.slowsNextStepMs = 0;
      this.#progress.beginComputing();
      this.#later(stepMs, () => {
        this.#progress.endComputing();
        if (isOver()) return;
        this.#progress.enterCollective();
        const part = maskPartOf(this.#plan!, plan);
        const meeting = { key: `${plan.groupEpoch}/${plan.step}`, rank, worldSize, process, part };
        fabric.meet(meeting, (error, parts) => {
          // An abort has passed it.
          if (isOver()) return;
          this.#progress.leaveCollective();
          if (error !== null) return reject(error);
          if (this.failsNextStep) {
            this.failsNextStep = false;
            return reject(new AppError('DEVICE_ERROR', 'the simulated device failed'));
          }
          try {
            resolve(this.#compute(plan, beganAtMs, wholeMasks(parts)));
          } catch (cause) {
            reject(cause as AppError);
          }
        });
      });
    }).then(
      (result) => {
        this.#lastStep = plan.step;
        this.#listener?.(null, result);
      },
      (error: unknown) => this.#listener?.(error as Error, null),
    );
    return true;
  }

  abort(groupEpoch: number): void {
    const isMeant = (job: Job): boolean => job.groupEpoch === groupEpoch;
    const error = new AppError('ABORTED', `epoch ${groupEpoch} was aborted`);
    const dropped = this.#jobs.filter(isMeant);
    for (const job of dropped) this.#jobs.splice(this.#jobs.indexOf(job), 1);
    if (this.#running !== null && isMeant(this.#running) && !this.isStalled) this.#running.fail(error);
    for (const job of dropped) job.fail(error);
  }

  endEpoch(): Promise<void> {
    return this.#job(NO_EPOCH, (resolve) => {
      this.#sequences.clear();
      this.#pictures.clear();
      this.#tiles.clear();
      this.#keyValues.clear();
      this.#group = null;
      this.#lastStep = 0;
      this.#timer = new StepTimer();
      this.#progress.endEpoch();
      resolve();
    });
  }

  progress(): NativeProgress {
    return {
      groupEpoch: this.#group?.groupEpoch ?? 0,
      lastStep: this.#lastStep,
      collective: 'simulated',
      phase: this.#running === null ? 'idle' : 'decoder',
      ...this.#progress.counters,
    };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** What a slot, a picture or a job of an epoch still holds; empty when the epoch is over. */
  get leftovers(): string {
    return `${this.#sequences.size} sequences, ${this.#pictures.size} pictures, ${this.#jobs.length} jobs`;
  }

  get isClean(): boolean {
    return this.#sequences.size === 0 && this.#pictures.size === 0 && this.#jobs.length === 0;
  }

  #later(delayMs: number, callback: () => void): void {
    this.#options.process.run(delayMs, 'engine', callback);
  }

  #job<T>(
    groupEpoch: number,
    run: (resolve: (value: T) => void, reject: (error: AppError) => void, isOver: () => boolean) => void,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      let finish: () => void = () => undefined;
      let isOver = false;
      const end = (settle: () => void): void => {
        if (isOver) return;
        isOver = true;
        settle();
        finish();
      };
      const job: Job = {
        groupEpoch,
        start: (done) => {
          finish = done;
          run(
            (value) => end(() => resolve(value)),
            job.fail,
            () => isOver,
          );
        },
        fail: (error) => end(() => reject(error)),
      };
      this.#jobs.push(job);
      this.#next();
    });
  }

  #next(): void {
    const job = this.#jobs[0];
    if (this.#running !== null || job === undefined) return;
    this.#jobs.shift();
    this.#running = job;
    job.start(() => {
      if (this.#running !== job) return;
      this.#running = null;
      this.#later(0, () => this.#next());
    });
  }

  #compute(
    plan: NativeStepPlan,
    beganAtMs: number,
    masks: ReadonlyMap<number, Uint32Array>,
  ): NativeStepResult {
    for (const slot of plan.releasedSlots) assert(this.#sequences.delete(slot), `slot ${slot} is empty`);
    for (const id of plan.releasedPictures) assert(this.#pictures.delete(id), `picture ${id} is not there`);
    for (const request of plan.newSequences) {
      assert(!this.#sequences.has(request.slot), `slot ${request.slot} is taken`);
      const tokenIds = [...request.tokenIds];
      const numComputed = request.numComputedTokens;
      this.#sequences.set(request.slot, { tokenIds, request, blocks: [], numComputed });
    }
    for (let index = 0; index < plan.newBlocks.length; index += 2)
      this.#sequences.get(plan.newBlocks[index]!)!.blocks.push(plan.newBlocks[index + 1]!);
    for (const { pictureId, tileStart, tileEnd } of plan.encodeItems) {
      const { tileSlots, tiles } = this.#pictures.get(pictureId)!;
      for (let tile = tileStart; tile < tileEnd; tile += 1)
        this.#tiles.set(tileSlots[tile]!, tileValue(tiles[tile]!));
    }
    const sampled: [number, number][] = [];
    this.#written.clear();
    for (const [index, slot] of plan.scheduledSlots.entries()) {
      const { blocks, numComputed } = this.#sequences.get(slot)!;
      const { blockSize } = this.#plan!;
      const last = Math.floor((numComputed + plan.scheduledTokens[index]! - 1) / blockSize);
      for (let at = Math.floor(numComputed / blockSize); at <= last; at += 1)
        this.#written.set(blocks[at]!, slot);
    }
    for (const [index, slot] of plan.scheduledSlots.entries()) {
      const token = this.#run(this.#sequences.get(slot)!, plan.scheduledTokens[index]!, masks.get(slot));
      if (token !== null) sampled.push([slot, token]);
    }
    return toResult(plan, sampled, this.#timer.end(beganAtMs, this.#options.process.queue.nowMs));
  }

  #run(sequence: Sequence, numTokens: number, mask: Uint32Array | undefined): number | null {
    const { tokenIds, request } = sequence;
    const end = sequence.numComputed + numTokens;
    assert(end <= tokenIds.length, 'rows of tokens that are known');
    if (tokenIds.slice(sequence.numComputed, end).includes(DEADLY_TOKEN)) {
      this.#options.die();
      throw new AppError('DEVICE_ERROR', 'nobody hears it');
    }
    for (let position = sequence.numComputed; position < end; position += 1) {
      const before = position === 0 ? 0 : this.#keyValue(sequence, position - 1);
      this.#store(sequence, position, keyValue(before, tokenIds[position]!, this.#tileAt(request, position)));
    }
    sequence.numComputed = end;
    if (end < tokenIds.length) return null;
    let sum = 0;
    for (let position = 0; position < end; position += 1)
      sum = attend(sum, position, this.#keyValue(sequence, position));
    const wanted = nextToken(sum, request.sampling.seed, end);
    const token = mask === undefined ? wanted : nextAllowed(mask, wanted);
    tokenIds.push(token);
    return token;
  }

  #place({ blocks }: Sequence, position: number): [Uint32Array, number] {
    const { blockSize } = this.#plan!;
    const block = blocks[Math.floor(position / blockSize)];
    assert(block !== undefined, 'a block for every row');
    let values = this.#keyValues.get(block);
    if (values === undefined) this.#keyValues.set(block, (values = new Uint32Array(blockSize)));
    return [values, position % blockSize];
  }

  #keyValue(sequence: Sequence, position: number): number {
    const [values, index] = this.#place(sequence, position);
    const block = sequence.blocks[Math.floor(position / this.#plan!.blockSize)]!;
    if ((this.#written.get(block) ?? sequence.request.slot) !== sequence.request.slot) return NOT_YET_WRITTEN;
    return values[index]!;
  }

  #store(sequence: Sequence, position: number, value: number): void {
    const [values, index] = this.#place(sequence, position);
    values[index] = value;
  }

  #tileAt(request: NativeNewSequence, position: number): number {
    const { tokensPerTile } = this.#options.fabric;
    for (const { pictureId, firstPosition } of request.pictures) {
      const picture = this.#pictures.get(pictureId);
      const tile = Math.floor((position - firstPosition) / tokensPerTile);
      if (picture !== undefined && tile >= 0 && tile < picture.tileSlots.length)
        return this.#tiles.get(picture.tileSlots[tile]!) ?? 0;
    }
    return 0;
  }
}
