// Whether somebody answers at a worker's address: asked once, of a worker that an epoch has blamed, before another is
// put in its place.
import type { OpenRankTransport } from '../executor/rank-transport.js';

/** Who needs longer is no worker to wait for: another epoch would wait for it too. */
const ANSWER_TIMEOUT_MS = 1_000;

export async function answers(address: string, openTransport: OpenRankTransport): Promise<boolean> {
  const transport = openTransport(address);
  try {
    await transport.describe(ANSWER_TIMEOUT_MS);
    return true;
  } catch {
    return false;
  } finally {
    transport.close();
  }
}
