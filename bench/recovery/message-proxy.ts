// Stands between the coordinator and a worker and hands on every call as it comes, message by message, but for what it
// is told to do with the next one: give it twice, or after the one behind it. It keeps what was said in epochs before,
// so that it can be said again. Knows bytes, and of their meaning only which messages are plans and results.
import * as grpc from '@grpc/grpc-js';
import { ERROR_CODE_KEY } from '../../common/grpc-status.js';
import { clusterChannelOptions } from '../../common/grpc-client.js';
import { bindServer, createGrpcServer, stopServer } from '../../common/grpc-server.js';
import { MAX_GRPC_MESSAGE_BYTES, MAX_WORKER_STREAMS } from '../../common/limits.js';
import { workerServiceDefinition } from '../../common/proto.js';
import type { WorkerServiceDefinition } from '../../proto/ts/skein/worker/v1/WorkerService.js';

/** From the coordinator, or from the worker. */
export type Direction = 'plans' | 'results';
export type Disturbance = 'double' | 'swap';

/** Those of WorkerService. */
type Method = Extract<keyof WorkerServiceDefinition, string>;

/** Calls that hold a fence and change something. */
const FENCED = [
  'Load',
  'PrepareGroup',
  'JoinGroup',
  'Abort',
  'ShutDown',
] as const satisfies readonly Method[];
type FencedMethod = (typeof FENCED)[number];

type ServerCall = grpc.ServerDuplexStream<Buffer, Buffer>;
type ClientCall = grpc.ClientDuplexStream<Buffer, Buffer>;

export interface Reply {
  readonly method: string;
  /** 'answered', or the code of the error. */
  readonly answer: string;
}

/** What is to happen to a message, and whom to tell when it has. */
interface Order {
  readonly what: Disturbance;
  readonly done: () => void;
}

interface Epoch {
  /** The last one of each kind. */
  readonly calls: Map<FencedMethod, Buffer>;
  firstPlan: Buffer | null;
}

const MAX_EPOCHS = 4;

const asIs = (bytes: Buffer): Buffer => bytes;

export class MessageProxy {
  readonly address: string;
  readonly #server: grpc.Server;
  readonly #client: grpc.Client;
  readonly #orders: Partial<Record<Direction, Order>> = {};
  /** What was said in the last of them; the present one is the last. */
  readonly #epochs: Epoch[] = [];
  #steps: ClientCall | null = null;
  #doublesCalls = false;

