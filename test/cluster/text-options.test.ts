// What a checkpoint's files and the flags say about text, seen from a client of a real engine: sampling defaults,
// special tokens, and where the reasoning begins. The bundled model, with a generation_config.json of the test's own.
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { SamplingInput } from '../../common/sampling.js';
import { generateWhole } from '../../coordinator/engine/generate.js';
import { toGenerateOnceResponse, toGetModelResponse } from '../../coordinator/gateway/inference-messages.js';
import type { PromptInput } from '../../coordinator/requests/request-spec.js';
import { installedWorkerEntry } from '../../coordinator/serving/worker-entry.js';
import { Serving } from '../../coordinator/serving/serving.js';
import type { ClusterConfig } from '../../coordinator/config.js';
import type { GenerateOnceResponse } from '../../proto/ts/skein/inference/v1/GenerateOnceResponse.js';
import { fakeConfig, silentLogger } from '../support/fake-cluster.js';
import { repoPath } from '../support/paths.js';

const NANO = repoPath('models', 'r1v-nano');
const [IMG_ID, THINK_END_ID] = [605, 609];
const MAX_MODEL_LENGTH = 64;

const CHAT: PromptInput = {
  kind: 'chat',
  messages: [{ role: 'user', parts: [{ type: 'text', text: 'What is 3 + 4?' }] }],
};

describe('text options', function () {
  this.timeout(60_000);
  let folder: string;

  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'skein-test-'));
    for (const name of ['config.json', 'tokenizer.json', 'tokenizer_config.json'])
      cpSync(path.join(NANO, name), path.join(folder, name));
    symlinkSync(path.join(NANO, 'model.safetensors'), path.join(folder, 'model.safetensors'));
    writeFileSync(
      path.join(folder, 'generation_config.json'),
      JSON.stringify({
        ...{ do_sample: true, temperature: 0.75, top_k: 20, top_p: 0.5, repetition_penalty: 1.25 },
        ...{ max_new_tokens: 5, eos_token_id: [604, 602] },
      }),
    );
  });
  after(() => rmSync(folder, { recursive: true }));

  async function serve(
    changes: Partial<ClusterConfig>,
    use: (serving: Serving, ask: Ask) => Promise<void>,
  ): Promise<void> {
    const serving = await Serving.start({
      config: {
        ...fakeConfig({ worldSize: 1 }),
        model: folder,
        maxModelLength: MAX_MODEL_LENGTH,
        ...changes,
      },
      logger: silentLogger,
      workerEntry: installedWorkerEntry,
      onProgress: () => undefined,
      signal: new AbortController().signal,
    });
    try {
      await use(serving, async (prompt, sampling) => {
        const input = { requestId: 'x', prompt, sampling };
        return toGenerateOnceResponse([
          await generateWhole(serving.engine, input, new AbortController().signal),
        ]);
      });
    } finally {
      await serving.stop();
    }
  }
  type Ask = (prompt: PromptInput, sampling: SamplingInput) => Promise<GenerateOnceResponse>;

  it("come from the checkpoint's generation_config.json", async () => {
    await serve({}, async (serving, ask) => {
      assert.deepEqual(toGetModelResponse(serving.model).defaultSampling, {
        ...{ temperature: 0.75, topK: 20, topP: 0.5, minP: 0, repetitionPenalty: 1.25 },
        ...{ presencePenalty: 0, frequencyPenalty: 0, minTokens: 0, maxTokens: 5, skipSpecialTokens: true },
      });
      const own = { temperature: 0.75, topK: 20, topP: 0.5, repetitionPenalty: 1.25, maxTokens: 5 };
      const absent = await ask(CHAT, { seed: 7n });
      assert.equal(absent.tokenIds?.length, 5);
      assert.deepEqual(absent.tokenIds, (await ask(CHAT, { seed: 7n, ...own })).tokenIds);
      // The default of max_tokens gives way to the context; one that is asked for is refused.
      const long: PromptInput = {
        kind: 'tokens',
        tokenIds: new Uint32Array(MAX_MODEL_LENGTH - 2).fill(7),
        pictures: [],
      };
      assert.equal((await ask(long, { ignoreEos: true })).tokenIds?.length, 2);
      await assert.rejects(ask(long, { maxTokens: 5 }), { code: 'CONTEXT_LENGTH_EXCEEDED' });
    });
  });

  it('spell special tokens where a request asks for them', async () => {
    await serve({ generationConfig: 'none' }, async (serving, ask) => {
      assert.equal(toGetModelResponse(serving.model).defaultSampling?.temperature, 0);
      const always = (id: number): SamplingInput => ({ maxTokens: 2, logitBias: new Map([[id, 100]]) });
      const skipped = await ask(CHAT, always(IMG_ID));
      assert.deepEqual(skipped.tokenIds, [IMG_ID, IMG_ID]);
      assert.equal(skipped.text, '');
      const spelt = await ask(CHAT, { ...always(IMG_ID), skipSpecialTokens: false });
      assert.deepEqual([spelt.text, spelt.reasoning, spelt.answer], ['<img><img>', '<img><img>', '']);
      const ended = await ask(CHAT, { ...always(THINK_END_ID), skipSpecialTokens: false });
      assert.deepEqual([ended.reasoning, ended.answer], ['', '</think>']);
    });
  });

  it('say where the reasoning begins', async () => {
    const tokens: PromptInput = { kind: 'tokens', tokenIds: Uint32Array.of(7, 7, 7), pictures: [] };
    for (const [reasoningStart, isReasoning] of [
      ['always', true],
      ['prompt', false],
    ] as const) {
      await serve({ reasoningStart, generationConfig: 'none' }, async (_, ask) => {
        const { text, reasoning, answer } = await ask(tokens, { maxTokens: 4, ignoreEos: true });
        assert.ok(text !== '');
        assert.deepEqual([reasoning !== '', answer !== ''], [isReasoning, !isReasoning]);
      });
    }
  });
});
