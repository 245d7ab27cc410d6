// The faults of a seed: what strikes whom, and when.
import type { Random } from './random.js';

export interface Fault {
  readonly kind: 'kill' | 'pause' | 'pause-coordinator' | 'disconnect' | 'step-fails' | 'stall' | 'slow';
  readonly atMs: number;
  readonly worker: number;
  /** Of a pause, and of a step that is slow; until the restart of who was killed. */
  readonly forMs: number;
}

const KINDS = [
  'kill',
  'kill',
  'pause',
  'pause-coordinator',
  'disconnect',
  'disconnect',
  'step-fails',
  'stall',
  'slow',
] as const;
const LAST_MS = 4_000;

export function drawFaults(random: Random, worldSize: number): Fault[] {
  return Array.from({ length: random.pick([0, 1, 1, 2, 3, 5]) }, () => ({
    kind: random.pick(KINDS),
    // Most of what happens, happens early.
    atMs: random.chance(0.7) ? random.real(0, 1_200) : random.real(0, LAST_MS),
    worker: random.integer(0, worldSize - 1),
    forMs: random.chance(0.7) ? random.real(0, 1_000) : random.real(0, 45_000),
  }));
}
