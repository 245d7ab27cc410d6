// Which worker becomes which rank: one that holds a rank's weights already takes that rank, the others follow in the
// order in which they were given. Pure.
import { assert } from '../../common/assert.js';

/**
 * `heldHashes`: of each worker, the hash of the weights that it holds, empty for none. `wantedHashes`: of each rank, as
 * many. Returns the index of a worker for each rank.
 */
export function placeRanks(heldHashes: readonly string[], wantedHashes: readonly string[]): number[] {
  assert(heldHashes.length === wantedHashes.length, 'as many workers as ranks');
  const holders = new Map<string, number[]>();
  for (const [worker, hash] of heldHashes.entries()) {
    if (hash !== '') holders.set(hash, [...(holders.get(hash) ?? []), worker]);
  }
  const placed = wantedHashes.map((hash) => holders.get(hash)?.shift() ?? null);
  const taken = new Set(placed);
  const free = [...heldHashes.keys()].filter((worker) => !taken.has(worker));
  return placed.map((worker) => worker ?? free.shift()!);
}
