// The standard gRPC health service with the three questions that probes ask, as services of their own beside "" and the
// server's: `live` (the process answers), `startup` (it has been ready once), `ready` (it takes work now). It does not
// know what ready means.
import type * as grpc from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';

export type HealthStatus = 'SERVING' | 'NOT_SERVING';
export const PROBES = ['startup', 'ready', 'live'] as const;
export const HEALTH_SERVICE_NAME = 'grpc.health.v1.Health';

export class HealthServices {
  readonly #health: HealthImplementation;

  /** `services`: names that share the answer of "" beside the probes. All but `live` begin as NOT_SERVING. */
  constructor(services: readonly string[] = []) {
    const all = ['', ...services, 'startup', 'ready'].map((name) => [name, 'NOT_SERVING'] as const);
    this.#health = new HealthImplementation({ ...Object.fromEntries(all), live: 'SERVING' });
  }

  addToServer(server: grpc.Server): void {
    this.#health.addToServer(server);
  }

  /** The status of "" is that of `ready`, and the first SERVING ends the start. */
  setStatus(service: string, status: HealthStatus): void {
    this.#health.setStatus(service, status);
    if (service !== '') return;
    this.#health.setStatus('ready', status);
    if (status === 'SERVING') this.#health.setStatus('startup', 'SERVING');
  }
}
