// The way out: whatever the cuts between tokens, the text is that of a whole decode, cut at the first stop string,
// split at the tags.
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import fc from 'fast-check';
import {
  MAX_LEADING_WHITE_SPACE_CHARS,
  MAX_STOP_STRING_CHARS,
  MAX_STOP_STRINGS,
} from '../../../../common/limits.js';
import { loadTextProcessor } from '../../../../coordinator/tokenizer/load-text-processor.js';
import { ReasoningSplitter } from '../../../../coordinator/tokenizer/reasoning-splitter.js';
import { StopMatcher } from '../../../../coordinator/tokenizer/stop-matcher.js';
import type { TextProcessor } from '../../../../coordinator/tokenizer/text-processor.js';
import { incompleteTailLength, Utf8Stream } from '../../../../coordinator/tokenizer/utf8-stream.js';
import { tokenizerWithAdded, writeFolder } from '../../../support/tokenizer-folder.js';

/** Cuts a list at the given shares of its length. */
function cut<T>(items: readonly T[], shares: readonly number[]): T[][] {
  const points = [
    0,
    ...shares.map((share) => Math.floor(share * items.length)).sort((a, b) => a - b),
    items.length,
  ];
  return points.slice(1).map((end, i) => items.slice(points[i], end));
}

const shares = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 8 });

describe('UTF-8 in pieces', () => {
  const byte = fc.oneof(
    fc.integer({ min: 0, max: 255 }),
    fc.constantFrom(
      0xe0,
      0xed,
      0xf0,
      0xf4,
      0xf5,
      0xc1,
      0xc2,
      0x80,
      0x9f,
      0xa0,
      0xbf,
      0x90,
      0x8f,
      0x41,
      0xef,
      0xbb,
      0xff,
    ),
  );

  it('gives what a whole decode gives, for any bytes and any cuts', () => {
    fc.assert(
      fc.property(fc.array(byte, { maxLength: 40 }), shares, (bytes, where) => {
        const stream = new Utf8Stream();
        const text =
          cut(bytes, where)
            .map((piece) => stream.push(Uint8Array.from(piece)))
            .join('') + stream.finish();
        const whole = new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(bytes));
        assert.equal(text, whole);
      }),
      { numRuns: 2000 },
    );
  });

  it('holds back only what could still become a character', () => {
    assert.equal(incompleteTailLength(Buffer.from('e4b8', 'hex')), 2);
    assert.equal(incompleteTailLength(Buffer.from('f09f90', 'hex')), 3);
    assert.equal(incompleteTailLength(Buffer.from('e080', 'hex')), 0);
    assert.equal(incompleteTailLength(Buffer.from('eda0', 'hex')), 0);
    assert.equal(incompleteTailLength(Buffer.from('80', 'hex')), 0);
    const stream = new Utf8Stream();
    assert.equal(stream.push(Buffer.from('41f09f', 'hex')), 'A');
    assert.equal(stream.push(Buffer.from('9080', 'hex')), '🐀');
  });
});

/**
 * The definition: the first position at which the text so far ends with a stop string; the longest one there is cut.
 */
function naiveStop(
  text: string,
  stop: readonly string[],
): { readonly text: string; readonly stopped: boolean } {
  for (let end = 1; end <= text.length; end++) {
    const ended = stop.filter((candidate) => text.slice(0, end).endsWith(candidate));
    if (ended.length > 0)
      return { text: text.slice(0, end - Math.max(...ended.map((found) => found.length))), stopped: true };
  }
  return { text, stopped: false };
}

describe('stop strings', () => {
  it('are found as by the definition, wherever the text is cut', () => {
    const letters = fc.array(fc.constantFrom('a', 'b', '\n', '怎', '🐀'), { maxLength: 24 });
    const stops = fc.array(fc.array(fc.constantFrom('a', 'b', '\n', '🐀'), { minLength: 1, maxLength: 4 }), {
      maxLength: 4,
    });
    fc.assert(
      fc.property(letters, stops, shares, (characters, stopCharacters, where) => {
        const stop = stopCharacters.map((list) => list.join(''));
        const matcher = new StopMatcher(stop);
        let text = '';
        for (const piece of cut(characters, where)) {
          text += matcher.push(piece.join(''));
          assert.ok(
            naiveStop(characters.join(''), stop).text.startsWith(text),
            'nothing emitted is taken back',
          );
        }
        text += matcher.finish();
        assert.deepEqual({ text, stopped: matcher.stopped }, naiveStop(characters.join(''), stop));
      }),
      { numRuns: 2000 },
    );
  });

  it('hold text back only while it could become one', () => {
    const matcher = new StopMatcher(['END', 'nd.']);
    assert.equal(matcher.push('the E'), 'the ');
    assert.equal(matcher.push('N'), '');
    assert.equal(matcher.push('d'), 'ENd');
    assert.equal(matcher.push('. n'), '. ');
    assert.equal(matcher.push('d'), '');
    assert.equal(matcher.push('.rest'), '');
    assert.equal(matcher.stopped, true);
    assert.equal(matcher.push('more'), '');
  });

  it('are checked: number, length, emptiness, halves of characters', () => {
    const refused = (stop: readonly string[], message: RegExp): void => {
      assert.throws(() => new StopMatcher(stop), { code: 'INVALID_REQUEST', message });
    };
    refused([''], /stop\[0\] is empty/);
    refused(['ok', 'x'.repeat(MAX_STOP_STRING_CHARS + 1)], /stop\[1\] has 257 characters; at most 256/);
    refused(Array<string>(MAX_STOP_STRINGS + 1).fill('x'), /17 strings; at most 16/);
    refused(['\ud83d'], /stop\[0\] holds half of a character/);
    assert.ok(new StopMatcher(Array<string>(MAX_STOP_STRINGS).fill('x'.repeat(MAX_STOP_STRING_CHARS))));
  });
});

