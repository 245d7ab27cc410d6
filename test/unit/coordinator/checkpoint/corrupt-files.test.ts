// Everything that can be wrong with weight files: one error that names file and tensor, and what was expected.
import assert from 'node:assert/strict';
import { readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readCheckpoint } from '../../../../coordinator/checkpoint/checkpoint.js';
import { copyOf, editConfig, editHeader, object, refuses, useScratchFolder } from './checkpoint-copies.js';

const GATE = 'language_model.model.layers.1.mlp.gate_proj.weight';

describe('corrupt safetensors files', () => {
  const scratch = useScratchFolder();

  it('names a missing tensor and its shape', async () => {
    const folder = await copyOf('tiny-6b-vit');
    await editHeader(folder, (header) => {
      header['language_model.model.layers.1.mlp.other'] = header[GATE]!;
      delete header[GATE];
    });
    await refuses(
      folder,
      'CORRUPT_WEIGHTS',
      /model\.safetensors: tensor language_model\.model\.layers\.1\.mlp\.gate_proj\.weight is missing, expected float \[352, 128\]$/,
    );
  });

  it('names an unexpected tensor', async () => {
    const folder = await copyOf('tiny-6b-vit');
    await editConfig(folder, (config) => (object(config, 'vision_config')['qk_normalization'] = false));
    await refuses(
      folder,
      'CORRUPT_WEIGHTS',
      /model\.safetensors: tensor vision_model\.encoder\.layers\.0\.attn\.k_norm\.weight \[80\] is not part of .*; 5 more/,
    );
  });

  it('names a misshapen tensor with both shapes', async () => {
    const folder = await copyOf('tiny-6b-vit');
    await editHeader(folder, (header) => void (header[GATE]!.shape = [128, 352]));
    await refuses(
      folder,
      'CORRUPT_WEIGHTS',
      /gate_proj\.weight has shape \[128, 352\], expected \[352, 128\]$/,
    );
  });

  it('names a wrong type', async () => {
    const folder = await copyOf('tiny-6b-vit');
    await editHeader(folder, (header) => void (header[GATE]!.dtype = 'I32'));
    await refuses(folder, 'CORRUPT_WEIGHTS', /gate_proj\.weight has dtype I32, expected F32, BF16, F16$/);
    await editHeader(folder, (header) => void (header[GATE]!.dtype = 'F99'));
    await refuses(folder, 'CORRUPT_WEIGHTS', /gate_proj\.weight: dtype "F99" is unknown/);
  });

  it('refuses truncated files, wherever they end', async () => {
    for (const [size, message] of [
      [0, /is truncated: 0 bytes/],
      [7, /is truncated: 7 bytes/],
      [5000, /its header has \d+ bytes, the file 5000/],
      [3_000_000, /is truncated: tensor .* ends at byte/],
    ] as const) {
      const folder = await copyOf('tiny-6b-vit');
      await truncate(join(folder, 'model.safetensors'), size);
      await refuses(folder, 'CORRUPT_WEIGHTS', message);
    }
  });

  it('refuses headers that are too long, not JSON, not objects, or name a tensor twice', async () => {
    const folder = await copyOf('tiny-text');
    await editHeader(folder, () => '[1]');
    await refuses(folder, 'CORRUPT_WEIGHTS', /a header that is not an object/);
    await editHeader(folder, () => '{"a": }');
    await refuses(folder, 'CORRUPT_WEIGHTS', /header that is not valid JSON/);
    await writeFile(join(folder, 'model.safetensors'), Buffer.alloc(64, 0xff));
    await refuses(folder, 'CORRUPT_WEIGHTS', /header of 18446744073709551615 bytes, the limit is/);
    const twice = await copyOf('tiny-text');
    await editHeader(twice, (header) =>
      JSON.stringify(header).replace(
        /\}$/,
        `,"model.norm.weight":${JSON.stringify(header['model.norm.weight'])}}`,
      ),
    );
    await refuses(twice, 'CORRUPT_WEIGHTS', /names tensor model\.norm\.weight twice/);
  });

  it('refuses offsets that overlap, leave gaps, contradict the shape, or are no numbers', async () => {
    const overlap = await copyOf('tiny-6b-vit');
    await editHeader(overlap, (header) => void (header[GATE]!.data_offsets = [0, 352 * 128 * 4]));
    await refuses(overlap, 'CORRUPT_WEIGHTS', /overlaps|unused between/);
    const gap = await copyOf('tiny-6b-vit');
    await editHeader(gap, (header) => void delete header[GATE]);
    await refuses(gap, 'CORRUPT_WEIGHTS', /leaves 180224 bytes unused between/);
    const short = await copyOf('tiny-6b-vit');
    await editHeader(short, (header) => void (header[GATE]!.data_offsets[1] -= 4));
    await refuses(short, 'CORRUPT_WEIGHTS', /F32 \[352, 128\] takes 180224 bytes, data_offsets span 180220/);
    const wild = await copyOf('tiny-6b-vit');
    await editHeader(wild, (header) => void (header[GATE]!.data_offsets = [-4, 1e300]));
    await refuses(wild, 'CORRUPT_WEIGHTS', /data_offsets must be \[begin, end\]/);
    await editHeader(wild, (header) => void (header[GATE]!.shape = [-1, 128]));
    await refuses(wild, 'CORRUPT_WEIGHTS', /shape must be a list of at most 8 sizes/);
    const long = await copyOf('tiny-text');
    await writeFile(
      join(long, 'model.safetensors'),
      Buffer.concat([await readFile(join(long, 'model.safetensors')), Buffer.alloc(5)]),
    );
    await refuses(long, 'CORRUPT_WEIGHTS', /has 5 bytes after its last tensor/);
  });

  it('checks the index against the files, and keeps it inside the folder', async () => {
    const indexName = 'model.safetensors.index.json';
    const moved = await copyOf('tiny-bf16-sharded');
    await editConfig(
      moved,
      (index) =>
        (object(index, 'weight_map')['language_model.lm_head.weight'] = 'model-00002-of-00003.safetensors'),
      indexName,
    );
    await refuses(
      moved,
      'CORRUPT_WEIGHTS',
      /00001-of-00003\.safetensors: tensor language_model\.lm_head\.weight is here, but .* says model-00002/,
    );
    const gone = await copyOf('tiny-bf16-sharded');
    await rm(join(gone, 'model-00003-of-00003.safetensors'));
    await refuses(gone, 'CORRUPT_WEIGHTS', /model-00003-of-00003\.safetensors: cannot be opened \(ENOENT\)/);
    const outside = await copyOf('tiny-bf16-sharded');
    await editConfig(
      outside,
      (index) => (object(index, 'weight_map')['language_model.lm_head.weight'] = '../../etc/passwd'),
      indexName,
    );
    await refuses(
      outside,
      'CORRUPT_WEIGHTS',
      /"\.\.\/\.\.\/etc\/passwd", expected the name of a file in the same folder/,
    );
    const absent = await copyOf('tiny-bf16-sharded');
    await editConfig(
      absent,
      (index) => (object(index, 'weight_map')['extra'] = 'model-00001-of-00003.safetensors'),
      indexName,
    );
    await refuses(
      absent,
      'CORRUPT_WEIGHTS',
      /tensor extra is missing, model\.safetensors\.index\.json says it is here/,
    );
    const noIndex = await copyOf('tiny-bf16-sharded');
    await rm(join(noIndex, indexName));
    await refuses(
      noIndex,
      'CORRUPT_WEIGHTS',
      /expected model\.safetensors or .* \(found 3 other safetensors files/,
    );
  });

  it('refuses names that would break a line or a terminal', async () => {
    const folder = await copyOf('tiny-text');
    await editHeader(folder, (header) => {
      header['a\n\u001b[31m'] = header['model.norm.weight']!;
      delete header['model.norm.weight'];
    });
    await refuses(
      folder,
      'CORRUPT_WEIGHTS',
      /tensor name "a\\n\\u001b\[31m" is not 1 to 512 printable characters/,
    );
  });

  it('follows links to readable files', async () => {
    const folder = await copyOf('tiny-text');
    await rename(join(folder, 'model.safetensors'), join(scratch(), 'elsewhere.bin'));
    await symlink(join(scratch(), 'elsewhere.bin'), join(folder, 'model.safetensors'));
    assert.equal((await readCheckpoint(folder)).spec.text.vocabSize, 373);
  });
});
