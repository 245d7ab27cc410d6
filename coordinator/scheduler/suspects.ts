// Sequences that may be what ended an epoch: the prefill of each is computed apart from those of others. Decodes go on
// beside it.
import type { Draft } from './draft.js';
import type { PlansInFlight } from './plans-in-flight.js';
import type { Sequence } from './sequence.js';

/**
 * Whether the sequence may be admitted beside the prefills that are planned, under way, or between two of their chunks.
 */
export function mayBeginPrefill(
  sequence: Sequence,
  running: readonly Sequence[],
  draft: Draft,
  inFlight: PlansInFlight,
): boolean {
  const others = inFlight.prefilling();
  for (const row of draft.rows) if (row.isPrefill) others.add(row.sequence);
  for (const other of running) if (!other.hasSampled) others.add(other);
  if (others.size === 0) return true;
  return !isSuspect(sequence) && ![...others].some(isSuspect);
}

function isSuspect({ request }: Sequence): boolean {
  return request.prefillsAlone === true;
}