function naiveSplit(text: string, startsInReasoning: boolean): { reasoning: string; answer: string } {
  const opened = /^\s{0,64}<think>/.exec(text);
  if (opened === null && !startsInReasoning) return { reasoning: '', answer: text };
  const body = text.slice(opened?.[0].length ?? 0);
  const end = body.indexOf('</think>');
  const trim = (part: string): string => part.replace(/^[\r\n]+/, '');
  if (end < 0) return { reasoning: trim(body), answer: '' };
  return { reasoning: trim(body.slice(0, end)), answer: trim(body.slice(end + 8)) };
}

function split(pieces: readonly string[], startsInReasoning: boolean): { reasoning: string; answer: string } {
  const splitter = new ReasoningSplitter(startsInReasoning);
  const parts = [...pieces.map((piece) => splitter.push(piece)), splitter.finish()];
  return {
    reasoning: parts.map((part) => part.reasoning).join(''),
    answer: parts.map((part) => part.answer).join(''),
  };
}

describe('reasoning and answer', () => {
  const cases: readonly (readonly [string, string, boolean, string, string])[] = [
    ['tag in the prompt', 'because\n</think>\n\n42', true, 'because\n', '42'],
    ['tag in the output', '<think>\nbecause</think>42', false, 'because', '42'],
    ['tag in both', '<think>\nbecause</think>\n42', true, 'because', '42'],
    ['white space before the tag', '\n <think>because</think>42', false, 'because', '42'],
    ['cut by the limit', 'because', true, 'because', ''],
    ['cut inside the end tag', 'because</thi', true, 'because</thi', ''],
    ['cut inside the start tag', '<thi', false, '', '<thi'],
    ['no reasoning', '\n\n</think>\n\n42', true, '', '42'],
    ['an answer without tags keeps its line breaks', '\n\nhello\n', false, '', '\n\nhello\n'],
    ['tags in the answer are text', 'a <think>b</think> c', false, '', 'a <think>b</think> c'],
    ['a second end tag is text', 'r</think>a</think>b', true, 'r', 'a</think>b'],
    ['nothing at all', '', true, '', ''],
  ];
  for (const [name, text, startsInReasoning, reasoning, answer] of cases) {
    it(name, () => {
      assert.deepEqual(split([text], startsInReasoning), { reasoning, answer });
      assert.deepEqual(split([...text], startsInReasoning), { reasoning, answer });
    });
  }

  it('do not depend on the cuts', () => {
    const pieces = fc.array(
      fc.constantFrom('<', 'think', '>', '<think>', '</think>', '</', '\n', ' ', 'x', '</thin'),
      { maxLength: 14 },
    );
    fc.assert(
      fc.property(pieces, fc.boolean(), (list, startsInReasoning) => {
        assert.deepEqual(split(list, startsInReasoning), naiveSplit(list.join(''), startsInReasoning));
      }),
      { numRuns: 2000 },
    );
  });

  it('do not depend on the cuts where more white space leads than a tag may have before it', () => {
    for (
      let numLeading = MAX_LEADING_WHITE_SPACE_CHARS - 8;
      numLeading <= MAX_LEADING_WHITE_SPACE_CHARS + 2;
      numLeading += 1
    ) {
      const text = `${' '.repeat(numLeading)}<think>a</think>b`;
      assert.deepEqual(split([text], false), split([...text], false), `${numLeading} characters`);
    }
  });

  it('are streamed at once but for what could become a tag', () => {
    const splitter = new ReasoningSplitter(true);
    assert.deepEqual(splitter.push('a<'), { reasoning: 'a', answer: '' });
    assert.deepEqual(splitter.push('b</think'), { reasoning: '<b', answer: '' });
    assert.deepEqual(splitter.push('>\nc'), { reasoning: '', answer: 'c' });
    assert.deepEqual(splitter.push('\n<'), { reasoning: '', answer: '\n<' });
  });
});

