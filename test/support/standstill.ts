// What a machine that stood still for seconds excuses in a test that is told times by others.
import { DEFAULT_HANG_TIMEOUT_MS } from '../../common/limits.js';
import type { Stopwatch } from './stopwatch.js';

/** Shorter ones are slack's. */
const NOTICED_MS = 1_000;

/** Added to how soon a rank that hangs is found: whoever stood still itself listens for the whole time anew. */
export function excuseOf(watch: Stopwatch): number {
  watch.stop();
  const { stoodStillMs } = watch;
  return stoodStillMs < NOTICED_MS ? 0 : stoodStillMs + DEFAULT_HANG_TIMEOUT_MS;
}
