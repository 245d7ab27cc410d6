// Tool calls taken out of an answer: the same however the text is cut, whole or broken, and nothing said is lost.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ToolCallSplitter } from '../../../../coordinator/tokenizer/tool-call-splitter.js';

interface Split {
  readonly text: string;
  readonly calls: readonly { readonly id: string; readonly name: string; readonly arguments: string }[];
}

function split(pieces: readonly string[]): Split {
  let numIds = 0;
  const splitter = new ToolCallSplitter(() => `id${(numIds += 1)}`);
  let text = '';
  const calls: { id: string; name: string; arguments: string }[] = [];
  for (const answer of [...pieces.map((piece) => splitter.push(piece)), splitter.finish()]) {
    text += answer.text;
    for (const { index, id, name, arguments: more } of answer.toolCalls) {
      if (id !== undefined) calls.push({ id, name: name!, arguments: '' });
      assert.equal(index, calls.length - 1, 'pieces belong to the call that has begun last');
      calls[index]!.arguments += more;
    }
  }
  assert.equal(splitter.numCalls, calls.length);
  return { text, calls };
}

function call(name: string, given: string): string {
  return `<tool_call>\n{"name": "${name}", "arguments": ${given}}\n</tool_call>`;
}

const CASES: readonly [text: string, rest: string, calls: [name: string, given: string][]][] = [
  ['no call, a < b', 'no call, a < b', []],
  [call('a', '{"x": "}]\\"{"}'), '', [['a', '{"x": "}]\\"{"}']]],
  [
    `Let me see. \n${call('a', '{}')}\n${call('b', '[1, {"y": 2}]')} \n`,
    'Let me see.',
    [
      ['a', '{}'],
      ['b', '[1, {"y": 2}]'],
    ],
  ],
  // In another order, with other spaces, with arguments as text.
  ['<tool_call>{"arguments":{"k":1},"name":"a"}</tool_call> done', ' done', [['a', '{"k":1}']]],
  ['<tool_call>{"name":"a","arguments":"{\\"k\\":1}"}</tool_call>', '', [['a', '{"k":1}']]],
  // No calls.
  ['<tool_call>nothing</tool_call>', '<tool_call>nothing</tool_call>', []],
  ['x <tool_call>{"name": "a", "arg', 'x<tool_call>{"name": "a", "arg', []],
  // Cut in the middle: what there is of it.
  ['<tool_call>\n{"name": "a", "arguments": {"k": "v', '', [['a', '{"k": "v']]],
  ['tail <tool_ca', 'tail <tool_ca', []],
];

describe('tool calls in an answer', () => {
  for (const [text, rest, calls] of CASES) {
    it(`are found in ${JSON.stringify(text).slice(0, 60)}`, () => {
      const whole = split([text]);
      assert.equal(whole.text, rest);
      assert.deepEqual(
        whole.calls.map(({ name, arguments: given }) => [name, given]),
        calls,
      );
      fc.assert(
        fc.property(fc.array(fc.nat({ max: text.length })), (cuts) => {
          const places = [0, ...cuts.sort((one, other) => one - other), text.length];
          const pieces = places.slice(1).map((place, index) => text.slice(places[index], place));
          assert.deepEqual(split(pieces), whole);
        }),
        { numRuns: 50 },
      );
    });
  }

  it('go out while they are written', () => {
    const splitter = new ToolCallSplitter(() => 'id');
    assert.deepEqual(splitter.push('<tool_call>\n{"name": "f", "arguments": {'), {
      text: '',
      toolCalls: [{ index: 0, id: 'id', name: 'f', arguments: '{' }],
    });
    assert.deepEqual(splitter.push('"a": 1'), { text: '', toolCalls: [{ index: 0, arguments: '"a": 1' }] });
    assert.equal(splitter.isBetweenCalls, false);
    splitter.push('}}\n</tool_call>');
    assert.equal(splitter.isBetweenCalls, true);
  });
});
