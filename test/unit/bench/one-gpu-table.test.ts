// The table of one GPU: what stands in which field, from which part, and nothing where nothing was measured.
import assert from 'node:assert/strict';

import { oneGpuParts } from '../../../bench/gpu/one-gpu-parts.js';
import {
  tableOf,
  type ServedRows,
  type TableLine,
  type TransformersResult,
} from '../../../bench/gpu/one-gpu-table.js';
import type { PartRecord, PartRecords } from '../../../bench/gpu/part.js';
import type { PeerResult } from '../../../bench/gpu/peer-part.js';
import { tableMarkdown } from '../../../bench/gpu/table-markdown.js';
import { TABLE_MODELS } from '../../../bench/gpu/table-rows.js';

const PARTS = oneGpuParts({ device: 'cuda', vllm: '/peers/vllm' });

function record(result: unknown, change: Partial<PartRecord> = {}): PartRecord {
  return {
    state: 'passed',
    commit: 'abc1234def',
    date: '2026-11-28T16:00:00Z',
    seconds: 1,
    command: 'x',
    mps: false,
    result,
    ...change,
  };
}

type Served = ServedRows['results'][number];

function served(change: Partial<Served>): Served {
  const asked = { prompt: 'text', promptTokens: 128, batch: 1, sampling: 'greedy', newTokens: 129 } as const;
  return { ...asked, runs: [{ promptTokens: 128, pictureTiles: 0 }], ...change };
}

/** 1 TB/s and 1,000 TFLOP/s: 1e9 bytes and 1e12 FLOPs take a millisecond. */
const TRANSFORMERS: TransformersResult = {
  ceilings: { readBandwidthTBps: 1, bf16TFLOPs: 1000 },
  results: [
    { batch: 1, prompt: 'text', promptTokens: 1024, firstTokenMs: [121, 123, 126] },
    { batch: 1, prompt: 'picture', firstTokenMs: [301, 305, 313] },
    { batch: 16, prompt: 'picture', firstTokenMs: [4519], tokenMs: 77.4 },
    { batch: 16, prompt: 'text', promptTokens: 128, firstTokenMs: [200], tokenMs: 76.5 },
  ],
};

const COST: ServedRows['cost'] = {
  ...{ decodeBytes: 10e9, visionBytes: 0, kvBytesPerToken: 1e6 },
  ...{ isDecoderFloat8: false, isTowerFloat8: false },
  flops: {
    ...{
      tokenLayers: 1e11,
      tokenHead: 0,
      tokenTotal: 1e11,
      attentionPerContextToken: 0,
      prefillPerTile: null,
    },
    tile: { linear: 1e12, attention: 0, convolution: 0, projector: 0, total: 1e12 },
  },
};

function rowsOf(results: readonly Served[]): ServedRows {
  return { cost: COST, results };
}

const PEER: PeerResult = {
  cases: [
    { batch: 1, promptTokens: 1024, newTokens: 129, firstTokenMs: 105.4, tokenMs: 17.9 },
    { batch: 1, promptTokens: 16, newTokens: 1000, firstTokenMs: 20, tokenMs: 17.7 },
    { batch: 16, promptTokens: 128, newTokens: 129, firstTokenMs: 200, tokenMs: 18 },
    { batch: 256, promptTokens: 128, newTokens: 129, firstTokenMs: 3219, tokenMs: 35.7 },
    { batch: 1, promptTokens: 7000, newTokens: 1, firstTokenMs: 728.8, tokenMs: null },
  ],
  pictureFirstTokenMs: [301, 289, 290],
  lines: [],
};

function line(records: PartRecords, row: string, model = 'bf16'): TableLine {
  const found = tableOf(TABLE_MODELS, records).rows.find((each) => each.model === model && each.row === row);
  assert.ok(found, row);
  return found;
}

describe('the parts of the table', () => {
  it('are two starts of each kind of weights, asked alike', () => {
    for (const word of ['bf16', 'awq', 'fp8', 'fp8-tower']) {
      const [once, again] = [`rows-${word}`, `rows-${word}-again`].map((name) =>
        PARTS[name]!({ file: 'F', records: {}, extra: [] }).command.join(' '),
      );
      assert.equal(once, again);
      assert.match(once!, / --max-num-sequences 256/);
      assert.equal(/ --quantization fp8/.test(once!), word.startsWith('fp8'), word);
      assert.equal(/ --vision-quantization fp8/.test(once!), word === 'fp8-tower');
      assert.equal(/--cases text:128:1:new=129/.test(once!), word !== 'fp8-tower');
      assert.match(once!, /photograph:64:1:new=1:times=\d/);
    }
    assert.match(PARTS['rows-awq']!({ file: 'F', records: {}, extra: [] }).command.join(' '), /38b-awq /);
  });

  it('have vLLM in all three where a folder with it is named', () => {
    assert.deepEqual(
      Object.keys(PARTS).filter((name) => name.startsWith('vllm')),
      ['vllm-bf16', 'vllm-awq', 'vllm-fp8'],
    );
    const { command } = PARTS['vllm-fp8']!({ file: 'F', records: {}, extra: [] });
    assert.deepEqual(command, ['python3', '/peers/vllm/bench.py', 'fp8', '1']);
    assert.ok(
      !Object.keys(oneGpuParts({ device: 'cuda', vllm: null })).some((name) => name.startsWith('vllm')),
    );
  });

  it('give every aim to a row that there is', () => {
    for (const { word, rows, aims } of TABLE_MODELS)
      for (const name of Object.keys(aims))
        assert.ok(
          rows.some((row) => row.name === name),
          `${word}: ${name}`,
        );
  });
});

