// How deep JSON is nested, without recursion: what a client sends may be deeper than the stack.

/** `limit` 0: anything but a number, a text, true, false or null. */
export function isDeeperThan(value: unknown, limit: number): boolean {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    const next = level.flatMap((each) =>
      typeof each === 'object' && each !== null ? [Object.values(each) as unknown[]] : [],
    );
    if (next.length > 0 && depth >= limit) return true;
    level = next.flat();
  }
  return false;
}
