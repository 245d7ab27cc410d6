// What an epoch asks of the registry of workers: as many as it needs, and word when one of them is lost.
import { sleep, type Clock } from '../../common/clock.js';
import { AppError } from '../../common/errors.js';
import { HOLDERS_WAIT_MS } from '../../common/limits.js';
import type { ClusterServer } from '../cluster/cluster-service.js';

/** Who is registered, over whatever the workers called. */
export type Registered = Pick<ClusterServer, 'workers' | 'onEvent'>;

/** The first `count` workers, in order of registration. */
export function registered(
  cluster: Registered,
  count: number,
  signal: AbortSignal,
): Promise<Registered['workers']> {
  return new Promise((resolve, reject) => {
    const check = (): void => {
      if (cluster.workers.length < count) return;
      stopListening();
      signal.removeEventListener('abort', onAbort);
      resolve(cluster.workers.slice(0, count));
    };
    const stopListening = cluster.onEvent(check);
    const onAbort = (): void => {
      stopListening();
      reject(signal.reason as Error);
    };
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    check();
  });
}

/**
 * The same, for a coordinator that has just started: another may have been here before it. Workers that hold weights go
 * before others, and where some of the first ones do, the rest of those gets time to come before spares are taken.
 */
export async function registeredAnew(
  clock: Clock,
  cluster: Registered,
  count: number,
  signal: AbortSignal,
): Promise<Registered['workers']> {
  const first = await registered(cluster, count, signal);
  const numHolders = first.filter(holdsWeights).length;
  if (numHolders === 0 || numHolders === count) return first;
  await sleep(clock, HOLDERS_WAIT_MS, signal).catch(() => signal.throwIfAborted());
  await registered(cluster, count, signal);
  const { workers } = cluster;
  const others = workers.filter((worker) => !holdsWeights(worker));
  return [...workers.filter(holdsWeights), ...others].slice(0, count);
}

function holdsWeights({ weightsHash }: Registered['workers'][number]): boolean {
  return weightsHash !== '';
}

/** The same as registered, for so long; then it rejects with NOT_READY. */
export async function registeredWithin(
  clock: Clock,
  timeoutMs: number,
  cluster: Registered,
  count: number,
  signal: AbortSignal,
): Promise<Registered['workers']> {
  const late = new AbortController();
  const timer = clock.setTimer(timeoutMs, () => {
    const found = `${cluster.workers.length} of ${count} workers registered`;
    late.abort(new AppError('NOT_READY', `${found} within ${timeoutMs} ms`));
  });
  try {
    return await registered(cluster, count, AbortSignal.any([signal, late.signal]));
  } finally {
    timer.cancel();
  }
}

export function lostOf(cluster: Registered, workerIds: ReadonlySet<string>): Promise<AppError> {
  return new Promise((resolve) => {
    const stopListening = cluster.onEvent(({ kind, worker, reason }) => {
      if (kind === 'joined' || !workerIds.has(worker.workerId)) return;
      stopListening();
      resolve(new AppError('WORKER_LOST', `worker ${worker.workerId} on ${worker.host} was lost: ${reason}`));
    });
  });
}
