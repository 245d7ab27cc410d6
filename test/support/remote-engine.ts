// Engines in processes of their own, driven over IPC: what NCCL needs, and what kill -9 needs. The child runs
// remote-engine-child.ts.
import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { AppError, isErrorCode } from '../../common/errors.js';
import type { EngineLike, EngineOptions } from '../../worker/native/engine-like.js';
import type { NativeStepResult } from '../../common/native/native.js';

/** What a group needs of an engine; all of it can cross a process boundary. */
export type GroupEngine = Pick<
  EngineLike,
  | 'load'
  | 'prepareGroup'
  | 'joinGroup'
  | 'putPixels'
  | 'inspect'
  | 'onStep'
  | 'submitStep'
  | 'abort'
  | 'endEpoch'
  | 'close'
>;

export interface RemoteFailure {
  readonly code: string;
  readonly message: string;
}

export type RemoteRequest =
  | { readonly kind: 'create'; readonly id: number; readonly options: EngineOptions }
  | {
      readonly kind: 'call';
      readonly id: number;
      readonly method: string;
      readonly args: readonly unknown[];
    };

export type RemoteReply =
  | {
      readonly kind: 'result';
      readonly id: number;
      readonly failure: RemoteFailure | null;
      readonly value: unknown;
    }
  | {
      readonly kind: 'step';
      readonly failure: RemoteFailure | null;
      readonly result: NativeStepResult | null;
    };

const CHILD = fileURLToPath(new URL('./remote-engine-child.js', import.meta.url));

function toError({ code, message }: RemoteFailure): AppError {
  return new AppError(isErrorCode(code) ? code : 'INTERNAL', message);
}

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class RemoteEngine implements GroupEngine {
  readonly #child: ChildProcess;
  readonly #pending = new Map<number, Pending>();
  readonly #exited: Promise<void>;
  readonly #created: Promise<unknown>;
  #nextId = 0;
  #listener: Parameters<EngineLike['onStep']>[0] = () => {};

  constructor(options: EngineOptions, env: Readonly<Record<string, string>>) {
    this.#child = fork(CHILD, [], { env: { ...process.env, ...env }, serialization: 'advanced' });
    this.#exited = new Promise((resolve) => {
      this.#child.on('exit', (code, signal) => {
        const error = new AppError(
          'WORKER_LOST',
          `the engine's process ended (${signal ?? `code ${code ?? '?'}`})`,
        );
        for (const { reject } of this.#pending.values()) reject(error);
        this.#pending.clear();
        resolve();
      });
    });
    this.#child.on('message', (reply) => {
      this.#receive(reply as RemoteReply);
    });
    this.#created = this.#request((id) => ({ kind: 'create', id, options }));
    // Whoever calls first hears of it.
    this.#created.catch(() => {});
  }

  get pid(): number {
    assert.ok(this.#child.pid);
    return this.#child.pid;
  }

  /** Ends the process at once. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  #receive(reply: RemoteReply): void {
    if (reply.kind === 'step') {
      this.#listener(reply.failure === null ? null : toError(reply.failure), reply.result);
      return;
    }
    const pending = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    if (reply.failure !== null) pending?.reject(toError(reply.failure));
    else pending?.resolve(reply.value);
  }

  #request(make: (id: number) => RemoteRequest): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      this.#pending.set(id, { resolve, reject });
      if (this.#child.connected) this.#child.send(make(id));
      else reject(new AppError('WORKER_LOST', 'the engine has no process any more'));
    });
  }

  async #call<T>(method: keyof GroupEngine, ...args: readonly unknown[]): Promise<T> {
    await this.#created;
    return (await this.#request((id) => ({ kind: 'call', id, method, args }))) as T;
  }

  /** Progress stays in the child. */
  load: GroupEngine['load'] = (plan) => this.#call('load', plan);
  prepareGroup: GroupEngine['prepareGroup'] = (options) => this.#call('prepareGroup', options);
  joinGroup: GroupEngine['joinGroup'] = (...args) => this.#call('joinGroup', ...args);
  putPixels: GroupEngine['putPixels'] = (...args) => this.#call('putPixels', ...args);
  inspect: GroupEngine['inspect'] = (...args) => this.#call('inspect', ...args);
  endEpoch: GroupEngine['endEpoch'] = () => this.#call('endEpoch');
  onStep: GroupEngine['onStep'] = (listener) => {
    this.#listener = listener;
  };

  /** Always true: a full queue in the child comes back as a failed step. */
  submitStep: GroupEngine['submitStep'] = (plan) => {
    void this.#call('submitStep', plan).catch((error: unknown) => {
      this.#listener(error instanceof Error ? error : new Error(String(error)), null);
    });
    return true;
  };

  abort: GroupEngine['abort'] = (groupEpoch) => {
    void this.#call('abort', groupEpoch).catch(() => {});
  };

  async close(): Promise<void> {
    if (this.#child.connected) {
      await this.#call('close').catch(() => {});
      if (this.#child.connected) this.#child.disconnect();
    }
    await this.#exited;
  }
}
