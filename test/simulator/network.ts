// The way between the coordinator and a worker, as a RankTransport: messages travel as bytes, take their time, keep
// their order on a connection, and are lost with it. Calls end with what gRPC would say.
import type * as grpc from '@grpc/grpc-js';
import { AppError, toAppError } from '../../common/errors.js';
import { workerServiceDefinition } from '../../common/proto.js';
import type {
  LoadCall,
  RankTransport,
  StepStream,
  StepStreamListener,
} from '../../coordinator/executor/rank-transport.js';
import type { AbortRequest__Output } from '../../proto/ts/skein/worker/v1/AbortRequest.js';
import type { ExecuteRequest__Output } from '../../proto/ts/skein/worker/v1/ExecuteRequest.js';
import type { ExecuteResponse__Output } from '../../proto/ts/skein/worker/v1/ExecuteResponse.js';
import type { JoinGroupRequest__Output } from '../../proto/ts/skein/worker/v1/JoinGroupRequest.js';
import type { LoadRequest } from '../../proto/ts/skein/worker/v1/LoadRequest.js';
import type { LoadResponse__Output } from '../../proto/ts/skein/worker/v1/LoadResponse.js';
import type { PrepareGroupRequest__Output } from '../../proto/ts/skein/worker/v1/PrepareGroupRequest.js';
import type { PutPixelsRequest } from '../../proto/ts/skein/worker/v1/PutPixelsRequest.js';
import type { ShutDownRequest__Output } from '../../proto/ts/skein/worker/v1/ShutDownRequest.js';
import { Link, type Way } from './link.js';
import type { SimulatedProcess } from './process.js';
import type { Random } from './random.js';
import type { SimulatedWorker } from './worker.js';

export interface NetworkOptions {
  readonly random: Random;
  /** Most of the time that a message takes. */
  readonly maxDelayMs: number;
  readonly coordinator: SimulatedProcess;
  /** Who listens at an address; null: nobody. */
  readonly listener: (address: string) => SimulatedWorker | null;
  /** Of the ways to an address, where faults change them. */
  readonly linkTo?: (address: string) => Link;
  /** Something of the coordinator's is about to be handled by a worker, with all that it makes ready. */
  readonly onDelivery?: (worker: SimulatedWorker) => void;
  /** An epoch is about to be opened at a worker. */
  readonly onOpen: (groupEpoch: number) => void;
}

/** One connection: what is under way on it keeps its order, and comes to nothing when it breaks. */
class Connection {
  readonly #options: NetworkOptions;
  readonly worker: SimulatedWorker;
  readonly #link: Link;
  isBroken = false;
  readonly onBreak = new Set<() => void>();
  readonly onBreakAtWorker = new Set<() => void>();
  #lastToWorkerMs = 0;
  #lastBackMs = 0;

  constructor(options: NetworkOptions, worker: SimulatedWorker, link: Link) {
    this.#options = options;
    this.worker = worker;
    this.#link = link;
    worker.connections.add(this);
  }

  get coordinator(): SimulatedProcess {
    return this.#options.coordinator;
  }

  toWorker(what: string, deliver: () => void, isStep = false): void {
    const handle = (): void => {
      this.#options.onDelivery?.(this.worker);
      deliver();
    };
    const way = this.#link.toWorker;
    way.pass(isStep, () => {
      this.#lastToWorkerMs = this.#send(this.worker.process, this.#lastToWorkerMs, way, what, handle);
    });
  }

  back(what: string, deliver: () => void, isStep = false): void {
    const way = this.#link.back;
    way.pass(isStep, () => {
      this.#lastBackMs = this.#send(this.#options.coordinator, this.#lastBackMs, way, what, deliver);
    });
  }

  #send(to: SimulatedProcess, lastMs: number, way: Way, what: string, deliver: () => void): number {
    const { random, maxDelayMs } = this.#options;
    const nowMs = to.queue.nowMs;
    const atMs = Math.max(lastMs, nowMs + random.real(0, maxDelayMs + way.extraDelayMs));
    to.run(atMs - nowMs, what, () => {
      if (!this.isBroken) deliver();
    });
    return atMs;
  }

  /** Each end learns of it in its own time. */
  break(): void {
    if (this.isBroken) return;
    this.isBroken = true;
    this.worker.connections.delete(this);
    const { random, coordinator, maxDelayMs } = this.#options;
    const { toWorker, back } = this.#link;
    back.pass(false, () =>
      coordinator.run(random.real(0, maxDelayMs), 'connection lost', () => {
        for (const callback of [...this.onBreak]) callback();
      }),
    );
    toWorker.pass(false, () =>
      this.worker.process.run(random.real(0, maxDelayMs), 'connection lost', () => {
        for (const callback of [...this.onBreakAtWorker]) callback();
      }),
    );
  }
}