describe('a row of the table', () => {
  const token = (tokenMs: number) =>
    rowsOf([
      served({ batch: 16, medians: { firstTokenMs: 1, lastFirstTokenMs: 2, tokenMs } }),
      // A case of one token of the same shape is another row.
      served({ batch: 16, newTokens: 1, medians: { firstTokenMs: 7, lastFirstTokenMs: 8 } }),
    ]);
  const records = {
    transformers: record(TRANSFORMERS),
    'rows-bf16': record(token(17)),
    'rows-bf16-again': record(token(17.4)),
    'vllm-bf16': record(PEER),
  };

  it('has both starts, how far they are apart, the floor and both peers', () => {
    // 10e9 bytes and keys and values of 16 x (128 + 64.5) tokens: 13.08e9.
    assert.deepEqual(line(records, 'a token, batch 16'), {
      model: 'bf16',
      row: 'a token, batch 16',
      unit: 'ms',
      aimedAt: 16.6,
      floorMs: 13.08,
      floorIs: 'memory',
      skeinMs: [17, 17.4],
      // 0.4 of 17.2, and 17.2 over 13.08.
      differencePercent: 2.326,
      differs: false,
      ratioToFloor: 1.315,
      vllmMs: 18,
      transformersMs: 76.5,
      commit: 'abc1234def',
    });
  });

  it('is marked where the starts differ by more than three per cent', () => {
    const apart = { ...records, 'rows-bf16-again': record(token(17.6), { commit: 'fed' }) };
    const found = line(apart, 'a token, batch 16');
    assert.equal(found.differencePercent, 3.468);
    assert.equal(found.differs, true);
    assert.equal(found.commit, 'abc1234def, fed');
    assert.match(tableMarkdown(tableOf(TABLE_MODELS, apart)), /\| 17.00, 17.60 \| \*\*3.5 %\*\* \|/);
  });

  it('has what of it was measured', () => {
    const once = { transformers: records.transformers, 'rows-bf16': records['rows-bf16'] };
    const found = line(once, 'a token, batch 16');
    assert.deepEqual([found.skeinMs, found.differencePercent, found.differs], [[17, null], null, false]);
    assert.deepEqual([found.ratioToFloor, found.vllmMs], [1.3, null]);
    const bare = line({ 'rows-bf16': records['rows-bf16'] }, 'a token, batch 16');
    assert.deepEqual([bare.floorMs, bare.ratioToFloor, bare.transformersMs], [null, null, null]);
    for (const each of tableOf(TABLE_MODELS, {}).rows) {
      const values = [each.floorMs, ...each.skeinMs, each.vllmMs, each.transformersMs, each.commit];
      assert.ok(
        values.every((value) => value === null),
        each.row,
      );
    }
  });

  it('says what the peer was asked where it was not the same', () => {
    const found = line(records, 'a token, batch 1');
    assert.deepEqual([found.vllmMs, found.vllmCase], [17.7, 'prompt of 16, 1000 new']);
    assert.equal(line(records, 'a token, batch 64').vllmMs, null);
    const first = line(records, 'first token, 1,024 tokens of text');
    assert.deepEqual([first.vllmMs, first.vllmCase, first.transformersMs], [105.4, undefined, 123]);
  });

  it('of many prompts is the last first token, beside all their products and the whole call of the peer', () => {
    const medians = { firstTokenMs: 1500, lastFirstTokenMs: 3300 };
    const all = { ...records, 'rows-bf16': record(rowsOf([served({ batch: 256, newTokens: 1, medians })])) };
    const found = line(all, '256 prompts of 128 tokens, one token each');
    // 256 x 128 x 1e11 FLOPs = 3,276.8e12.
    assert.deepEqual([found.skeinMs[0], found.floorMs, found.floorIs], [3300, 3276.8, 'tensor cores']);
    assert.equal(found.vllmMs, 3219);
    assert.equal(found.transformersMs, null);
  });

  it('of sixteen pictures is the median, which nine of them come before', () => {
    const picture = { prompt: 'picture', promptTokens: 64, newTokens: 1 } as const;
    const runs = [{ promptTokens: 1344, pictureTiles: 5 }];
    const medians = { firstTokenMs: 2350, lastFirstTokenMs: 4400 };
    const results = [served({ ...picture, batch: 16, runs, medians })];
    const found = line(
      { ...records, 'rows-bf16': record(rowsOf(results)) },
      '16 pictures at once, median first token',
    );
    // A picture: 1,344 x 1e11 + 5 x 1e12 = 139.4e12.
    assert.deepEqual([found.skeinMs[0], found.floorMs], [2350, 1254.6]);
    assert.deepEqual([found.vllmMs, found.transformersMs], [null, 4519]);
    assert.equal(line(records, 'first token, a picture').vllmMs, 290);
    assert.equal(line(records, 'first token, a photograph').vllmMs, null);
  });

  it('keeps the cases of a part of which one failed', () => {
    const results = [...token(17).results, served({ batch: 64, failed: 'no memory' })];
    const failed = { ...records, 'rows-bf16': record(rowsOf(results), { state: 'failed' }) };
    assert.equal(line(failed, 'a token, batch 16').skeinMs[0], 17);
    assert.equal(line(failed, 'a token, batch 64').skeinMs[0], null);
  });
});

describe('the table as Markdown', () => {
  it('has as many cells in every row as in its head', () => {
    const text = tableMarkdown(tableOf(TABLE_MODELS, { transformers: record(TRANSFORMERS) }));
    const rows = text.split('\n').filter((each) => each.startsWith('|'));
    // Four tables, of which the last has pictures only.
    assert.equal(rows.length, 4 * 2 + 3 * 10 + 3);
    for (const each of rows) assert.equal(each.split('|').length, 10, each);
    assert.match(text, /a plain read gets 1 TB\/s, a large bf16 product 1000 TFLOP\/s/);
  });
});
