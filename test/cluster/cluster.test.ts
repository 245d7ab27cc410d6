// Goal: a group of ranks answers, refuses and fails as promised. The same tests run against workers in this process
// (over TCP) and against child processes (over Unix sockets); the engine is a fake whose answers are known.
import assert from 'node:assert/strict';
import { AppError } from '../../common/errors.js';
import type { RequestSpec } from '../../coordinator/requests/request-spec.js';
import { emptyDelta, mergeDeltas } from '../../coordinator/requests/generation.js';
import { generate as generateFrom } from '../../coordinator/engine/generate.js';
import { FAKE_END_TOKEN, FAKE_LENGTH_TOKEN, fakeNextToken } from '../support/fake-model.js';
import {
  startInProcess,
  startProcesses,
  type FakeCluster,
  type FakeClusterOptions,
} from '../support/fake-cluster.js';

const code = (expected: string) => (error: unknown) => error instanceof AppError && error.code === expected;

function tokensInput(tokenIds: readonly number[], sampling: RequestSpec['sampling'] = {}): RequestSpec {
  return {
    requestId: 'test',
    prompt: { kind: 'tokens', tokenIds: Uint32Array.from(tokenIds), pictures: [] },
    sampling,
  };
}

/** What the fake model answers to these ids. */
function expectedIds(prompt: readonly number[], count: number): number[] {
  const ids = [...prompt];
  while (ids.length < prompt.length + count) ids.push(fakeNextToken(ids, prompt.length));
  return ids.slice(prompt.length);
}

async function generate(cluster: FakeCluster, input: RequestSpec, signal = new AbortController().signal) {
  const total = emptyDelta();
  for await (const delta of generateFrom(cluster.serving.engine, input, signal).deltas)
    mergeDeltas(total, delta);
  return total;
}

