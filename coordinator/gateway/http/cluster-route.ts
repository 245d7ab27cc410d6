// GET /cluster: what the cluster is and what happened in it, for the page and whoever else asks.
import type { ClusterReport } from '../../../common/cluster-report.js';
import { invalid } from '../request-checks.js';
import type { HttpServer } from './http-server.js';

/** `afterS`: seconds of the timeline up to it are not told again. */
export type ReportCluster = (afterS: number) => ClusterReport;

const SECONDS = /^\d{1,12}$/;

export function addClusterRoute(server: HttpServer, report: ReportCluster): void {
  server.get('/cluster', ({ query }, reply) => {
    const { after = '0' } = query as { readonly after?: unknown };
    if (typeof after !== 'string' || !SECONDS.test(after))
      throw invalid('after', 'must be whole seconds since 1970, as at_s of the timeline has them');
    return reply.header('cache-control', 'no-store').send(report(Number(after)));
  });
}
