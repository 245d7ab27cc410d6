// Where the transformers layout's picture settings are found, in transformers' order; what is refused; which defaults
// are reported.
import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readCheckpoint } from '../../../../coordinator/checkpoint/checkpoint.js';
import { copyOf, editConfig, refuses, useScratchFolder, type Json } from './checkpoint-copies.js';

const IMAGENET_MEAN = [0.485, 0.456, 0.406];
const CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073];

const SETTINGS = {
  image_processor_type: 'GotOcr2ImageProcessorFast',
  min_patches: 1,
  max_patches: 3,
  size: { height: 56, width: 56 },
  image_mean: [0.1, 0.2, 0.3],
  image_std: [0.4, 0.5, 0.6],
};

/** A folder with these two files and no other picture settings; null: without the file. */
async function folderWith(processor: Json | null, preprocessor: Json | null): Promise<string> {
  const folder = await copyOf('tiny-hf-layout');
  await rm(join(folder, 'preprocessor_config.json'));
  if (processor !== null) await writeFile(join(folder, 'processor_config.json'), JSON.stringify(processor));
  if (preprocessor !== null)
    await writeFile(join(folder, 'preprocessor_config.json'), JSON.stringify(preprocessor));
  return folder;
}

async function settingsOf(folder: string): Promise<{ maxTiles: number; mean: readonly number[] }> {
  const { tiling, vision } = (await readCheckpoint(folder)).spec;
  assert.ok(tiling !== null && vision !== null);
  return { maxTiles: tiling.maxTiles, mean: vision.pixelMean };
}

async function defaultsOf(folder: string): Promise<Map<string, { value: unknown; isFileMissing: boolean }>> {
  const { defaultsTaken } = await readCheckpoint(folder);
  return new Map(defaultsTaken.map(({ setting, ...taken }) => [setting, taken]));
}

describe('picture settings of the transformers layout', () => {
  useScratchFolder();

  it('takes image_processor of processor_config.json before preprocessor_config.json, and does not merge them', async () => {
    const { max_patches, ...withoutMax } = SETTINGS;
    assert.equal(max_patches, 3);
    const folder = await folderWith({ image_processor: withoutMax }, { ...SETTINGS, image_mean: [1, 1, 1] });
    assert.deepEqual(await settingsOf(folder), { maxTiles: 12, mean: [0.1, 0.2, 0.3] });
  });

  it('takes preprocessor_config.json where processor_config.json has no image_processor', async () => {
    for (const processor of [{ image_seq_length: 4 }, { image_processor: null }]) {
      const folder = await folderWith(processor, SETTINGS);
      assert.deepEqual(await settingsOf(folder), { maxTiles: 3, mean: [0.1, 0.2, 0.3] });
    }
  });

  it("takes the class's defaults for keys that a file lacks, and says so", async () => {
    const folder = await folderWith({ image_processor: { size: 56 } }, null);
    assert.deepEqual(await settingsOf(folder), { maxTiles: 12, mean: CLIP_MEAN });
    const where = 'processor_config.json: image_processor';
    const defaults = await defaultsOf(folder);
    assert.deepEqual(defaults.get(`${where}: image_mean`), { value: CLIP_MEAN, isFileMissing: false });
    assert.deepEqual(defaults.get(`${where}: max_patches`), { value: 12, isFileMissing: false });
    assert.equal(defaults.has(`${where}: size`), false);
  });

  it('reads a folder without either file as a released InternVL, and says that the files are missing', async () => {
    const folder = await folderWith(null, null);
    assert.deepEqual(await settingsOf(folder), { maxTiles: 12, mean: IMAGENET_MEAN });
    const taken = (await defaultsOf(folder)).get(
      'processor_config.json, preprocessor_config.json: image_mean',
    );
    assert.deepEqual(taken, { value: IMAGENET_MEAN, isFileMissing: true });
  });

  it('cuts into tiles and appends the thumbnail whatever crop_to_patches says', async () => {
    for (const crop_to_patches of [false, true, null]) {
      const folder = await folderWith({ image_processor: { ...SETTINGS, crop_to_patches } }, null);
      const { tiling } = (await readCheckpoint(folder)).spec;
      assert.deepEqual([tiling?.isDynamic, tiling?.useThumbnail], [true, true]);
    }
  });

  const refused: readonly [string, Json, RegExp][] = [
    [
      'another image processor',
      { image_processor_type: 'CLIPImageProcessor' },
      /image_processor_type is "CLIPImageProcessor"; Skein supports "GotOcr2ImageProcessor"/,
    ],
    [
      'tiles of another size',
      { size: { height: 112, width: 112 } },
      /size is 112 x 112; the vision tower takes 56 x 56/,
    ],
    ['oblong tiles', { size: { height: 56, width: 84 } }, /size is 56 x 84/],
    ['another resampling', { resample: 2 }, /resample is 2; Skein supports 3/],
    ['pixels that are not scaled', { do_rescale: false }, /do_rescale is false/],
    ['another scale', { rescale_factor: 0.5 }, /rescale_factor is 0\.5; Skein supports 1\/255/],
    ['pixels that are not normalised', { do_normalize: false }, /do_normalize is false/],
    ['more tiles at least than at most', { min_patches: 5 }, /tiles from 5 to 3/],
  ];
  for (const [what, change, message] of refused) {
    it(`refuses ${what}`, async () => {
      const folder = await folderWith({ image_processor: { ...SETTINGS, ...change } }, null);
      await refuses(folder, 'UNSUPPORTED_MODEL', message);
    });
  }

  it('refuses a deviation of zero, and a number of tokens that the tower does not give', async () => {
    const flat = await folderWith({ image_processor: { ...SETTINGS, image_std: [0, 1, 1] } }, null);
    await refuses(flat, 'CORRUPT_WEIGHTS', /image_std must be three numbers above 0/);
    const long = await folderWith({ image_processor: SETTINGS, image_seq_length: 256 }, null);
    await refuses(long, 'CORRUPT_WEIGHTS', /image_seq_length must be 4, what the vision tower gives a tile/);
  });
});

