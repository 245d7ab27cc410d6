// Prompt ids, prompt text and decoded output of every golden case.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { loadTextProcessor } from '../../../../coordinator/tokenizer/load-text-processor.js';
import type { ChatPart } from '../../../../coordinator/tokenizer/text-processor.js';
import { goldenPath } from '../../../support/paths.js';

interface GoldenCase {
  readonly question: string;
  readonly prompt: string | null;
  readonly tiles: readonly number[];
  readonly prompt_tokens: number;
  readonly prompt_ids_sha256: string;
  readonly greedy_ids: readonly number[];
  readonly greedy_text: string;
}

function readJson<T>(folder: string, name: string): T {
  return JSON.parse(readFileSync(goldenPath(folder, name), 'utf8')) as T;
}

function readTokensPerTile(folder: string): number | null {
  const config = readJson<{
    force_image_size?: number;
    vision_config?: { image_size: number | number[]; patch_size: number | number[] };
    downsample_ratio: number;
  }>(folder, 'config.json');
  if (config.vision_config === undefined) return null;
  const side = config.force_image_size ?? [config.vision_config.image_size].flat()[0]!;
  return ((side / [config.vision_config.patch_size].flat()[0]!) * config.downsample_ratio) ** 2;
}

const folders = readdirSync(goldenPath()).filter((name) => existsSync(goldenPath(name, 'tokenizer.json')));

describe('golden prompts', () => {
  it('are all there', () => assert.ok(folders.length >= 7, folders.join(' ')));

  for (const folder of folders) {
    it(`${folder}: ids, text and decoded output`, async () => {
      const tokensPerTile = readTokensPerTile(folder);
      const processor = await loadTextProcessor({
        folder: goldenPath(folder),
        eosTokenIds: [],
        tokensPerTile,
      });
      assert.deepEqual(processor.stopTokenIds, [367, 369]);
      assert.equal(processor.vocabSize, 373);
      const cases = readJson<GoldenCase[]>(folder, 'expected.json');
      assert.equal(cases.length, 5);
      for (const golden of cases) {
        const parts: ChatPart[] = golden.tiles.map((numTiles) => ({ type: 'picture', numTiles }));
        parts.push({ type: 'text', text: golden.question });
        const prompt = processor.encodeChat([{ role: 'user', parts }]);
        const ids = [...prompt.tokenIds];
        assert.equal(ids.length, golden.prompt_tokens, golden.question);
        const sha256 = createHash('sha256').update(JSON.stringify(ids)).digest('hex');
        assert.equal(sha256, golden.prompt_ids_sha256, golden.question);
        if (golden.prompt !== null) assert.equal(processor.decode(ids), golden.prompt);
        assert.equal(processor.decode(golden.greedy_ids), golden.greedy_text);
        assert.equal(prompt.startsInReasoning, false);
        assert.equal(prompt.pictures.length, golden.tiles.length);
        prompt.pictures.forEach(({ firstPosition, numTokens }, index) => {
          assert.equal(numTokens, golden.tiles[index]! * tokensPerTile!);
          assert.equal(ids[firstPosition - 1], 370);
          assert.ok(ids.slice(firstPosition, firstPosition + numTokens).every((id) => id === 372));
          assert.equal(ids[firstPosition + numTokens], 371);
        });
      }
    });
  }
});
