// A cluster on GPUs, as far as that can be told without one: workers whose fake engine says that it is a GPU, and
// checks that decodes come in the buckets that were announced to it.
import assert from 'node:assert/strict';
import { generate as generateFrom } from '../../coordinator/engine/generate.js';
import type { RequestSpec } from '../../coordinator/requests/request-spec.js';
import { startProcesses, type FakeCluster } from '../support/fake-cluster.js';

const NUM_TOKENS = 5;
/** Room for what is kept in reserve on a GPU. */
const GPU = { memoryTotalBytes: 64 * 1024 ** 3 };

async function generate(cluster: FakeCluster): Promise<number> {
  const prompt: RequestSpec['prompt'] = { kind: 'tokens', tokenIds: Uint32Array.of(7, 8, 9), pictures: [] };
  const input: RequestSpec = { requestId: 'test', prompt, sampling: { maxTokens: NUM_TOKENS } };
  const generation = generateFrom(cluster.serving.engine, input, new AbortController().signal);
  let count = 0;
  for await (const delta of generation.deltas) count += delta.tokenIds.length;
  return count;
}

describe('a cluster of GPU workers', () => {
  let cluster: FakeCluster | null = null;
  afterEach(async () => {
    await cluster?.stop();
    cluster = null;
  });

  it('shares a GPU, decodes in graph buckets, and is not deterministic unless asked', async () => {
    // All on one GPU, so that a machine that has one does not refuse.
    cluster = await startProcesses({
      worldSize: 3,
      engine: GPU,
      config: { device: 'cuda', ranksPerDevice: 3 },
    });
    const { serving } = cluster;
    assert.deepEqual(
      serving.group.ranks.map(({ device }) => device),
      ['cuda:0', 'cuda:0', 'cuda:0'],
    );
    assert.equal(serving.group.collective, 'nccl');
    assert.equal(serving.model.deterministic, false);
    // Three at once: buckets of one, two and four rows.
    const counts = await Promise.all([1, 2, 3].map(() => generate(cluster!)));
    assert.deepEqual(counts, [NUM_TOKENS, NUM_TOKENS, NUM_TOKENS]);
  });

  it('runs eagerly and deterministically where that is asked for', async () => {
    cluster = await startProcesses({
      worldSize: 1,
      engine: GPU,
      config: { device: 'cuda', cudaGraphs: false, deterministic: true },
    });
    assert.equal(cluster.serving.model.deterministic, true);
    assert.equal(await generate(cluster), NUM_TOKENS);
  });
});
