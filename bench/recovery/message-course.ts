// Two workers behind proxies that give messages twice, out of order, and again in later epochs, under load: what comes
// twice or late is refused or ignored, and the answers are those of an undisturbed run.
import { Random } from '../../test/simulator/random.js';
import { SkeinProcess } from '../../test/support/skein-process.js';
import { meet, type Fault, type FaultResult } from './faults.js';
import { MessageProxy, type Reply } from './message-proxy.js';
import { NANO_MODEL, questions } from './questions.js';
import { addressOf } from './restart-course.js';
import type { RecoveryRun } from './run.js';
import { Served } from './served.js';
import { SteadyLoad, underLoad } from './steady-load.js';

/**
 * Of a plan or a result: it comes twice, or after what follows it. replay-plan: a plan of an earlier epoch. These end
 * the epoch. replay-calls: every call of earlier epochs again, which must not be noticed. double-calls: every call of
 * the next epoch is made twice.
 */
export const MESSAGE_FAULTS = [
  ...['double-plan', 'swap-plans', 'double-result', 'swap-results'],
  ...['double-calls', 'replay-plan', 'replay-calls'],
] as const;

export interface MessageCourseOptions {
  readonly worldSize: number;
  readonly numStreams: number;
  readonly seed: number;
  /** Of all of them, each in a new order. */
  readonly rounds: number;
  readonly onFault?: (result: FaultResult) => void;
}

export interface MessageRun extends RecoveryRun {
  /** To calls of earlier epochs. */
  readonly replies: readonly Reply[];
}

/** Throws where a fault leads to nothing. */
export async function runMessageCourse(options: MessageCourseOptions): Promise<MessageRun> {
  const workers = Array.from({ length: options.worldSize }, (_, index) =>
    SkeinProcess.real([
      ...['worker', '--listen', '127.0.0.1:0', '--worker-id', `w${index}`],
      ...['--threads', '1', '--log-level', 'info'],
    ]),
  );
  const proxies: MessageProxy[] = [];
  try {
    for (const worker of workers) proxies.push(await MessageProxy.start(await addressOf(worker)));
    const served = new Served([
      ...['--model', NANO_MODEL, '--tensor-parallel-size', String(options.worldSize)],
      ...['--workers', proxies.map(({ address }) => address).join(',')],
    ]);
    try {
      await served.ready();
      return await run(options, proxies, served);
    } finally {
      await served.stop();
    }
  } finally {
    for (const proxy of proxies) await proxy.close();
    for (const worker of workers) await worker.killed();
  }
}

async function run(
  { numStreams, seed, rounds, onFault }: MessageCourseOptions,
  proxies: readonly MessageProxy[],
  served: Served,
): Promise<MessageRun> {
  const random = new Random(seed);
  const load = new SteadyLoad(served.client, questions(), numStreams, random);
  const faults: FaultResult[] = [];
  const replies: Reply[] = [];
  const totals = await underLoad(load, async () => {
    for (const kind of drawOrder(rounds, random)) {
      const result = await meet(drawMessageFault(kind, proxies, random, replies), served, load, random);
      faults.push(result);
      onFault?.(result);
    }
  });
  return { faults, totals, replies };
}

/** What was said before can be said again once there was a before: the first one ends an epoch. */
function drawOrder(rounds: number, random: Random): string[] {
  return Array.from({ length: rounds }, (_, round) => {
    const [first, ...others] = MESSAGE_FAULTS;
    const left = round === 0 ? others : [...MESSAGE_FAULTS];
    const drawn: string[] = round === 0 ? [first] : [];
    while (left.length > 0) drawn.push(...left.splice(random.integer(0, left.length - 1), 1));
    return drawn;
  }).flat();
}

function drawMessageFault(
  kind: string,
  proxies: readonly MessageProxy[],
  random: Random,
  replies: Reply[],
): Fault {
  const rank = random.integer(0, proxies.length - 1);
  const proxy = proxies[rank]!;
  const ends = { kind, ranks: [rank], forMs: null, endsEpoch: true };
  switch (kind) {
    case 'double-plan':
      return { ...ends, strike: () => proxy.disturb('plans', 'double') };
    case 'swap-plans':
      return { ...ends, strike: () => proxy.disturb('plans', 'swap') };
    case 'double-result':
      return { ...ends, strike: () => proxy.disturb('results', 'double') };
    case 'swap-results':
      return { ...ends, strike: () => proxy.disturb('results', 'swap') };
    case 'double-calls':
      return { ...ends, strike: () => doubleCalls(proxies, proxy), mend: () => single(proxies) };
    case 'replay-plan':
      return { ...ends, strike: () => void proxy.replayPlan() };
    default:
      return { ...ends, strike: () => replayAll(proxies, replies), forMs: 500, endsEpoch: false };
  }
}

/** The next epoch is formed with them. */
async function doubleCalls(proxies: readonly MessageProxy[], struck: MessageProxy): Promise<void> {
  for (const proxy of proxies) proxy.doubleCalls(true);
  await struck.disturb('plans', 'double');
}

function single(proxies: readonly MessageProxy[]): void {
  for (const proxy of proxies) proxy.doubleCalls(false);
}

async function replayAll(proxies: readonly MessageProxy[], replies: Reply[]): Promise<void> {
  for (const proxy of proxies) replies.push(...(await proxy.replayCalls()));
}
