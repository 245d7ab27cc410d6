// Goal: whatever pieces the bytes of a stream come in, the events are those of the whole; and answers are read as
// OpenAI, vLLM and Skein write them.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { failureOf, OpenAiAnswer } from '../../../bench-serve/openai-events.js';
import { SseParser } from '../../../bench-serve/sse-parser.js';
import { RequestFailure } from '../../../bench-serve/failure.js';

function eventsOf(pieces: readonly Uint8Array[]): string[] {
  const parser = new SseParser(1000);
  return pieces.flatMap((piece) => parser.push(piece));
}

/** Cut at these places. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const sorted = [0, ...[...places].sort((a, b) => a - b), bytes.byteLength];
  return sorted.slice(1).map((end, index) => bytes.subarray(sorted[index], end));
}

const STREAM = Buffer.from(
  '\ufeff: a comment\ndata: {"a": "Grüße 🦢"}\r\n\r\nevent: x\rdata:first\rdata: second\rid: 7\r\r' +
    'data\n\ndata:  two spaces\n\nretry: 1\n\n\n\ndata: [DONE]\n\n',
);
const EVENTS = ['{"a": "Grüße 🦢"}', 'first\nsecond', '', ' two spaces', '[DONE]'];

describe('server-sent events', () => {
  it('are read as the standard says: comments, other fields, line ends, several lines, no value', () => {
    assert.deepEqual(eventsOf([STREAM]), EVENTS);
  });

  it('are the same byte by byte, and cut anywhere', () => {
    assert.deepEqual(eventsOf([...STREAM].map((byte) => Uint8Array.of(byte))), EVENTS);
    for (let place = 0; place <= STREAM.byteLength; place++)
      assert.deepEqual(eventsOf(cut(STREAM, [place])), EVENTS, `cut at ${place}`);
    fc.assert(
      fc.property(fc.array(fc.nat(STREAM.byteLength), { maxLength: 12 }), (places) => {
        assert.deepEqual(eventsOf(cut(STREAM, places)), EVENTS);
      }),
    );
  });

  it('need their empty line: what is cut off is no event', () => {
    assert.deepEqual(eventsOf([Buffer.from('data: a\n\ndata: b\n')]), ['a']);
    assert.deepEqual(eventsOf([Buffer.from('data: a\n\ndata: b')]), ['a']);
  });

  it('have a bound, over one line and over many', () => {
    const parser = new SseParser(100);
    assert.throws(() => parser.push(Buffer.from(`data: ${'x'.repeat(101)}`)), RangeError);
    const lines = new SseParser(100);
    assert.throws(() => {
      for (let line = 0; line < 30; line++) lines.push(Buffer.from('data: abcdefgh\n'));
    }, RangeError);
  });
});

describe('events of an answer', () => {
  const take = (events: readonly object[]) => {
    const answer = new OpenAiAnswer();
    return { answer, taken: events.map((event) => answer.take(JSON.stringify(event))) };
  };

  it('bring some of it where there is text, reasoning or a tool call, and not with roles, ends or usage', () => {
    const choice = (delta: object, finish_reason: string | null = null) => ({
      choices: [{ delta, finish_reason }],
    });
    const { answer, taken } = take([
      choice({ role: 'assistant', content: '' }),
      choice({ reasoning_content: 'hm' }),
      choice({ reasoning: 'hm' }),
      choice({ content: 'a' }),
      choice({ content: null, tool_calls: [{}] }),
      choice({ content: 'b' }),
      choice({}, 'stop'),
      {
        choices: [],
        usage: { prompt_tokens: 5, completion_tokens: 9, prompt_tokens_details: { cached_tokens: 4 } },
      },
    ]);
    assert.deepEqual(taken, [false, true, true, true, true, true, false, false]);
    assert.equal(answer.take('[DONE]'), false);
    assert.deepEqual(answer.end(), {
      usage: { promptTokens: 5, completionTokens: 9, cachedTokens: 4 },
      tokenIds: null,
      text: 'ab',
    });
  });

  it('of completions are texts; usage may come with each of them, and need not say what was cached', () => {
    const usage = (completion_tokens: number) => ({ prompt_tokens: 2, completion_tokens });
    const { answer, taken } = take([
      { choices: [{ text: 'x', finish_reason: null }], usage: usage(1) },
      { choices: [{ text: 'y', finish_reason: 'length' }], usage: usage(2) },
      { choices: [{ text: '', finish_reason: null }], usage: null },
    ]);
    assert.deepEqual(taken, [true, true, false]);
    assert.deepEqual(answer.end().usage, { promptTokens: 2, completionTokens: 2, cachedTokens: null });
  });

  it('are an answer only with an end: a reason or [DONE]', () => {
    const { answer } = take([{ choices: [{ delta: { content: 'a' } }] }]);
    assert.throws(() => answer.end(), { code: 'INCOMPLETE' });
  });

  it('may be an error, or nothing that can be read', () => {
    const error = { error: { message: 'full', type: 'rate_limit_error', code: 'queue_full' } };
    assert.throws(() => take([error]), { code: 'in the stream queue_full', message: 'full' });
    assert.throws(() => new OpenAiAnswer().take('{"a'), { code: 'BAD_EVENT' });
    assert.throws(() => new OpenAiAnswer().take('7'), { code: 'BAD_EVENT' });
  });

  it('and refusals are counted by status and name, in every form that servers have', () => {
    const codes: [unknown, string][] = [
      [{ error: { message: 'm', type: 't', code: 'queue_full' } }, 'HTTP 429 queue_full'],
      [{ error: { message: 'm', type: 'BadRequestError', code: 400 } }, 'HTTP 429 BadRequestError'],
      [{ object: 'error', message: 'm', type: 'NotFound' }, 'HTTP 429 NotFound'],
      [{ error: 'Not Found' }, 'HTTP 429'],
      ['<html>', 'HTTP 429'],
      [null, 'HTTP 429'],
    ];
    for (const [body, code] of codes) {
      const failure = failureOf(body, 429);
      assert.ok(failure instanceof RequestFailure);
      assert.equal(failure.code, code, JSON.stringify(body));
    }
  });
});