describe('output of a sequence', () => {
  let withTags: TextProcessor;
  let withoutTags: TextProcessor;
  const folders: string[] = [];
  before(async () => {
    const load = (json: unknown): Promise<TextProcessor> => {
      const folder = writeFolder({ 'tokenizer.json': json });
      folders.push(folder);
      return loadTextProcessor({ folder, eosTokenIds: [], tokensPerTile: null });
    };
    withTags = await load(
      tokenizerWithAdded([
        ['<think>', true],
        ['</think>', true],
      ]),
    );
    withoutTags = await load(tokenizerWithAdded([]));
  });
  after(() => folders.forEach((folder) => rmSync(folder, { recursive: true })));

  it('is the whole decode, token by token or at once, for random ids', () => {
    const ids = fc.array(fc.integer({ min: 0, max: 366 }), { maxLength: 60 });
    fc.assert(
      fc.property(ids, shares, (list, where) => {
        const output = withoutTags.createOutput({ startsInReasoning: false, stop: [] });
        const answer =
          cut(list, where)
            .map((piece) => output.push(piece).answer)
            .join('') + output.finish().answer;
        assert.equal(answer, withoutTags.decode(list));
        assert.equal(output.text, withoutTags.decode(list));
      }),
      { numRuns: 1000 },
    );
  });

  it('leaves special tokens and unknown ids out, but decode shows them', () => {
    const ids = [...withTags.encodeText('a<|im_end|>b<img>', { allowSpecial: true }), 5000];
    const output = withTags.createOutput({ startsInReasoning: false, stop: [] });
    assert.equal(output.push(ids).answer + output.finish().answer, 'ab');
    assert.equal(withTags.decode(ids), 'a<|im_end|>b<img>');
  });

  it('spells special tokens where they are asked for, and still splits the reasoning', () => {
    const text = '<think>a<img>b</think>\n<img>c</img>END';
    const ids = [...withTags.encodeText(text, { allowSpecial: true })];
    const output = withTags.createOutput({
      startsInReasoning: false,
      stop: ['</img>E'],
      skipSpecialTokens: false,
    });
    const deltas = [...ids.map((id) => output.push([id])), output.finish()];
    assert.equal(deltas.map((delta) => delta.reasoning).join(''), 'a<img>b');
    assert.equal(deltas.map((delta) => delta.answer).join(''), '<img>c');
    assert.equal(output.text, '<think>a<img>b</think>\n<img>c');
    const skipping = withTags.createOutput({ startsInReasoning: false, stop: [] });
    skipping.push(ids);
    skipping.finish();
    assert.equal(skipping.text, '<think>ab</think>\ncEND');
  });

  it('is one piece, tags included, where nothing is to be split', () => {
    const text = '<think>a</think>\n\nb';
    const options = { startsInReasoning: true, stop: [], splitsReasoning: false };
    const output = withTags.createOutput(options);
    const ids = [...withTags.encodeText(text, { allowSpecial: true })];
    const deltas = [...ids.map((id) => output.push([id])), output.finish()];
    assert.equal(deltas.map(({ reasoning, answer }) => reasoning + answer).join(''), text);
    assert.ok(deltas.every(({ reasoning }) => reasoning === ''));
  });

  it('splits at the end tag, be it one token or several, and keeps the tags in `text`', () => {
    for (const [processor, numTagTokens] of [
      [withTags, 1],
      [withoutTags, 5],
    ] as const) {
      const ids = [...processor.encodeText('the red</think>\n\n12', { allowSpecial: true })];
      assert.ok(processor.encodeText('</think>', { allowSpecial: true }).length >= numTagTokens);
      const output = processor.createOutput({ startsInReasoning: true, stop: [] });
      const deltas = [...ids.map((id) => output.push([id])), output.finish()];
      assert.equal(deltas.map((delta) => delta.reasoning).join(''), 'the red');
      assert.equal(deltas.map((delta) => delta.answer).join(''), '12');
      assert.equal(output.text, 'the red</think>\n\n12');
    }
  });

  it('stops at a stop string across tokens and emits nothing after it', () => {
    const ids = [...withoutTags.encodeText('count the red circles and more', { allowSpecial: false })];
    const output = withoutTags.createOutput({ startsInReasoning: false, stop: ['d circles', '</x>'] });
    const deltas = ids.map((id) => output.push([id]));
    assert.equal(deltas.map((delta) => delta.answer).join(''), 'count the re');
    assert.equal(deltas.at(-1)!.stopped, true);
    assert.equal(deltas[0]!.stopped, false);
    assert.deepEqual(output.finish(), { reasoning: '', answer: '', stopped: true });
    assert.equal(output.text, 'count the re');
  });

  it('a stop string may cut inside the reasoning, and inside a tag', () => {
    const ids = [...withoutTags.encodeText('abc</think>x', { allowSpecial: false })];
    const output = withoutTags.createOutput({ startsInReasoning: true, stop: ['think>'] });
    assert.deepEqual(output.push(ids), { reasoning: 'abc</', answer: '', stopped: true });
  });

  it('finishes with what was withheld, once', () => {
    const output = withoutTags.createOutput({ startsInReasoning: false, stop: ['the end'] });
    const first = output.push([...withoutTags.encodeText('by the', { allowSpecial: false })]);
    assert.equal(first.answer, 'by ');
    assert.deepEqual(output.finish(), { reasoning: '', answer: 'the', stopped: false });
    assert.deepEqual(output.finish(), { reasoning: '', answer: '', stopped: false });
    assert.deepEqual(output.push([64]), { reasoning: '', answer: '', stopped: false });
  });
});
