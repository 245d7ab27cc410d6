// Time behind an interface, so that whatever waits can be tested without waiting: monotonic milliseconds and timers.
// It must not tell the date; logs and files take that from the system. The fake is test/support/fake-clock.ts.
import { AppError } from './errors.js';

export interface Timer {
  /** Idempotent; the callback does not run afterwards. */
  cancel(): void;
}

export interface Clock {
  /** Monotonic, from an arbitrary origin: only differences within one process mean something. */
  nowMs(): number;
  /** Runs the callback once, not before `delayMs` have passed. */
  setTimer(delayMs: number, callback: () => void): Timer;
  /** Runs the callback once, after what is ready to run now: what arrives together is handled together. */
  defer(callback: () => void): void;
}

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  setTimer(delayMs, callback) {
    const handle = setTimeout(callback, delayMs);
    return { cancel: () => clearTimeout(handle) };
  },
  defer: (callback) => void setImmediate(callback),
};

/** Resolves after `delayMs`; rejects with CANCELLED when the signal aborts first. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(cancelled());
      return;
    }
    const onAbort = (): void => {
      timer.cancel();
      reject(cancelled());
    };
    const timer = clock.setTimer(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

function cancelled(): AppError {
  return new AppError('CANCELLED', 'the wait was cancelled');
}
