// What the worker needs of an engine: the addon's NativeEngine, or a fake one in tests. Only types.
import type { NativeEngine } from '../../common/native/native.js';

export type EngineLike = NativeEngine;

export interface EngineOptions {
  /** "cpu" or "cuda:N". */
  readonly device: string;
  /** 0: as many threads as the process may use. */
  readonly numThreads: number;
  readonly deterministic: boolean;
}

export type CreateEngine = (options: EngineOptions) => EngineLike;
