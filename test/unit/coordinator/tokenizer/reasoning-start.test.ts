// Whether an output begins inside the reasoning: what the prompt's last turn says, in a template and in a client's ids,
// and the rule.
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { loadTextProcessor } from '../../../../coordinator/tokenizer/load-text-processor.js';
import type { ReasoningStart } from '../../../../coordinator/tokenizer/reasoning-start.js';
import type { TextProcessor } from '../../../../coordinator/tokenizer/text-processor.js';
import { tokenizerWithAdded, writeFolder } from '../../../support/tokenizer-folder.js';

const TAGS = [
  ['<think>', true],
  ['</think>', true],
] as const;
const CHATML =
  "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}" +
  "{{ '<|im_start|>assistant\\n' }}";

describe('an output begins inside the reasoning', () => {
  const folders: string[] = [];
  after(() => folders.forEach((folder) => rmSync(folder, { recursive: true })));

  /** `ending`: what the template writes after the assistant's marker. */
  function load(
    ending: string,
    options: { rule?: ReasoningStart; alwaysReasons?: boolean; areTagsTokens?: boolean } = {},
  ): Promise<TextProcessor> {
    const { rule = 'auto', alwaysReasons = false, areTagsTokens = true } = options;
    const folder = writeFolder({
      'tokenizer.json': tokenizerWithAdded(areTagsTokens ? TAGS : []),
      'chat_template.jinja': `${CHATML}{{ ${JSON.stringify(ending)} }}`,
    });
    folders.push(folder);
    return loadTextProcessor({
      folder,
      eosTokenIds: [],
      tokensPerTile: null,
      reasoningStart: rule,
      alwaysReasons,
    });
  }

  function chat(processor: TextProcessor, text = 'hi'): boolean {
    const history = [
      { role: 'user', parts: [{ type: 'text', text: 'before' }] },
      { role: 'assistant', parts: [{ type: 'text', text: '<think>\nold' }] },
      { role: 'user', parts: [{ type: 'text', text }] },
    ] as const;
    return processor.encodeChat(history).startsInReasoning;
  }

  function tokens(processor: TextProcessor, text: string): boolean {
    const ids = processor.encodeText(text, { allowSpecial: true });
    return processor.encodeTokens(ids, []).startsInReasoning;
  }

  const OPEN = '<think>\n';
  const CLOSED = '<think>\n\n</think>\n\n';
  const table: readonly (readonly [ReasoningStart, boolean, boolean, boolean, boolean])[] = [
    // rule, model always reasons, then: open, closed, neither tag
    ['prompt', true, true, false, false],
    ['always', false, true, true, true],
    ['never', true, false, false, false],
    ['auto', false, true, false, false],
    ['auto', true, true, false, true],
  ];
  for (const [rule, alwaysReasons, open, closed, absent] of table) {
    for (const areTagsTokens of [true, false]) {
      const model = `${alwaysReasons ? 'a model that always reasons' : 'any model'}, tags ${areTagsTokens ? 'are' : 'are no'} tokens`;
      it(`by the rule ${rule}: ${model}`, async () => {
        for (const [ending, expected] of [
          [OPEN, open],
          [CLOSED, closed],
          ['', absent],
        ] as const) {
          const processor = await load(ending, { rule, alwaysReasons, areTagsTokens });
          assert.equal(chat(processor), expected, JSON.stringify(ending));
          assert.equal(chat(processor, 'what is <think>'), expected, 'a tag that the user wrote');
          const prompt = `<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n${ending}`;
          assert.equal(tokens(processor, prompt), expected, `ids of ${JSON.stringify(ending)}`);
        }
      });
    }
  }

  it('of ids that end inside a reasoning already begun, but not of one in an earlier turn', async () => {
    for (const areTagsTokens of [true, false]) {
      const processor = await load('', { areTagsTokens });
      assert.equal(tokens(processor, '<|im_start|>assistant\n<think>\nSo the'), true);
      assert.equal(tokens(processor, '<|im_start|>assistant\n<think>\nSo</think>'), false);
      assert.equal(tokens(processor, '<think>\nSo<|im_end|>\n<|im_start|>assistant\n'), false);
    }
  });
});
