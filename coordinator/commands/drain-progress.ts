// A drain, as it is seen on stderr: how many requests are left and until when they may run, once a second where that
// number changes.
import type { Clock, Timer } from '../../common/clock.js';
import { standardError } from '../../common/standard-error.js';

const LOOK_EVERY_MS = 1_000;
/** A line so often though nothing changes. */
const SAY_EVERY_MS = 10_000;

export interface DrainProgressOptions {
  readonly drainMs: number;
  /** Left in the server. */
  readonly numRequests: () => number;
  readonly clock: Clock;
  readonly write?: (line: string) => void;
}

/** Says nothing where nothing is left. */
export function showDrain(options: DrainProgressOptions): { readonly stop: () => void } {
  const { drainMs, numRequests, clock, write = (line) => standardError.write(line) } = options;
  const startedMs = clock.nowMs();
  let timer: Timer | null = null;
  let saidAtMs = -Infinity;
  let said = 0;
  const look = (): void => {
    const nowMs = clock.nowMs();
    const left = numRequests();
    if (left > 0 && (left !== said || nowMs - saidAtMs >= SAY_EVERY_MS)) {
      const seconds = Math.max(Math.ceil((drainMs - (nowMs - startedMs)) / 1000), 0);
      const requests = left === 1 ? '1 request is' : `${left} requests are`;
      write(`draining: ${requests} left, cut off in ${seconds} s; a second signal ends at once\n`);
      said = left;
      saidAtMs = nowMs;
    }
    timer = clock.setTimer(LOOK_EVERY_MS, look);
  };
  look();
  return { stop: () => timer?.cancel() };
}
