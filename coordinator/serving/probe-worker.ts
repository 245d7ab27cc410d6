// Whether somebody answers at a worker's address: asked once, of a worker that an epoch has blamed, before another is
// put in its place.
import { WORKER_PROBE_TIMEOUT_MS } from '../../common/limits.js';
import type { OpenRankTransport } from '../executor/rank-transport.js';

export async function answers(address: string, openTransport: OpenRankTransport): Promise<boolean> {
  const transport = openTransport(address);
  try {
    await transport.describe(WORKER_PROBE_TIMEOUT_MS);
    return true;
  } catch {
    return false;
  } finally {
    transport.close();
  }
}
