// Broken invariants: checks that are on in production too and mean a bug in Skein. They throw InvariantError, which
// nothing catches to go on: a process that meets one logs it and ends. Input is never asserted, only refused
// (errors.ts).

export class InvariantError extends Error {
  constructor(message: string) {
    super(`invariant broken: ${message}`);
    this.name = 'InvariantError';
  }
}

export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}

/** The value, where the program knows that it is there (an index that was checked, a key that was just set). */
export function assertDefined<T>(value: T | null | undefined, name: string): T {
  if (value === null || value === undefined) throw new InvariantError(`${name} is ${String(value)}`);
  return value;
}

/** Closes a switch over a union: the compiler refuses it while a case is missing. */
export function unreachable(value: never): never {
  throw new InvariantError(`unexpected value ${JSON.stringify(value)}`);
}
