// The page's conversation without a browser: what is sent, how an answer grows and ends, what is said of it aloud, and
// what stands in the panel of settings.
import assert from 'node:assert/strict';
import { ApiError, type ChatCall, type ChatDelta } from '../../../page/logic/api.js';
import { ChatSession } from '../../../page/logic/chat-session.js';
import {
  addText,
  endAnswer,
  newAnswer,
  toMessages,
  type Exchange,
} from '../../../page/logic/conversation.js';
import { errorText } from '../../../page/logic/error-text.js';
import { hasProblem, MAIN_FIELDS, samplingProblem, toSampling } from '../../../page/logic/sampling-fields.js';
import { eventData } from '../../../page/logic/server-events.js';
import { newSentences, type Spoken } from '../../../page/logic/spoken.js';

type Script = (call: ChatCall) => AsyncGenerator<ChatDelta>;

function sessionOver(...scripts: Script[]): { session: ChatSession; calls: ChatCall[] } {
  const calls: ChatCall[] = [];
  let nowMs = 0;
  const session = new ChatSession({
    api: {
      chat(call) {
        calls.push(call);
        return scripts[calls.length - 1]!(call);
      },
    },
    nowMs: () => (nowMs += 10),
    settings: () => ({ systemPrompt: '', sampling: { seed: 7 } }),
  });
  return { session, calls };
}

const says = (...texts: string[]): Script =>
  async function* () {
    yield { kind: 'text', reasoning: 'hm', answer: '' };
    for (const answer of texts) yield { kind: 'text', reasoning: '', answer };
    yield { kind: 'finish', reason: 'stop' };
    yield { kind: 'usage', usage: { promptTokens: 3, completionTokens: 4, cachedTokens: 1 } };
  };

const fails = (error: unknown): Script =>
  async function* () {
    throw error;
  };

const ask = (text: string) => ({ text, pictures: [] });

describe('a conversation of the page', () => {
  it('asks with what was said before, and takes an answer with its reasoning, usage and times', async () => {
    const { session, calls } = sessionOver(says('a', 'b'), says('c'));
    let numChanges = 0;
    session.observe(() => (numChanges += 1));
    await session.ask(ask('one'));
    await session.ask(ask('two'));
    assert.deepEqual(calls[1]!.messages, [
      { role: 'user', content: 'one' },
      { role: 'assistant', content: 'ab' },
      { role: 'user', content: 'two' },
    ]);
    assert.deepEqual(calls[0]!.sampling, { seed: 7 });
    const [{ answer }] = session.exchanges as [Exchange];
    assert.deepEqual(
      [answer.status, answer.reasoning, answer.text, answer.finishReason],
      ['complete', 'hm', 'ab', 'stop'],
    );
    assert.deepEqual(answer.usage, { promptTokens: 3, completionTokens: 4, cachedTokens: 1 });
    const { sentMs, firstTokenMs, firstAnswerMs, endMs } = answer.times;
    assert.ok(sentMs < firstTokenMs! && firstTokenMs! < firstAnswerMs! && firstAnswerMs! < endMs!);
    assert.ok(numChanges > 8);
  });

  it('stops, keeps what had arrived, and asks one thing at a time', async () => {
    const { session, calls } = sessionOver(async function* ({ signal }) {
      yield { kind: 'text', reasoning: '', answer: 'begun' };
      await new Promise((_resolve, reject) =>
        signal.addEventListener('abort', () => reject(new Error('aborted'))),
      );
    });
    const asked = session.ask(ask('one'));
    await new Promise((resolve) => setImmediate(resolve));
    await session.ask(ask('meanwhile'));
    assert.ok(session.isRunning);
    session.stop();
    await asked;
    assert.ok(!session.isRunning);
    assert.equal(calls.length, 1);
    const [{ answer }] = session.exchanges as [Exchange];
    assert.deepEqual([answer.status, answer.text, answer.error], ['stopped', 'begun', null]);
  });

  it('asks again and asks something else, without what came after', async () => {
    const { session, calls } = sessionOver(says('a'), says('b'), says('c'), says('d'));
    await session.ask(ask('one'));
    await session.ask(ask('two'));
    await session.again(session.exchanges[0]!.id);
    assert.deepEqual(calls[2]!.messages, [{ role: 'user', content: 'one' }]);
    assert.equal(session.exchanges.length, 1);
    await session.edit(session.exchanges[0]!.id, ask('other'));
    assert.deepEqual(calls[3]!.messages, [{ role: 'user', content: 'other' }]);
    session.clear();
    assert.deepEqual(session.exchanges, []);
  });

  it('tells an error in plain words, and does not send again what failed at once', async () => {
    const refusal = new ApiError('9 requests wait already; the limit is 9', {
      ...{ code: 'queue_full', status: 429, retryAfterMs: 1000, requestId: 'r1' },
    });
    const { session, calls } = sessionOver(fails(refusal), says('a'));
    await session.ask(ask('one'));
    const { answer } = session.exchanges[0]!;
    assert.equal(answer.status, 'failed');
    assert.deepEqual(answer.error, {
      title: 'The server is busy',
      advice: 'It holds as many requests as it takes at once.',
      message: '9 requests wait already; the limit is 9',
      code: 'queue_full',
      requestId: 'r1',
      retryAfterMs: 1000,
    });
    await session.ask(ask('two'));
    assert.deepEqual(calls[1]!.messages, [{ role: 'user', content: 'two' }]);
  });

  it('has words for errors that nobody foresaw', () => {
    assert.match(errorText(new ApiError('x', { code: 'http_502', status: 502 })).title, /502/);
    assert.equal(errorText(new TypeError('y is undefined')).message, 'y is undefined');
    const lost = errorText(new ApiError('z', { code: 'connection_lost', status: 0 }));
    assert.deepEqual([lost.message, lost.retryAfterMs], ['', 0]);
  });

  it('sends pictures before the text, and a system prompt first', () => {
    const picture = { id: 1, name: 'a.png', numBytes: 3, dataUrl: 'data:image/png;base64,AAAA' };
    const part = { type: 'image_url', image_url: { url: picture.dataUrl } };
    assert.deepEqual(toMessages('Be brief.', [], { text: 'what?', pictures: [picture] }), [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: [part, { type: 'text', text: 'what?' }] },
    ]);
    assert.deepEqual(toMessages(' ', [], { text: '', pictures: [picture] }), [
      { role: 'user', content: [part] },
    ]);
  });
});

