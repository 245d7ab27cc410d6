// Goal: no chunk of a streamed chat carries reasoning and answer, though one message of the engine may: for OpenAI's
// own client, and as it stands on the wire.
import assert from 'node:assert/strict';
import type OpenAI from 'openai';
import type { ChatCompletionChunk, ChatCompletionMessageParam } from 'openai/resources/chat/completions.js';
import { MODEL, post, startHttpService, type HttpService } from './http-service.js';

type Delta = ChatCompletionChunk.Choice.Delta & { readonly reasoning_content?: string };

const WHY: ChatCompletionMessageParam[] = [{ role: 'user', content: 'Why?' }];

type ChatBody = Parameters<OpenAI['chat']['completions']['create']>[0];

/** By the official client. */
async function readChat(
  openai: OpenAI,
  body: ChatBody,
  options: { readonly headers: Record<string, string> },
): Promise<ChatCompletionChunk[]> {
  const chunks: ChatCompletionChunk[] = [];
  const stream = await openai.chat.completions.create({ ...body, stream: true }, options);
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

/** As they stand on the wire. */
async function readEvents(
  gateway: HttpService['gateway'],
  body: ChatBody,
  headers: Record<string, string>,
): Promise<ChatCompletionChunk[]> {
  const { text } = await post(gateway, '/v1/chat/completions', body, headers);
  const events = text.split('\n\n').filter((event) => event.startsWith('data: {'));
  return events.map((event) => JSON.parse(event.slice(6)) as ChatCompletionChunk);
}

describe('a streamed chat', () => {
  it('begins the answer in a chunk of its own, each with the log-probabilities of its tokens', async () => {
    const plain = await startHttpService();
    const { text } = plain.cluster.serving;
    const said = '<think>\nHm, é?</think>\n\nYes.';
    const answer = [...text.encodeText(said, { allowSpecial: true })];
    const scripted = await startHttpService({ engine: { stepMs: 0, answer } });
    try {
      const body = {
        ...{ model: MODEL, messages: WHY, max_tokens: answer.length, logprobs: true, top_logprobs: 2 },
        stream_options: { include_usage: true },
      };
      const headers = { 'idempotency-key': 'once' };
      // Whoever joins an answer that is there gets all of it as one message of the engine's.
      const streams: ChatCompletionChunk[][] = [];
      for (let call = 0; call < 2; call += 1)
        streams.push(await readChat(scripted.openai, body, { headers }));
      streams.push(
        await readChat(scripted.openai, { ...body, include_reasoning: false } as typeof body, { headers }),
        await readEvents(scripted.gateway, { ...body, stream: true }, headers),
      );
      for (const [index, chunks] of streams.entries()) {
        const choices = chunks.flatMap((chunk) => chunk.choices);
        const deltas = choices.map(({ delta }) => delta as Delta);
        for (const { reasoning_content: reasoning = '', content } of deltas)
          assert.ok(reasoning === '' || content === undefined, `${reasoning} and ${content}`);
        assert.equal(deltas.map(({ content }) => content ?? '').join(''), 'Yes.');
        const reasoning = deltas.map((delta) => delta.reasoning_content ?? '').join('');
        assert.equal(reasoning, index === 2 ? '' : 'Hm, é?');
        const tokens = choices.flatMap(({ logprobs }) => logprobs?.content ?? []);
        assert.equal(Buffer.from(tokens.flatMap(({ bytes }) => bytes!)).toString(), said);
        assert.ok(tokens.every(({ top_logprobs: top }) => top.length === 2));
        assert.deepEqual(
          choices.map((choice) => choice.finish_reason),
          [...choices.slice(1).map(() => null), 'length'],
        );
        assert.ok(chunks.slice(0, -1).every(({ usage }) => usage === null));
        assert.equal(chunks.at(-1)!.usage!.completion_tokens, answer.length);
      }
      for (const index of [1, 3]) {
        const choices = streams[index]!.flatMap((chunk) => chunk.choices);
        const spelt = choices.map(({ logprobs }) =>
          Buffer.from((logprobs?.content ?? []).flatMap(({ bytes }) => bytes!)).toString(),
        );
        assert.deepEqual(spelt, ['', '<think>\nHm, é?</think>', '\n\nYes.', '']);
      }
    } finally {
      await scripted.stop();
      await plain.stop();
    }
  });
});