export type { Connection };

export class SimulatedTransport implements RankTransport {
  readonly address: string;
  readonly #options: NetworkOptions;
  readonly #link: Link;
  #control: Connection | null = null;
  #bulk: Connection | null = null;
  #isClosed = false;

  constructor(address: string, options: NetworkOptions) {
    this.address = address;
    this.#options = options;
    this.#link = options.linkTo?.(address) ?? new Link();
  }

  connect(timeoutMs: number): Promise<void> {
    const { coordinator, random, maxDelayMs } = this.#options;
    return new Promise<void>((resolve, reject) => {
      const timer = coordinator.clock.setTimer(timeoutMs, () =>
        reject(new AppError('WORKER_LOST', 'timeout')),
      );
      const attempt = (): void => {
        if (this.#isClosed) {
          timer.cancel();
          return reject(closed());
        }
        if (this.#connection() === null) {
          coordinator.run(200, 'connect again', attempt);
          return;
        }
        timer.cancel();
        resolve();
      };
      coordinator.run(random.real(0, maxDelayMs), 'connect', attempt);
    });
  }

  describe: RankTransport['describe'] = (timeoutMs) =>
    this.#unary('Describe', {}, timeoutMs, async (worker) => worker.service.describe());
  prepareGroup: RankTransport['prepareGroup'] = (request, timeoutMs) =>
    this.#unary('PrepareGroup', request, timeoutMs, (worker, each: PrepareGroupRequest__Output) =>
      worker.service.prepareGroup(each),
    );
  joinGroup: RankTransport['joinGroup'] = (request, timeoutMs) =>
    this.#unary('JoinGroup', request, timeoutMs, (worker, each: JoinGroupRequest__Output) =>
      worker.service.joinGroup(each),
    );
  abort: RankTransport['abort'] = (request, timeoutMs) =>
    this.#unary('Abort', request, timeoutMs, (worker, each: AbortRequest__Output) =>
      worker.service.abort(each),
    );
  shutDown: RankTransport['shutDown'] = async (request, timeoutMs) => {
    await this.#unary('ShutDown', request, timeoutMs, async (worker, each: ShutDownRequest__Output) => {
      worker.service.shutDown(each);
      return {};
    });
  };

  load(request: LoadRequest, onMessage: (message: LoadResponse__Output) => void): LoadCall {
    const definition = workerServiceDefinition.Load;
    let isOver = false;
    const ended = this.#call<void>('Load', this.#connection(), null, (connection, resolve, reject) => {
      const bytes = definition.requestSerialize(request);
      connection.toWorker('Load', () => {
        const { service } = connection.worker;
        service
          .load(definition.requestDeserialize(bytes), (message) => {
            const answer = definition.responseSerialize(message);
            connection.back('loading', () => {
              if (!isOver) onMessage(definition.responseDeserialize(answer));
            });
          })
          .then(
            () => connection.back('loaded', resolve),
            (error: unknown) => connection.back('Load failed', () => reject(toAppError(error))),
          );
      });
    });
    const over = (): void => {
      isOver = true;
    };
    ended.then(over, over);
    return { ended, cancel: over };
  }

  openSteps(listener: StepStreamListener): StepStream {
    const connection = this.#connection();
    let isOver = false;
    const end = (error: AppError | null): void => {
      if (isOver) return;
      isOver = true;
      connection?.onBreak.delete(onBreak);
      listener.onEnd(error);
    };
    const onBreak = (): void => end(broken());
    if (connection === null) {
      this.#options.coordinator.run(0, 'no connection', onBreak);
      return { send: () => undefined, close: () => (isOver = true) };
    }
    connection.onBreak.add(onBreak);
    const session = this.#openSession(
      connection,
      (message) => {
        if (!isOver) listener.onMessage(message);
      },
      end,
    );
    return {
      send: (bytes) => {
        if (!isOver) session.send(bytes);
      },
      close: () => {
        if (isOver) return;
        isOver = true;
        connection.onBreak.delete(onBreak);
        session.close();
      },
    };
  }

  #openSession(
    connection: Connection,
    onMessage: (message: ExecuteResponse__Output) => void,
    onEnd: (error: AppError | null) => void,
  ): { send(bytes: Buffer): void; close(): void } {
    const definition = workerServiceDefinition.Execute;
    const session = connection.worker.service.openSteps({
      send: (message) => {
        const bytes = definition.responseSerialize(message);
        connection.back(
          `step ${message.result?.step?.toString() ?? 'stream'}`,
          () => onMessage(definition.responseDeserialize(bytes)),
          Boolean(message.result),
        );
      },
      end: (error) => {
        connection.onBreakAtWorker.delete(onBreak);
        connection.back('step stream ends', () => onEnd(error));
      },
    });
    const onBreak = (): void => session.onClosed();
    connection.onBreakAtWorker.add(onBreak);
    return {
      send: (bytes) => {
        const message: ExecuteRequest__Output = definition.requestDeserialize(bytes);
        if (message.open) this.#options.onOpen(Number(message.open.groupEpoch));
        connection.toWorker(
          message.plan ? `plan ${message.plan.step}` : 'step stream',
          () => session.onMessage(message),
          Boolean(message.plan),
        );
      },
      close: () => connection.toWorker('step stream closes', () => session.onClosed()),
    };
  }

  putPixels(header: Omit<PutPixelsRequest, 'data'>, pixels: Uint8Array, timeoutMs: number): Promise<void> {
    const definition = workerServiceDefinition.PutPixels;
    return this.#call<void>('PutPixels', this.#bulkConnection(), timeoutMs, (connection, resolve, reject) => {
      const half = Math.floor(pixels.length / 2);
      const parts = [
        { ...header, data: Buffer.from(pixels.slice(0, half)) },
        { data: Buffer.from(pixels.slice(half)) },
      ].map((part) => definition.requestSerialize(part));
      const fail = (error: unknown): void =>
        connection.back('PutPixels failed', () => reject(toAppError(error)));
      let picture: ReturnType<SimulatedWorker['service']['receivePixels']> | null = null;
      let hasFailed = false;
      for (const part of parts) {
        connection.toWorker('pixels', () => {
          if (hasFailed) return;
          try {
            picture ??= connection.worker.service.receivePixels();
            picture.add(definition.requestDeserialize(part));
          } catch (error) {
            hasFailed = true;
            fail(error);
          }
        });
      }
      connection.toWorker('pixels end', () => {
        if (!hasFailed) picture?.finish().then(() => connection.back('pixels are put', resolve), fail);
      });
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#control?.break();
    this.#bulk?.break();
  }

  #connection(): Connection | null {
    if (this.#control?.isBroken === true) this.#control = null;
    return (this.#control ??= this.#dial());
  }

  #bulkConnection(): Connection | null {
    if (this.#bulk?.isBroken === true) this.#bulk = null;
    return (this.#bulk ??= this.#dial());
  }

  #dial(): Connection | null {
    const worker = this.#isClosed || this.#link.isCut ? null : this.#options.listener(this.address);
    return worker === null ? null : new Connection(this.#options, worker, this.#link);
  }

  #unary<Request, Response>(
    name: 'Describe' | 'PrepareGroup' | 'JoinGroup' | 'Abort' | 'ShutDown',
    request: object,
    timeoutMs: number,
    handle: (worker: SimulatedWorker, request: Request) => Promise<object>,
  ): Promise<Response> {
    const definition = workerServiceDefinition[name] as unknown as grpc.MethodDefinition<object, object>;
    return this.#call<Response>(name, this.#connection(), timeoutMs, (connection, resolve, reject) => {
      const bytes = definition.requestSerialize(request);
      connection.toWorker(name, () => {
        const message = definition.requestDeserialize(bytes) as Request;
        Promise.resolve()
          .then(() => handle(connection.worker, message))
          .then(
            (response) => {
              const answer = definition.responseSerialize(response);
              connection.back(`${name} answered`, () =>
                resolve(definition.responseDeserialize(answer) as Response),
              );
            },
            (error: unknown) => connection.back(`${name} failed`, () => reject(toAppError(error))),
          );
      });
    });
  }

  #call<T>(
    name: string,
    connection: Connection | null,
    timeoutMs: number | null,
    start: (connection: Connection, resolve: (value: T) => void, reject: (error: AppError) => void) => void,
  ): Promise<T> {
    const { coordinator } = this.#options;
    if (this.#isClosed) return Promise.reject(closed());
    if (connection === null) return Promise.reject(broken());
    return new Promise<T>((resolve, reject) => {
      const timer =
        timeoutMs === null
          ? null
          : coordinator.clock.setTimer(timeoutMs, () =>
              finish(() => reject(new AppError('DEADLINE_EXCEEDED', `${name} took ${timeoutMs} ms`))),
            );
      const finish = (settle: () => void): void => {
        timer?.cancel();
        connection.onBreak.delete(onBreak);
        settle();
      };
      const onBreak = (): void => finish(() => reject(broken()));
      connection.onBreak.add(onBreak);
      start(
        connection,
        (value) => finish(() => resolve(value)),
        (error) => finish(() => reject(error)),
      );
    });
  }
}

function broken(): AppError {
  return new AppError('WORKER_LOST', 'the connection broke');
}

function closed(): AppError {
  return new AppError('CANCELLED', 'the transport is closed');
}
