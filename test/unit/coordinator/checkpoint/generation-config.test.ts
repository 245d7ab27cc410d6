// generation_config.json as defaults of absent sampling fields: what each key means, what is refused by name, and where
// it is read.
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { NEUTRAL_SAMPLING } from '../../../../common/sampling.js';
import { resolveSampling } from '../../../../coordinator/requests/sampling-options.js';
import { readGenerationConfig } from '../../../../coordinator/checkpoint/generation-config.js';
import { writeFolder } from '../../../support/tokenizer-folder.js';

const folders: string[] = [];

function folderWith(config: unknown): string {
  const folder = writeFolder(config === null ? {} : { 'generation_config.json': config });
  folders.push(folder);
  return folder;
}

describe('generation_config.json', () => {
  after(() => folders.forEach((folder) => rmSync(folder, { recursive: true })));

  const cases: readonly (readonly [string, object, object])[] = [
    ['says nothing', { eos_token_id: 5 }, {}],
    [
      'sets all of it',
      {
        ...{ do_sample: true, temperature: 0.6, top_k: 20, top_p: 0.95, min_p: 0.05 },
        ...{ repetition_penalty: 1.05, max_new_tokens: 2048, max_length: 20 },
      },
      { temperature: 0.6, topK: 20, topP: 0.95, minP: 0.05, repetitionPenalty: 1.05, maxTokens: 2048 },
    ],
    ['samples without a temperature', { do_sample: true }, { temperature: 1 }],
    ['does not sample, whatever the temperature', { do_sample: false, temperature: 0.7 }, { temperature: 0 }],
    ['leaves do_sample out', { temperature: 0.7 }, { temperature: 0.7 }],
    ['switches top_k off in either way', { top_k: -1 }, { topK: 0 }],
    ['has nulls', { temperature: null, top_k: null, top_p: null }, {}],
  ];
  for (const [name, config, expected] of cases) {
    it(name, async () => {
      assert.deepEqual((await readGenerationConfig('auto', folderWith(config))).sampling, expected);
    });
  }

  it('is read where it is asked for', async () => {
    const own = folderWith({ temperature: 0.5, eos_token_id: [1, 2] });
    const other = folderWith({ temperature: 0.25, eos_token_id: 3 });
    const nothing = { sampling: {}, eosTokenIds: [], isMissing: false };
    assert.deepEqual(await readGenerationConfig('auto', own), {
      sampling: { temperature: 0.5 },
      eosTokenIds: [1, 2],
      isMissing: false,
    });
    assert.deepEqual(await readGenerationConfig(other, own), {
      sampling: { temperature: 0.25 },
      eosTokenIds: [3],
      isMissing: false,
    });
    assert.deepEqual(await readGenerationConfig('none', own), nothing);
    assert.deepEqual(await readGenerationConfig('auto', null), nothing);
    assert.deepEqual(await readGenerationConfig('auto', folderWith(null)), { ...nothing, isMissing: true });
    await assert.rejects(readGenerationConfig(folderWith(null), own), {
      code: 'INVALID_REQUEST',
      message: /--generation-config: .*generation_config\.json does not exist/,
    });
  });

  const refused: readonly (readonly [object, RegExp])[] = [
    [{ temperature: -1 }, /generation_config\.json: temperature must be a number of 0 to 100, got -1/],
    [{ temperature: 'warm' }, /temperature must be/],
    [{ top_k: 1.5 }, /top_k must be an integer/],
    [{ top_p: 0 }, /top_p must be a number above 0/],
    [{ min_p: 2 }, /min_p must be/],
    [{ repetition_penalty: 0 }, /repetition_penalty must be/],
    [{ max_new_tokens: 0 }, /max_new_tokens must be/],
    [{ do_sample: 'yes' }, /do_sample must be true or false/],
  ];
  for (const [config, message] of refused) {
    it(`is refused with ${JSON.stringify(config)}`, async () => {
      await assert.rejects(readGenerationConfig('auto', folderWith(config)), {
        code: 'CORRUPT_WEIGHTS',
        message,
      });
    });
  }
});

describe('defaults of absent sampling fields', () => {
  const context = {
    vocabSize: 100,
    eosTokenIds: [],
    defaults: { ...NEUTRAL_SAMPLING, temperature: 0.5, topK: 7, topP: 0.5, maxTokens: 10 },
  };

  it('fill what a request leaves out, and nothing else', () => {
    const absent = resolveSampling({}, context);
    assert.deepEqual(
      [absent.params.temperature, absent.params.topK, absent.params.topP, absent.params.minP],
      [0.5, 7, 0.5, 0],
    );
    assert.deepEqual([absent.maxTokens, absent.maxTokensIsDefault], [10, true]);
    const given = resolveSampling({ temperature: 0, topK: 0, topP: 1, maxTokens: 99 }, context);
    assert.deepEqual([given.params.temperature, given.params.topK, given.params.topP], [0, 0, 1]);
    assert.deepEqual([given.maxTokens, given.maxTokensIsDefault], [99, false]);
  });

  it('give way to more min_tokens than the default of max_tokens', () => {
    assert.equal(resolveSampling({ minTokens: 20 }, context).maxTokens, 20);
  });
});
