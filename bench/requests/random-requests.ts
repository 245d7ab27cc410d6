// Random requests over gRPC and HTTP against one service, many at once, some of whose clients leave early: how each
// ended, and what the process holds when all are over. Nothing of it is a fault of the server's, and nothing is left.
import http from 'node:http';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import * as grpc from '@grpc/grpc-js';
import fc from 'fast-check';
import type { InferenceServiceClient } from '../../common/proto.js';
import type { GenerateRequest } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import {
  anyGrpcRequest,
  anyHttpRequest,
  GRPC_FAULTS,
  type HttpRequest,
} from '../../test/support/random-requests.js';

export interface RandomRequestsOptions {
  readonly client: InstanceType<typeof InferenceServiceClient>;
  /** http://HOST:PORT */
  readonly httpAddress: string;
  readonly count: number;
  readonly seed: number;
  /** Requests in flight together. */
  readonly atOnce: number;
  /** Resolves when nothing of any request is left in the service; rejects where something stays. */
  readonly idle: () => Promise<void>;
  readonly onProgress: (numDone: number) => void;
}

export interface RandomRequestsReport {
  readonly requests: number;
  /** `grpc OK`, `http 400`, …; `http left`: the client closed its connection. */
  readonly endings: Readonly<Record<string, number>>;
  /** Requests that ended by a fault of the server's, the first of them. */
  readonly faults: readonly string[];
  readonly numFaults: number;
  /** What the JavaScript heap holds after a collection: when a fifth is over, and at the end. */
  readonly heapMib: { readonly early: number; readonly late: number };
}

const MAX_FAULTS_SHOWN = 20;
/** The types of errors that have 5xx before a stream begins. */
const FAULT_IN_STREAM = /"type":"(server|service_unavailable|timeout)_error"/;
const DRAWN_TOGETHER = 256;
const PROGRESS_EVERY = 10_000;
/** One in so many clients leaves before its answer is whole. */
const LEAVES = 8;

interface Asked {
  readonly grpc: GenerateRequest | null;
  readonly http: HttpRequest | null;
  readonly leavesEarly: boolean;
}

interface Ending {
  readonly name: string;
  readonly isFault: boolean;
}

export async function sendRandomRequests(options: RandomRequestsOptions): Promise<RandomRequestsReport> {
  const { count, atOnce } = options;
  const tally: Tally = { endings: {}, faults: [], numFaults: 0, numDone: 0 };
  const agent = new http.Agent({ keepAlive: true, maxSockets: atOnce });
  const numEarly = Math.ceil(count / 5);
  try {
    await sendSome(0, numEarly, options, agent, tally);
    await options.idle();
    const early = heapMib();
    await sendSome(numEarly, count, options, agent, tally);
    await options.idle();
    const { endings, faults, numFaults } = tally;
    return {
      requests: count,
      endings: sorted(endings),
      faults,
      numFaults,
      heapMib: { early, late: heapMib() },
    };
  } finally {
    agent.destroy();
  }
}

interface Tally {
  readonly endings: Record<string, number>;
  readonly faults: string[];
  numFaults: number;
  numDone: number;
}

/** Requests `from` to `to`, always as many at once as there may be. */
async function sendSome(
  from: number,
  to: number,
  options: RandomRequestsOptions,
  agent: http.Agent,
  tally: Tally,
): Promise<void> {
  let drawn: Asked[] = [];
  let next = from;
  const sendNext = async (): Promise<void> => {
    while (next < to) {
      if (drawn.length === 0) drawn = drawRequests(Math.min(DRAWN_TOGETHER, to - next), options.seed + next);
      next += 1;
      const asked = drawn.pop()!;
      const { name, isFault } = await send(asked, options, agent);
      tally.endings[name] = (tally.endings[name] ?? 0) + 1;
      tally.numDone += 1;
      if (tally.numDone % PROGRESS_EVERY === 0) options.onProgress(tally.numDone);
      if (!isFault) continue;
      tally.numFaults += 1;
      if (tally.faults.length < MAX_FAULTS_SHOWN)
        tally.faults.push(`${name}: ${JSON.stringify(asked.grpc ?? asked.http)}`);
    }
  };
  await Promise.all(Array.from({ length: options.atOnce }, sendNext));
}

function drawRequests(count: number, seed: number): Asked[] {
  const asked = fc.record({
    grpc: fc.option(anyGrpcRequest, { freq: 2 }),
    http: anyHttpRequest,
    leavesEarly: fc.nat(LEAVES - 1).map((drawn) => drawn === 0),
  });
  return fc
    .sample(asked, { numRuns: count, seed })
    .map((each, index) =>
      index % 2 === 0 && each.grpc !== null ? { ...each, http: null } : { ...each, grpc: null },
    );
}

function send(asked: Asked, options: RandomRequestsOptions, agent: http.Agent): Promise<Ending> {
  if (asked.grpc !== null) return sendGrpc(asked.grpc, asked.leavesEarly, options.client);
  return sendHttp(asked.http!, asked.leavesEarly, options.httpAddress, agent);
}

function sendGrpc(
  request: GenerateRequest,
  leavesEarly: boolean,
  client: RandomRequestsOptions['client'],
): Promise<Ending> {
  return new Promise((resolve) => {
    const call = client.generate(request);
    call.on('data', () => {
      if (leavesEarly) call.cancel();
    });
    call.on('error', () => undefined);
    call.on('status', ({ code }) =>
      resolve({ name: `grpc ${grpc.status[code]}`, isFault: GRPC_FAULTS.has(code) }),
    );
  });
}

/** An event of a stream that is an error counts with the status that it names, as if it had come before the stream. */
function sendHttp(
  { path, body }: HttpRequest,
  leavesEarly: boolean,
  address: string,
  agent: http.Agent,
): Promise<Ending> {
  return new Promise((resolve) => {
    const text = JSON.stringify(body) ?? '';
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
    const call = http.request(`${address}${path}`, { method: 'POST', agent, headers }, (response) => {
      const status = response.statusCode ?? 0;
      let said = '';
      response.setEncoding('utf8').on('data', (piece: string) => {
        said += piece;
        if (leavesEarly) call.destroy();
      });
      response.on('error', () => resolve({ name: 'http left', isFault: !leavesEarly }));
      response.on('end', () => {
        const isBroken = FAULT_IN_STREAM.test(said);
        resolve({ name: `http ${status}${isBroken ? ' broken' : ''}`, isFault: status >= 500 || isBroken });
      });
    });
    call.on('error', (error: NodeJS.ErrnoException) =>
      resolve(
        leavesEarly ? { name: 'http left', isFault: false } : { name: `http ${error.code}`, isFault: true },
      ),
    );
    call.end(text);
  });
}

let collect: (() => void) | null = null;

function heapMib(): number {
  if (collect === null) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
  }
  collect();
  collect();
  return Math.round((process.memoryUsage().heapUsed / 2 ** 20) * 10) / 10;
}

function sorted(counts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).sort(([a], [b]) => a.localeCompare(b)));
}