async function until(condition: () => boolean, what: string, timeoutMs = 5_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!condition()) {
    if (Date.now() > deadline) assert.fail(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

for (const [kind, start] of [
  ['workers of this process', startInProcess],
  ['child processes', startProcesses],
] as const) {
  describe(`a cluster of ${kind}`, function () {
    let cluster: FakeCluster | null = null;
    const use = async (options: FakeClusterOptions): Promise<FakeCluster> => (cluster = await start(options));

    afterEach(async () => {
      await cluster?.stop();
      cluster = null;
    });

    it('answers at world sizes 1 and 3, the same', async () => {
      for (const worldSize of [1, 3]) {
        const used = await use({ worldSize });
        const total = await generate(used, tokensInput([5, 6, 7], { maxTokens: 20 }));
        assert.deepEqual(total.tokenIds, expectedIds([5, 6, 7], 20));
        assert.equal(total.end?.finishReason, 'length');
        await until(() => used.serving.cluster().numRunning === 0, 'nothing runs');
        assert.equal(used.serving.cluster().numFreeKvBlocks, used.serving.cluster().numKvBlocks);
        await used.stop();
      }
    });

    it('ends at an end token, at a stop token, and not with ignore_eos', async () => {
      const used = await use({ worldSize: 2 });
      const prompt = [FAKE_LENGTH_TOKEN, 6, 9];
      const expected = expectedIds(prompt, 7);
      assert.equal(expected[6], FAKE_END_TOKEN);
      const stopped = await generate(
        used,
        tokensInput(prompt, { maxTokens: 50, stopTokenIds: [FAKE_END_TOKEN] }),
      );
      assert.deepEqual([stopped.tokenIds, stopped.end?.finishReason], [expected, 'stop']);
      const ignored = await generate(used, tokensInput(prompt, { maxTokens: 9, ignoreEos: true }));
      assert.equal(ignored.tokenIds.length, 9);
    });

    it('gives each of 24 requests at once what it would get alone', async () => {
      const used = await use({ worldSize: 2, config: { kvCacheBytes: 24 * 4096 } });
      const prompts = Array.from({ length: 24 }, (_, index) =>
        Array.from({ length: 3 + ((index * 13) % 60) }, (_unused, place) => 5 + ((index * 7 + place) % 80)),
      );
      const totals = await Promise.all(
        prompts.map((prompt) => generate(used, tokensInput(prompt, { maxTokens: 40 }))),
      );
      totals.forEach((total, index) => assert.deepEqual(total.tokenIds, expectedIds(prompts[index]!, 40)));
      await until(() => used.serving.cluster().numRunning === 0, 'nothing runs');
      assert.equal(used.serving.cluster().numFreeKvBlocks, 24);
    });

    it('returns the log-probabilities that were asked for', async () => {
      const used = await use({ worldSize: 2 });
      const total = await generate(used, tokensInput([5, 6], { maxTokens: 4, topLogprobs: 3 }));
      assert.equal(total.logprobs.length, 4);
      assert.deepEqual(
        total.logprobs.map(({ topIds }) => topIds[0]),
        total.tokenIds,
      );
      assert.deepEqual([total.logprobs[0]?.topIds.length, total.logprobs[0]?.logprob], [3, -0.25]);
    });

    it('ends a cancelled request at the next step and frees what it held', async () => {
      const used = await use({ worldSize: 2, engine: { stepMs: 5 } });
      const controller = new AbortController();
      const running = generate(used, tokensInput([5, 6, 7], { maxTokens: 200 }), controller.signal);
      running.catch(() => undefined);
      await until(() => used.serving.cluster().steps > 5, 'some steps');
      controller.abort(new AppError('CANCELLED', 'enough'));
      await assert.rejects(running, code('CANCELLED'));
      const stepsAtCancel = used.serving.cluster().steps;
      await until(
        () => used.serving.cluster().numFreeKvBlocks === used.serving.cluster().numKvBlocks,
        'blocks are free',
      );
      assert.ok(used.serving.cluster().steps <= stepsAtCancel + 1);
      assert.equal(used.serving.engine.requests.size, 0);
    });

    it('refuses bad sampling options and prompts that do not fit, naming them', async () => {
      const used = await use({ worldSize: 1 });
      const refused: [RequestSpec, string, RegExp][] = [
        [tokensInput([5], { temperature: NaN }), 'INVALID_REQUEST', /temperature/],
        [tokensInput([]), 'INVALID_REQUEST', /empty/],
        [tokensInput([5, 100_000]), 'INVALID_REQUEST', /100000/],
        [tokensInput([5], { topP: 0 }), 'INVALID_REQUEST', /top_p/],
        // 0 in the ranks' precision.
        [tokensInput([5], { topP: 1e-50 }), 'INVALID_REQUEST', /top_p/],
        [tokensInput([5], { repetitionPenalty: 1e-60 }), 'INVALID_REQUEST', /repetition_penalty/],
        [tokensInput([5], { maxTokens: 0 }), 'INVALID_REQUEST', /max_tokens/],
        [tokensInput([5], { topLogprobs: 21 }), 'INVALID_REQUEST', /top_logprobs.*20/],
        [tokensInput([5], { stopTokenIds: [1_000_000] }), 'INVALID_REQUEST', /stop_token_ids/],
        [tokensInput([5], { stop: [''] }), 'INVALID_REQUEST', /stop/],
        [tokensInput([5], { maxTokens: 1_000_000 }), 'CONTEXT_LENGTH_EXCEEDED', /1000000/],
        [tokensInput(Array.from({ length: 100_000 }, () => 5)), 'CONTEXT_LENGTH_EXCEEDED', /100000 tokens/],
      ];
      for (const [input, expected, message] of refused) {
        await assert.rejects(
          generate(used, input),
          (error: unknown) => code(expected)(error) && message.test(String(error)),
        );
      }
      assert.equal(used.serving.engine.requests.size, 0);
    });

    it('ends every request with the error of the rank that failed', async () => {
      const used = await use({ worldSize: 2, engines: { 1: { failAtStep: 6 } } });
      const requests = [5, 6].map((first) => generate(used, tokensInput([first], { maxTokens: 50 })));
      // A worker process whose device failed ends with it: which of the two is heard first is chance, and both say why.
      const ofTheDevice = (error: unknown): boolean =>
        error instanceof AppError &&
        (error.code === 'DEVICE_ERROR' ||
          (error.code === 'WORKER_LOST' && /the device failed/.test(error.message)));
      for (const request of requests) await assert.rejects(request, ofTheDevice);
      assert.ok(ofTheDevice(await used.serving.ended));
      await assert.rejects(generate(used, tokensInput([5])), ofTheDevice);
    });

    it('ends the epoch when ranks sample different tokens', async () => {
      const used = await use({ worldSize: 3, engines: { 2: { disagreeAtStep: 4 } } });
      await assert.rejects(generate(used, tokensInput([5], { maxTokens: 50 })), code('RANKS_DISAGREE'));
    });

    it('ends the epoch when a step passes its deadline', async () => {
      const used = await use({
        worldSize: 2,
        engines: { 0: { hangAtStep: 5 } },
        config: { stepTimeoutMs: 300 },
      });
      await assert.rejects(generate(used, tokensInput([5], { maxTokens: 50 })), code('STEP_TIMEOUT'));
    });

    it('fails to start with the error of the rank that cannot load', async () => {
      await assert.rejects(
        use({ worldSize: 2, engines: { 1: { failLoad: true } } }),
        code('CORRUPT_WEIGHTS'),
      );
    });

    it('refuses ranks of different classes of instruction set', async () => {
      await assert.rejects(
        use({ worldSize: 2, engines: { 1: { instructionClass: 'avx2' } } }),
        code('JOIN_REJECTED'),
      );
    });

    it('refuses a KV cache beyond the free memory, with the numbers', async () => {
      await assert.rejects(
        use({ worldSize: 1, config: { kvCacheBytes: 2 ** 28 } }),
        (error: unknown) => code('DEVICE_OUT_OF_MEMORY')(error) && /67108864/.test(String(error)),
      );
    });

    it('refuses to load what the devices cannot hold, with the numbers', async () => {
      await assert.rejects(
        use({ worldSize: 2, engine: { memoryTotalBytes: 2 ** 20, failLoad: true } }),
        (error: unknown) =>
          code('DEVICE_OUT_OF_MEMORY')(error) &&
          /rank 0 needs .* for weights, .* has 0\.5 MiB/.test(String(error)),
      );
    });

    it('drains: finishes what runs, refuses what comes', async () => {
      const used = await use({ worldSize: 2, engine: { stepMs: 2 } });
      const running = generate(used, tokensInput([5, 6, 7], { maxTokens: 30 }));
      await until(() => used.serving.cluster().steps > 2, 'some steps');
      const drained = used.serving.engine.drain();
      await assert.rejects(generate(used, tokensInput([5])), code('DRAINING'));
      assert.equal((await running).tokenIds.length, 30);
      await drained;
    });
  });
}
