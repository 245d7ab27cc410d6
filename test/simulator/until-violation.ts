// How a simulated life ends: in order, or with the first thing that did not hold.
import { InvariantError } from '../../common/assert.js';
import { settle } from './event-queue.js';

/** Thrown to end a life at once; what is thrown counts. */
export class Violation extends Error {}

/** Resolves with what did not hold, or null. What is neither a violation nor a broken invariant is a bug of ours. */
export async function untilViolation(live: () => Promise<void>): Promise<string | null> {
  const { stackTraceLimit } = Error;
  // Errors are many here, and where they come from is the transcript's to tell.
  Error.stackTraceLimit = 0;
  try {
    // Wherever it was called from, the first event finds what the others do.
    await settle();
    await live();
    return null;
  } catch (error) {
    if (error instanceof Violation || error instanceof InvariantError) return error.message;
    throw error;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}
