// The bundled checkpoint as the coordinator reads it: its dimensions, its size, and the same token ids and pixels as in
// training.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { readCheckpoint } from '../../../coordinator/checkpoint/checkpoint.js';
import { countParameters } from '../../../coordinator/sharding/cost-model.js';
import { loadTextProcessor } from '../../../coordinator/tokenizer/load-text-processor.js';
import { processPicture } from '../../../coordinator/vision/process-picture.js';
import { repoRoot } from '../../support/paths.js';

const folder = join(repoRoot, 'models', 'r1v-nano');
const MAX_PARAMETERS = 7e6;
const MAX_FILE_BYTES = 16 * 1024 * 1024;

interface Question {
  readonly id: string;
  readonly task: string;
  readonly picture: string;
  readonly question: string;
  readonly answer: string;
}

interface Reference {
  readonly id: string;
  readonly tile_sha256: string;
  readonly prompt_token_ids: readonly number[];
  readonly token_ids: readonly number[];
  readonly smallest_gap: number;
}

const readJson = <T>(...segments: readonly string[]): T => JSON.parse(readFileSync(join(folder, ...segments), 'utf8')) as T;

async function loadText(): ReturnType<typeof loadTextProcessor> {
  const { spec, eosTokenIds } = await readCheckpoint(folder);
  return loadTextProcessor({ folder, eosTokenIds, tokensPerTile: spec.tiling?.tokensPerTile ?? null });
}

describe('models/r1v-nano', () => {
  const questions = readJson<Question[]>('evaluation', 'questions.json');
  const references = readJson<Reference[]>('reference.json');
  const questionOf = (reference: Reference): Question => {
    const found = questions.find(({ id }) => id === reference.id);
    assert.ok(found, `reference ${reference.id} has no question`);
    return found;
  };

  it('keeps within its size, with an odd number of vision heads', async () => {
    const checkpoint = await readCheckpoint(folder);
    assert.equal(checkpoint.spec.storedType, 'bfloat16');
    assert.equal(checkpoint.spec.vision?.numHeads, 5);
    assert.equal(checkpoint.spec.text.numHeads, 8);
    assert.equal(checkpoint.spec.text.numKvHeads, 4);
    assert.ok(countParameters(checkpoint) <= MAX_PARAMETERS);
    for (const { path } of checkpoint.files) assert.ok(statSync(path).size <= MAX_FILE_BYTES, path);
  });

  it('asks 500 different held-out questions, as many of each task', () => {
    assert.equal(questions.length, 500);
    const pictures = new Set<string>();
    const perTask = new Map<string, number>();
    for (const { picture, question, answer, task } of questions) {
      const bytes = readFileSync(join(folder, 'evaluation', picture));
      pictures.add(createHash('sha256').update(bytes).update(question).digest('hex'));
      perTask.set(task, (perTask.get(task) ?? 0) + 1);
      assert.notEqual(answer, '');
    }
    assert.equal(pictures.size, 500);
    assert.deepEqual(new Set(perTask.values()), new Set([50]));
  });

  it('encodes prompts to the ids that the model was trained on', async () => {
    const text = await loadText();
    for (const reference of references) {
      const parts = [
        { type: 'picture', numTiles: 1 },
        { type: 'text', text: questionOf(reference).question },
      ] as const;
      const prompt = text.encodeChat([{ role: 'user', parts }]);
      assert.deepEqual([...prompt.tokenIds], reference.prompt_token_ids, reference.id);
      assert.equal(prompt.startsInReasoning, true);
    }
  });

  it('splits the reference output into reasoning and the right answer', async () => {
    const text = await loadText();
    for (const reference of references) {
      assert.ok(text.stopTokenIds.includes(reference.token_ids.at(-1) ?? -1), reference.id);
      const output = text.createOutput({ startsInReasoning: true, stop: [] });
      const deltas = [output.push(reference.token_ids.slice(0, -1)), output.finish()];
      assert.equal(deltas.map(({ answer }) => answer).join('').trim(), questionOf(reference).answer, reference.id);
      assert.notEqual(deltas.map(({ reasoning }) => reasoning).join('').trim(), '', reference.id);
    }
  });

  it('decodes pictures to the pixels that the model was trained on', async () => {
    const { spec } = await readCheckpoint(folder);
    assert.ok(spec.tiling);
    for (const reference of references) {
      const encoded = readFileSync(join(folder, 'evaluation', questionOf(reference).picture));
      const picture = await processPicture(encoded, reference.id, { tiling: spec.tiling, exifRotation: true });
      assert.equal(picture.numTiles, 1);
      assert.equal(createHash('sha256').update(picture.tiles).digest('hex'), reference.tile_sha256, reference.id);
    }
  });
});
