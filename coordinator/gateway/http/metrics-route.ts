// /metrics, for Prometheus.
import type { HttpServer } from './http-server.js';

export interface MetricsSource {
  readonly contentType: string;
  text(): Promise<string>;
}

export function addMetricsRoute(server: HttpServer, metrics: MetricsSource): void {
  server.get('/metrics', async (_request, reply) => {
    const text = await metrics.text();
    return reply.header('content-type', metrics.contentType).send(text);
  });
}
