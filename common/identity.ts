// Names of processes and deployments: what tells one coordinator, or one worker, from another that took its place.
import { AppError } from './errors.js';

/** Of deployments that were given no name. */
export const DEFAULT_CLUSTER_ID = 'default';
const CLUSTER_ID_PATTERN = /^[A-Za-z0-9._-]{1,64}$/;

const RANDOM_VALUES = 4096;

/**
 * Of a process: the milliseconds of its start, and chance below them. A later process has a higher one, as long as the
 * clock of its host is not set back; two that start in one millisecond differ.
 */
export function newIncarnation(): number {
  return Date.now() * RANDOM_VALUES + Math.floor(Math.random() * RANDOM_VALUES);
}

export function startMsOf(incarnation: number): number {
  return Math.floor(incarnation / RANDOM_VALUES);
}

export function checkClusterId(clusterId: string): string {
  if (CLUSTER_ID_PATTERN.test(clusterId)) return clusterId;
  throw new AppError(
    'INVALID_REQUEST',
    `--cluster-id "${clusterId.slice(0, 100)}": expected 1 to 64 letters, digits, dots, dashes or underscores`,
    { details: { param: 'cluster-id' } },
  );
}
