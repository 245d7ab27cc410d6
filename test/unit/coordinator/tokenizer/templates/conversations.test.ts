// Whole conversations, reasoning in their history, through the templates of the models that Skein serves: the text and
// the ids that transformers gives (make-conversation-cases.py), with the vocabularies of Qwen3 and DeepSeek-V3.
import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { loadTextProcessor } from '../../../../../coordinator/tokenizer/load-text-processor.js';
import { repoPath } from '../../../../support/paths.js';
import { layoutPath } from '../../../../support/tokenizer-folder.js';

interface ConversationCase {
  readonly template: string;
  readonly layout: string;
  readonly title: string;
  readonly messages: readonly { readonly role: 'system' | 'user' | 'assistant'; readonly content: string }[];
  readonly text: string;
  readonly ids: readonly number[];
}

const FOLDER = ['test', 'unit', 'coordinator', 'tokenizer', 'templates'] as const;
const CASES = JSON.parse(
  gunzipSync(readFileSync(repoPath(...FOLDER, 'conversation-cases.json.gz'))).toString('utf8'),
) as readonly ConversationCase[];
const TEMPLATES = [...new Set(CASES.map(({ template }) => template))];
const OPENS_REASONING = ['qwq', 'deepseek-r1', 'skywork-r1v', 'skywork-r1v2', 'skywork-r1v3'];

describe('conversations', function () {
  this.timeout(30_000);

  it('are of the eight templates, with histories that hold reasoning', () => {
    assert.equal(TEMPLATES.length, 8);
    assert.ok(CASES.length >= 80);
  });

  for (const template of TEMPLATES) {
    it(`${template}: the text and ids of transformers`, async () => {
      const cases = CASES.filter((each) => each.template === template);
      const { layout } = cases[0]!;
      const own = repoPath(...FOLDER, `${template}.jinja`);
      const folder = mkdtempSync(path.join(tmpdir(), 'skein-conversations-'));
      try {
        for (const file of ['tokenizer.json', 'tokenizer_config.json'] as const)
          symlinkSync(layoutPath(layout, file), path.join(folder, file));
        if (existsSync(own)) cpSync(own, path.join(folder, 'chat_template.jinja'));
        const processor = await loadTextProcessor({ folder, eosTokenIds: [], tokensPerTile: null });
        for (const { title, messages, text, ids } of cases) {
          const prompt = processor.encodeChat(
            messages.map(({ role, content }) => ({ role, parts: [{ type: 'text', text: content }] })),
          );
          assert.equal(processor.decode(prompt.tokenIds), text, title);
          assert.deepEqual([...prompt.tokenIds], ids, title);
          assert.equal(prompt.startsInReasoning, OPENS_REASONING.includes(template), title);
        }
      } finally {
        rmSync(folder, { recursive: true });
      }
    });
  }
});
