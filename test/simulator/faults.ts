// The faults of a seed: what strikes whom, and when.
import type { Link } from './link.js';
import type { Random } from './random.js';

export const FAULT_KINDS = [
  'kill',
  'kill',
  'pause',
  'pause-coordinator',
  'disconnect',
  'disconnect',
  'step-fails',
  'stall',
  'slow',
  // Of the way to a worker: both directions, from it, to it.
  'cut',
  'mute',
  'deafen',
  'delay',
  // Of a message on its step stream.
  'double-plan',
  'swap-plans',
  'double-result',
  'swap-results',
] as const;

export type FaultKind = (typeof FAULT_KINDS)[number];

export interface Fault {
  readonly kind: FaultKind;
  readonly atMs: number;
  readonly worker: number;
  /** Of a pause, a cut and a delay, and of a step that is slow; until the restart of who was killed. */
  readonly forMs: number;
}

const LAST_MS = 4_000;
/** Of a way that is slowed. */
export const MAX_EXTRA_DELAY_MS = 300;

export function drawFaults(random: Random, worldSize: number): Fault[] {
  return Array.from({ length: random.pick([0, 1, 1, 2, 3, 5]) }, () => ({
    kind: random.pick(FAULT_KINDS),
    // Most of what happens, happens early.
    atMs: random.chance(0.7) ? random.real(0, 1_200) : random.real(0, LAST_MS),
    worker: random.integer(0, worldSize - 1),
    forMs: random.chance(0.7) ? random.real(0, 1_000) : random.real(0, 45_000),
  }));
}

const CUT_WAYS: Readonly<Partial<Record<FaultKind, readonly ('toWorker' | 'back')[]>>> = {
  cut: ['toWorker', 'back'],
  mute: ['back'],
  deafen: ['toWorker'],
};
const DISTURBED: Readonly<Partial<Record<FaultKind, readonly ['toWorker' | 'back', 'double' | 'swap']>>> = {
  'double-plan': ['toWorker', 'double'],
  'swap-plans': ['toWorker', 'swap'],
  'double-result': ['back', 'double'],
  'swap-results': ['back', 'swap'],
};

/** What a fault does to the way to a worker, or to a message on it. True: it lasts until it is mended. */
export function strikeLink({ kind }: Fault, link: Link, nowMs: number): boolean {
  const [way, what] = DISTURBED[kind] ?? [null, null];
  if (way !== null) {
    link[way].disturbance = what;
    return false;
  }
  const ways = CUT_WAYS[kind];
  if (ways !== undefined) link.cut(ways, nowMs);
  else link.toWorker.extraDelayMs = link.back.extraDelayMs = MAX_EXTRA_DELAY_MS;
  return true;
}