describe('what is said aloud of an answer', () => {
  it('is every paragraph once, when it is whole, and how it ended', () => {
    const said: string[] = [];
    let spoken: Spoken | null = null;
    let answer = newAnswer(0);
    const hear = (): void => {
      const [sentences, now] = newSentences(answer, spoken);
      said.push(...sentences);
      spoken = now;
    };
    for (const [reasoning, text] of [
      ['hm', ''],
      ['m', ''],
      ['', 'One pa'],
      ['', 'ragraph.\n'],
      ['', '\nAnother'],
      ['', ' one.\n\n'],
      ['', 'Last'],
    ] as const) {
      answer = addText(answer, reasoning, text, 1);
      hear();
    }
    answer = endAnswer(answer, { status: 'complete' }, 2);
    hear();
    hear();
    const expected = [
      'The model is reasoning.',
      'One paragraph.',
      'Another one.',
      'Last',
      'End of the answer.',
    ];
    assert.deepEqual(said, expected);
  });
});

describe('the settings of answers', () => {
  it('send what was filled in, as numbers, and nothing else', () => {
    const texts = { temperature: '0.7', seed: ' 12 ', top_k: '', stop: 'END\n\nSTOP' };
    assert.deepEqual(toSampling(texts), { temperature: 0.7, seed: 12, stop: ['END', 'STOP'] });
    assert.deepEqual(toSampling({}), {});
  });

  it('say what is wrong with a field', () => {
    const field = (name: string) => MAIN_FIELDS.find((each) => each.name === name)!;
    assert.match(samplingProblem(field('temperature'), 'hot')!, /number/);
    assert.match(samplingProblem(field('temperature'), '-1')!, /0 or more/);
    assert.match(samplingProblem(field('top_p'), '0')!, /above 0/);
    assert.match(samplingProblem(field('top_p'), '1.1')!, /1 or less/);
    assert.match(samplingProblem(field('seed'), '1.5')!, /whole/);
    assert.equal(samplingProblem(field('seed'), ''), null);
    assert.ok(hasProblem({ seed: '1.5' }) && hasProblem({ stop: 'x\n'.repeat(17) }));
    assert.ok(!hasProblem({ seed: '1', stop: 'x' }));
  });
});

describe('server-sent events', () => {
  async function read(bytes: Uint8Array, chunkBytes: number): Promise<string[]> {
    let at = 0;
    const stream = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (at >= bytes.length) controller.close();
        else controller.enqueue(bytes.subarray(at, (at += chunkBytes)));
      },
    });
    const found: string[] = [];
    for await (const data of eventData(stream)) found.push(data);
    return found;
  }

  it('are the same however they are cut', async () => {
    const bytes = new TextEncoder().encode(
      ': hello\n\ndata: {"a":"ü€𝄞"}\n\nevent: x\r\ndata: one\r\ndata:two\r\n\r\ndata: [DONE]\n\ndata: cut',
    );
    for (let chunkBytes = 1; chunkBytes <= bytes.length; chunkBytes += 1)
      assert.deepEqual(await read(bytes, chunkBytes), ['{"a":"ü€𝄞"}', 'one\ntwo', '[DONE]']);
  });
});
