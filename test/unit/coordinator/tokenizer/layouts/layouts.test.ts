// Three real tokenizers of different kinds encode 2,000 random Unicode texts as Hugging Face's tokenizers does
// (make-layout-cases.py): Qwen3 (the family's own: NFC, one pattern), DeepSeek-V3 (three patterns in a row, hundreds of
// added tokens, full-width ones among them), Llama 3 (numbers by threes, whole words before merges). All are byte-level
// BPE, as every model that Skein loads; others are refused by name.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { Tokenizer } from '../../../../../coordinator/tokenizer/tokenizer.js';
import { repoPath } from '../../../../support/paths.js';
import { layoutPath } from '../../../../support/tokenizer-folder.js';

const FILE = repoPath('test', 'unit', 'coordinator', 'tokenizer', 'layouts', 'layout-cases.json.gz');
const { texts, layouts } = JSON.parse(gunzipSync(readFileSync(FILE)).toString('utf8')) as {
  readonly texts: readonly string[];
  readonly layouts: Readonly<Record<string, readonly (readonly number[])[]>>;
};

describe('real tokenizers', function () {
  this.timeout(30_000);

  it('are three, with 2,000 texts', () => {
    assert.equal(Object.keys(layouts).length, 3);
    assert.equal(texts.length, 2000);
  });

  for (const [name, expected] of Object.entries(layouts)) {
    it(`${name}: the ids of Hugging Face's tokenizers`, () => {
      const tokenizer = new Tokenizer(JSON.parse(readFileSync(layoutPath(name, 'tokenizer.json'), 'utf8')));
      const wrong: string[] = [];
      texts.forEach((text, index) => {
        const ids = tokenizer.encodeMarked(text);
        if (ids.join() !== expected[index]!.join())
          wrong.push(
            `${JSON.stringify(text)}\n  expected ${expected[index]!.join()}\n  got      ${ids.join()}`,
          );
      });
      assert.equal(wrong.length, 0, `${wrong.length} differ\n${wrong.slice(0, 20).join('\n')}`);
    });
  }
});
