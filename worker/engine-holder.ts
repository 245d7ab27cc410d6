// Owns the process's one engine. The number of threads and the deterministic mode are fixed when an engine is made, and
// arrive with the load request: where they differ, the engine is made anew before anything is loaded into it.
import { AppError } from '../common/errors.js';
import type { CreateEngine, EngineLike } from './native/engine-like.js';
import type { NativeStepResult } from '../common/native/native.js';

type StepListener = (error: Error | null, result: NativeStepResult | null) => void;

export class EngineHolder {
  readonly #create: CreateEngine;
  readonly #device: string;
  #numThreads: number;
  #isDeterministic = true;
  #engine: EngineLike;
  #listener: StepListener | null = null;
  #isClosed = false;

  constructor(create: CreateEngine, options: { readonly device: string; readonly numThreads: number }) {
    this.#create = create;
    this.#device = options.device;
    this.#numThreads = options.numThreads;
    this.#engine = this.#make();
  }

  get engine(): EngineLike {
    if (this.#isClosed) throw new AppError('ENGINE_CLOSED', 'the worker is shutting down');
    return this.#engine;
  }

  onStep(listener: StepListener): void {
    this.#listener = listener;
    this.#engine.onStep(listener);
  }

  /** numThreads 0: as it is. */
  async configure(options: { readonly numThreads: number; readonly deterministic: boolean }): Promise<void> {
    const numThreads = options.numThreads === 0 ? this.#numThreads : options.numThreads;
    if (numThreads === this.#numThreads && options.deterministic === this.#isDeterministic) return;
    this.#numThreads = numThreads;
    this.#isDeterministic = options.deterministic;
    await this.engine.close();
    this.#engine = this.#make();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#engine.abort(0);
    await this.#engine.close();
  }

  #make(): EngineLike {
    const engine = this.#create({
      device: this.#device,
      numThreads: this.#numThreads,
      deterministic: this.#isDeterministic,
    });
    if (this.#listener !== null) engine.onStep(this.#listener);
    return engine;
  }
}
