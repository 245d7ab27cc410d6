// The slice lists executed over the golden files: what a loader would put into each rank's tensors.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readCheckpoint } from '../../../../coordinator/checkpoint/checkpoint.js';
import { makeShardPlan } from '../../../../coordinator/sharding/make-shard-plan.js';
import type { RankPlan, TensorPart, TensorRole } from '../../../../coordinator/sharding/shard-plan.js';
import { repoRoot } from '../../../support/paths.js';
import { findTensor } from './find-tensor.js';

describe('slices executed over the golden files', () => {
  it('fuses [q; k; v] of the rank and cuts o_proj by the same heads', async () => {
    const { checkpoint, read } = await openGolden('tiny-6b-vit');
    const made = makeShardPlan(checkpoint, { worldSize: 3, visionParallel: 'tensor' });
    for (const rank of made.ranks) {
      const { qHeadStart, numQHeads, kvHeadStart, numKvHeads } = rank.layout;
      const rowsOf = (name: string, start: number, end: number) => read(name).slice(start, end);
      const base = 'language_model.model.layers.1.self_attn.';
      const expected = [
        ...rowsOf(`${base}q_proj.weight`, qHeadStart * 16, (qHeadStart + numQHeads) * 16),
        ...rowsOf(`${base}k_proj.weight`, kvHeadStart * 16, (kvHeadStart + numKvHeads) * 16),
        ...rowsOf(`${base}v_proj.weight`, kvHeadStart * 16, (kvHeadStart + numKvHeads) * 16),
      ];
      assert.deepEqual(execute(rank, 'qkv', 'weight', 1, read), expected);
      const columns = read(`${base}o_proj.weight`).map((row) =>
        row.slice(qHeadStart * 16, (qHeadStart + numQHeads) * 16),
      );
      assert.deepEqual(execute(rank, 'o-proj', 'weight', 1, read), columns);
    }
  });

  it('splits the fused vision qkv by thirds before fusing it again, norm weights with it', async () => {
    const { checkpoint, read } = await openGolden('tiny-6b-vit');
    const made = makeShardPlan(checkpoint, { worldSize: 2, visionParallel: 'tensor' });
    const source = read('vision_model.encoder.layers.2.attn.qkv.weight');
    assert.equal(source.length, 240);
    const [start, end] = [3 * 16, 5 * 16];
    const expected = [0, 80, 160].flatMap((third) => source.slice(third + start, third + end));
    assert.deepEqual(execute(made.ranks[1], 'vision-qkv', 'weight', 2, read), expected);
    const norm = read('vision_model.encoder.layers.2.attn.k_norm.weight')[0];
    assert.deepEqual(execute(made.ranks[1], 'vision-k-norm', 'weight', 2, read), [norm?.slice(start, end)]);
    const bias = read('vision_model.encoder.layers.2.mlp.fc2.bias');
    for (const rank of made.ranks) assert.deepEqual(execute(rank, 'vision-fc2', 'bias', 2, read), bias);
  });

  it('leaves AWQ weights what they were: each row of the slice finds its own scale and zero', async () => {
    const { checkpoint, read } = await openGolden('tiny-awq');
    const prefix = 'language_model.model.layers.0.mlp.down_proj';
    const whole = { qzeros: read(`${prefix}.qzeros`), scales: read(`${prefix}.scales`) };
    const made = makeShardPlan(checkpoint, { worldSize: 4, visionParallel: 'auto' });
    let offsets = 0;
    for (const rank of made.ranks) {
      const offset = findTensor(rank, 'down', 'awq-qweight', 0).awqGroupOffset;
      offsets += offset;
      const scales = execute(rank, 'down', 'awq-scales', 0, read);
      const zeros = execute(rank, 'down', 'awq-qzeros', 0, read);
      for (let row = 0; row < rank.layout.intermediateSize; row++) {
        const group = Math.floor((row + offset) / 128);
        const wholeGroup = Math.floor((rank.layout.intermediateStart + row) / 128);
        assert.deepEqual(scales[group], whole.scales[wholeGroup]);
        assert.deepEqual(zeros[group], whole.qzeros[wholeGroup]);
      }
    }
    // 768 rows over 4 ranks begin at 0, 192, 384, 576: two of them inside a group.
    assert.equal(offsets, 128);
  });
});

/** The checkpoint of one file, and its tensors as rows of 32-bit words (16-bit ones widened). */
async function openGolden(folder: string) {
  const path = join(repoRoot, 'test', 'golden', folder);
  const checkpoint = await readCheckpoint(path);
  const bytes = await readFile(join(path, 'model.safetensors'));
  const read = (name: string): number[][] => {
    const tensor = checkpoint.tensors.get(name);
    assert.ok(tensor !== undefined, name);
    const cols = tensor.shape.at(-1) ?? 1;
    const rows = tensor.shape.length === 1 ? 1 : (tensor.shape[0] ?? 1);
    const width = tensor.dataType === 'float16' || tensor.dataType === 'bfloat16' ? 2 : 4;
    const at = (row: number, col: number): number => tensor.dataOffset + (row * cols + col) * width;
    return Array.from({ length: rows }, (_, row) =>
      Array.from({ length: cols }, (_unused, col) =>
        width === 2 ? bytes.readUInt16LE(at(row, col)) : bytes.readUInt32LE(at(row, col)),
      ),
    );
  };
  return { checkpoint, read };
}

function execute(
  rank: RankPlan | undefined,
  role: TensorRole,
  part: TensorPart,
  layer: number,
  read: (name: string) => number[][],
): number[][] {
  assert.ok(rank !== undefined);
  const tensor = findTensor(rank, role, part, layer);
  const index = rank.tensors.indexOf(tensor);
  const rows = Array.from({ length: tensor.rows }, () => new Array<number>(tensor.cols).fill(Number.NaN));
  for (const slice of rank.slices.filter(({ tensorIndex }) => tensorIndex === index)) {
    const source = read(slice.sourceName);
    for (let row = slice.rowStart; row < slice.rowEnd; row++) {
      for (let col = slice.colStart; col < slice.colEnd; col++) {
        const target = rows[slice.destRow + row - slice.rowStart];
        if (target !== undefined)
          target[slice.destCol + col - slice.colStart] = source[row]?.[col] ?? Number.NaN;
      }
    }
  }
  return rows;
}