  static async start(target: string): Promise<MessageProxy> {
    const server = createGrpcServer({
      maxMessageBytes: MAX_GRPC_MESSAGE_BYTES,
      maxConcurrentStreams: MAX_WORKER_STREAMS,
    });
    const proxy: { current?: MessageProxy } = {};
    const methods = Object.keys(workerServiceDefinition);
    // A call of one message is a stream of one message.
    server.addService(
      Object.fromEntries(methods.map((method) => [method, streamOf(method)])),
      Object.fromEntries(
        methods.map((method) => [method, (call: ServerCall) => proxy.current!.#relay(method, call)]),
      ),
    );
    const address = await bindServer(server, '127.0.0.1:0');
    proxy.current = new MessageProxy(address, server, target);
    return proxy.current;
  }

  private constructor(address: string, server: grpc.Server, target: string) {
    this.address = address;
    this.#server = server;
    this.#client = new grpc.Client(
      target,
      grpc.credentials.createInsecure(),
      clusterChannelOptions({
        'grpc.max_receive_message_length': MAX_GRPC_MESSAGE_BYTES,
        'grpc.max_send_message_length': MAX_GRPC_MESSAGE_BYTES,
      }),
    );
  }

  /** Resolves when the next plan, or the next result, was given twice or has changed places with what follows it. */
  disturb(direction: Direction, what: Disturbance): Promise<void> {
    return new Promise((resolve) => {
      this.#orders[direction] = { what, done: resolve };
    });
  }

  /** Every fenced call is made again from now on, once the worker has begun to answer it. */
  doubleCalls(isOn: boolean): void {
    this.#doublesCalls = isOn;
  }

  /** A plan of an earlier epoch, on the stream of the present one. False: there was none. */
  replayPlan(): boolean {
    const plan = this.#epochs.at(-2)?.firstPlan ?? null;
    if (plan === null || this.#steps === null) return false;
    this.#steps.write(plan);
    return true;
  }

  /** Every fenced call of earlier epochs, in the present one, and what each was answered. */
  replayCalls(): Promise<Reply[]> {
    const earlier = this.#epochs.slice(0, -1).flatMap(({ calls }) => [...calls]);
    return Promise.all(
      earlier.map(async ([method, bytes]) => ({ method, answer: await this.#ask(method, bytes) })),
    );
  }

  async close(): Promise<void> {
    this.#client.close();
    await stopServer(this.#server, 0);
  }

  /** 'answered', or the code of the error. */
  #ask(method: Method, bytes: Buffer): Promise<string> {
    const call = this.#open(method, Date.now() + 10_000);
    call.write(bytes);
    call.end();
    call.on('data', () => undefined);
    return new Promise((resolve) => {
      call.on('end', () => resolve('answered'));
      call.on('error', (error: grpc.ServiceError) =>
        resolve(String(error.metadata.get(ERROR_CODE_KEY)[0] ?? grpc.status[error.code])),
      );
    });
  }

  #open(method: Method, deadline: grpc.Deadline): ClientCall {
    return this.#client.makeBidiStreamRequest(streamOf(method).path, asIs, asIs, { deadline });
  }

  #relay(method: Method, call: ServerCall): void {
    const onward = this.#open(method, call.getDeadline());
    if (method === 'Execute') this.#begin(onward);
    const [toWorker, back] = [new Lane(onward), new Lane(call)];
    let last: Buffer | null = null;
    call.on('data', (bytes: Buffer) => {
      this.#remember(method, bytes);
      toWorker.give(bytes, this.#orderFor(method, 'plans', bytes));
      last = bytes;
    });
    call.on('end', () => onward.end());
    call.on('cancelled', () => onward.cancel());
    call.on('error', () => onward.cancel());
    onward.on('data', (bytes: Buffer) => {
      back.give(bytes, this.#orderFor(method, 'results', bytes));
      // Two calls at once may overtake each other: this one was taken.
      if (isFenced(method) && this.#doublesCalls && last !== null) void this.#ask(method, last);
      last = null;
    });
    onward.on('end', () => call.end());
    onward.on('error', (error) => call.emit('error', error));
  }

  #begin(steps: ClientCall): void {
    this.#steps = steps;
    this.#epochs.push({ calls: new Map(), firstPlan: null });
    if (this.#epochs.length > MAX_EPOCHS) this.#epochs.shift();
  }

  #remember(method: Method, bytes: Buffer): void {
    const epoch = this.#epochs.at(-1);
    if (epoch === undefined) return;
    if (isFenced(method)) epoch.calls.set(method, bytes);
    else if (method === 'Execute' && isOfKind('plans', bytes)) epoch.firstPlan ??= bytes;
  }

  #orderFor(method: Method, direction: Direction, bytes: Buffer): Order | null {
    const order = this.#orders[direction];
    if (method !== 'Execute' || order === undefined || !isOfKind(direction, bytes)) return null;
    delete this.#orders[direction];
    return order;
  }
}

/** One way of one call. */
class Lane {
  readonly #to: { write(bytes: Buffer): boolean };
  #held: { readonly bytes: Buffer; readonly done: () => void } | null = null;

  constructor(to: { write(bytes: Buffer): boolean }) {
    this.#to = to;
  }

  give(bytes: Buffer, order: Order | null): void {
    if (order?.what === 'swap' && this.#held === null) {
      this.#held = { bytes, done: order.done };
      return;
    }
    this.#to.write(bytes);
    if (order?.what === 'double') this.#to.write(bytes);
    if (this.#held !== null) this.#to.write(this.#held.bytes);
    this.#held?.done();
    order?.done();
    this.#held = null;
  }
}

function streamOf(method: Method): grpc.MethodDefinition<Buffer, Buffer> {
  return {
    ...{ path: `/skein.worker.v1.WorkerService/${method}`, requestStream: true, responseStream: true },
    ...{
      requestSerialize: asIs,
      requestDeserialize: asIs,
      responseSerialize: asIs,
      responseDeserialize: asIs,
    },
  };
}

function isFenced(method: Method): method is FencedMethod {
  return (FENCED as readonly Method[]).includes(method);
}

function isOfKind(direction: Direction, bytes: Buffer): boolean {
  const { Execute } = workerServiceDefinition;
  const part =
    direction === 'plans'
      ? Execute.requestDeserialize(bytes)?.plan
      : Execute.responseDeserialize(bytes)?.result;
  return part !== undefined && part !== null;
}
