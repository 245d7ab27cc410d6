// The bundled model on two ranks, asked by OpenAI's client through `skein serve`: the answers are those that the gRPC
// service gives.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { GenerateResponse__Output } from '../../proto/ts/skein/inference/v1/GenerateResponse.js';
import type { GenerateOnceResponse__Output } from '../../proto/ts/skein/inference/v1/GenerateOnceResponse.js';
import { repoPath } from '../support/paths.js';
import { ServedApis } from '../support/served-apis.js';

const NANO = repoPath('models', 'r1v-nano');

interface Question {
  readonly question: string;
  readonly picture: string;
}

describe("r1v-nano over OpenAI's API", function () {
  this.timeout(120_000);
  let served: ServedApis;
  let openai: ServedApis['openai'];
  let client: ServedApis['client'];

  before(async () => {
    served = await ServedApis.start(['--model', NANO, '--tensor-parallel-size', '2']);
    ({ openai, client } = served);
  });
  after(() => served?.stop());

  it('reasons and answers about pictures as over gRPC, streamed and whole, one and several', async () => {
    const questions = (
      JSON.parse(readFileSync(path.join(NANO, 'evaluation', 'questions.json'), 'utf8')) as Question[]
    ).filter((_, index) => index % 100 === 0);
    assert.ok(questions.length >= 3);
    await Promise.all(
      questions.map(async ({ question, picture }) => {
        const data = readFileSync(path.join(NANO, 'evaluation', picture));
        const request = { text: question, pictures: [{ data }], sampling: { maxTokens: 200 } };
        const expected = await new Promise<GenerateOnceResponse__Output>((resolve, reject) => {
          client.generateOnce({ request }, (error, value) =>
            error === null ? resolve(value!) : reject(error),
          );
        });
        const url = `data:image/png;base64,${data.toString('base64')}`;
        const body = {
          model: 'r1v-nano',
          max_completion_tokens: 200,
          messages: [
            {
              role: 'user' as const,
              content: [
                { type: 'image_url' as const, image_url: { url } },
                { type: 'text' as const, text: question },
              ],
            },
          ],
        };
        const { choices, usage } = await openai.chat.completions.create({ ...body, n: 2 });
        assert.equal(choices.length, 2);
        for (const { message, finish_reason: reason } of choices) {
          const { reasoning_content: reasoning } = message as { reasoning_content?: string };
          assert.deepEqual(
            [message.content, reasoning, reason],
            [expected.answer, expected.reasoning, 'stop'],
          );
        }
        assert.ok(expected.reasoning !== '' && expected.answer !== '');
        assert.equal(usage!.prompt_tokens, expected.usage!.promptTokens);
        assert.ok(usage!.prompt_tokens_details!.cached_tokens! > 0);
        let answer = '';
        for await (const chunk of await openai.chat.completions.create({ ...body, stream: true }))
          answer += chunk.choices[0]?.delta.content ?? '';
        assert.equal(answer, expected.answer);
      }),
    );
  });

  it('draws several answers over gRPC as over HTTP, streamed and whole', async () => {
    const sampling = { temperature: 3, maxTokens: 16, seed: 7 };
    const request = { text: 'What is it?', n: 4, sampling };
    const whole = await new Promise<GenerateOnceResponse__Output>((resolve, reject) => {
      client.generateOnce({ request }, (error, value) => (error === null ? resolve(value!) : reject(error)));
    });
    const answers = [whole, ...whole.otherAnswers].map(({ reasoning, answer }) => [reasoning, answer]);
    assert.equal(new Set(answers.map(String)).size, 4, 'each draws its own');
    const { choices } = await openai.chat.completions.create({
      ...{ model: 'r1v-nano', temperature: 3, max_completion_tokens: 16, seed: 7, n: 4 },
      messages: [{ role: 'user', content: 'What is it?' }],
    });
    const overHttp = choices.map(({ message }) => [
      (message as { reasoning_content?: string }).reasoning_content ?? '',
      message.content ?? '',
    ]);
    assert.deepEqual(answers, overHttp);
    const streamed = Array.from({ length: 4 }, () => ['', '']);
    for await (const delta of client.generate(request) as AsyncIterable<GenerateResponse__Output>) {
      streamed[delta.index]![0] += delta.reasoningDelta;
      streamed[delta.index]![1] += delta.answerDelta;
    }
    assert.deepEqual(streamed, answers);
  });

  it('takes a seed of 64 bits over HTTP as over gRPC, to the last of them', async () => {
    const overGrpc = async (seed: string): Promise<string> => {
      const request = { text: 'What is it?', sampling: { temperature: 3, maxTokens: 16, seed } };
      const { text } = await new Promise<GenerateOnceResponse__Output>((resolve, reject) => {
        client.generateOnce({ request }, (error, value) =>
          error === null ? resolve(value!) : reject(error),
        );
      });
      return text;
    };
    const overHttp = async (seed: string): Promise<string> => {
      const messages = [{ role: 'user', content: 'What is it?' }];
      const others = JSON.stringify({ messages, temperature: 3, max_tokens: 16 });
      // By hand: a number of JavaScript would be rounded.
      const body = others.replace(/\}$/, `,"seed":${seed}}`);
      const response = await fetch(`${openai.baseURL}/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      });
      const { choices } = (await response.json()) as { choices: { message: object }[] };
      const { content, reasoning_content: reasoning = '' } = choices[0]!.message as {
        content: string | null;
        reasoning_content?: string;
      };
      return reasoning + (content ?? '');
    };
    const seeds = ['9007199254740992', '9007199254740993', '18446744073709551615'];
    const answers = await Promise.all(seeds.map(overGrpc));
    assert.equal(new Set(answers).size, seeds.length, 'seeds that JSON.parse takes for one differ');
    assert.deepEqual(await Promise.all(seeds.map(overHttp)), answers);
    assert.equal(await overHttp('-1'), answers.at(-1));
  });

  it('draws other answers for each choice, and the same again with the same seed', async () => {
    const draw = async (seed: number): Promise<string[]> => {
      const prompt = 'What is';
      const { choices } = await openai.completions.create({
        ...{ model: 'r1v-nano', prompt, max_tokens: 12, temperature: 5, n: 4, seed },
      });
      return choices.map(({ text }) => text);
    };
    const first = await draw(7);
    assert.equal(new Set(first).size, 4, first.join('\n'));
    assert.deepEqual(await draw(7), first);
    assert.notDeepEqual(await draw(8), first);
  });
});
