// Owns the process's one engine. The number of threads and the deterministic mode are fixed when an engine is made, and
// arrive with the load request: where they differ, the engine is made anew before anything is loaded into it.
import { AppError } from '../common/errors.js';
import type { CreateEngine, EngineLike } from './native/engine-like.js';
import type { NativeProgress, NativeStepResult } from '../common/native/native.js';

interface Settings {
  readonly numThreads: number;
  readonly deterministic: boolean;
}

type StepListener = (error: Error | null, result: NativeStepResult | null) => void;

export class EngineHolder {
  readonly #create: CreateEngine;
  readonly #device: string;
  #settings: Settings;
  #engine: EngineLike;
  /** How far the engine had come when it was closed for another; null: it is open. */
  #lastProgress: NativeProgress | null = null;
  #listener: StepListener | null = null;
  #isClosed = false;

  constructor(create: CreateEngine, options: { readonly device: string; readonly numThreads: number }) {
    this.#create = create;
    this.#device = options.device;
    this.#settings = { numThreads: options.numThreads, deterministic: true };
    this.#engine = this.#make(this.#settings);
  }

  get engine(): EngineLike {
    if (this.#isClosed) throw closed();
    return this.#engine;
  }

  onStep(listener: StepListener): void {
    this.#listener = listener;
    this.#engine.onStep(listener);
  }

  /** Also while one engine takes the place of another: the coordinator is shown all the time that this rank lives. */
  get progress(): NativeProgress {
    return this.#lastProgress ?? this.engine.progress();
  }

  /** numThreads 0: as it is. */
  async configure({ deterministic, ...options }: Settings): Promise<void> {
    const numThreads = options.numThreads === 0 ? this.#settings.numThreads : options.numThreads;
    const isSame = numThreads === this.#settings.numThreads && deterministic === this.#settings.deterministic;
    if (isSame && this.#lastProgress === null) return;
    this.#lastProgress ??= { ...this.engine.progress(), phase: 'load' };
    await this.engine.close();
    if (this.#isClosed) throw closed();
    const settings = { numThreads, deterministic };
    // Where it cannot be made, the next load tries again.
    this.#engine = this.#make(settings);
    this.#settings = settings;
    this.#lastProgress = null;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#lastProgress === null) this.#engine.abort(0);
    await this.#engine.close();
  }

  #make({ numThreads, deterministic }: Settings): EngineLike {
    const engine = this.#create({ device: this.#device, numThreads, deterministic });
    if (this.#listener !== null) engine.onStep(this.#listener);
    return engine;
  }
}

function closed(): AppError {
  return new AppError('ENGINE_CLOSED', 'the worker is shutting down');
}