describe('the type that a checkpoint asks to be computed in', () => {
  useScratchFolder();

  const types: readonly [Json, string][] = [
    [{ dtype: 'bfloat16' }, 'bfloat16'],
    [{ dtype: 'bfloat16', torch_dtype: 'float32' }, 'bfloat16'],
    [{ dtype: null, torch_dtype: 'bfloat16' }, 'bfloat16'],
    [{ torch_dtype: 'float16' }, 'bfloat16'],
    [{ torch_dtype: 'float32' }, 'float32'],
    [{}, 'float32'],
  ];
  for (const [keys, expected] of types) {
    it(`is ${expected} for float32 weights with ${JSON.stringify(keys)}`, async () => {
      const folder = await copyOf('tiny-text');
      await editConfig(folder, (config) => {
        delete config['torch_dtype'];
        Object.assign(config, keys);
      });
      const { spec, defaultsTaken } = await readCheckpoint(folder);
      assert.deepEqual([spec.storedType, spec.computeType], ['float32', expected]);
      const isDefault = defaultsTaken.some(({ setting }) => setting === 'config.json: dtype or torch_dtype');
      assert.equal(isDefault, Object.keys(keys).length === 0);
    });
  }

  it('is the stored type where the configuration is silent', async () => {
    const folder = await copyOf('tiny-bf16-sharded');
    await editConfig(folder, (config) => void delete config['torch_dtype']);
    assert.equal((await readCheckpoint(folder)).spec.computeType, 'bfloat16');
  });

  it('is refused by name where Skein cannot compute in it', async () => {
    const folder = await copyOf('tiny-text');
    await editConfig(folder, (config) => (config['torch_dtype'] = 'float8_e4m3fn'));
    await refuses(folder, 'UNSUPPORTED_MODEL', /torch_dtype is "float8_e4m3fn"; Skein supports float32/);
  });
});
