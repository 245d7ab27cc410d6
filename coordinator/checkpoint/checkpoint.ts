// Reads a checkpoint folder: configuration, safetensors headers, and the proof that both describe one model. Reads no
// weights.
import { stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { AppError } from '../../common/errors.js';
import { ConfigReader, type DefaultsTaken } from './config-reader.js';
import { expectedTensors, type ExpectedModel, type ExpectedTensor } from './expected-tensors.js';
import type { FamilyConfig, ModelFamily } from './families/family.js';
import { familyOfConfig } from './families/registry.js';
import type { Checkpoint, ComputeType, DataType, ModelSpec, SourceTensor } from './model-spec.js';
import { findQuantization } from './quantization.js';
import { readWeightTable, type StoredTensor, type WeightTable } from './weight-files.js';

const FLOAT_TYPES: Readonly<Record<string, DataType>> = { F32: 'float32', BF16: 'bfloat16', F16: 'float16' };
const INT_TYPES: Readonly<Record<string, DataType>> = { I32: 'int32' };
const FLOAT8_TYPES: Readonly<Record<string, DataType>> = { F8_E4M3: 'float8_e4m3' };
const TYPES = { float: FLOAT_TYPES, int32: INT_TYPES, float8: FLOAT8_TYPES };

/** torch_dtype in words of a configuration; half precision is computed in bfloat16, whose range holds it. */
const COMPUTE_TYPES: Readonly<Record<string, ComputeType>> = {
  float32: 'float32',
  bfloat16: 'bfloat16',
  float16: 'bfloat16',
};

/** Throws AppError CORRUPT_WEIGHTS or UNSUPPORTED_MODEL, naming file, key or tensor, and what was expected. */
export async function readCheckpoint(folder: string): Promise<Checkpoint> {
  const root = resolve(folder);
  const stats = await stat(root).catch(() => null);
  if (stats === null || !stats.isDirectory()) {
    throw new AppError(
      'MODEL_NOT_FOUND',
      `${root}: not a folder; expected a checkpoint in Hugging Face form`,
    );
  }
  const defaults: DefaultsTaken = new Map();
  const readBeside = (name: string) => ConfigReader.read(join(root, name), defaults);
  const config = await readBeside('config.json');
  if (config === null) throw new AppError('CORRUPT_WEIGHTS', `${join(root, 'config.json')}: missing`);
  const family = familyOfConfig(config);
  const familyConfig = family.readConfig({
    config,
    generation: await readBeside('generation_config.json'),
    processor: await readBeside('processor_config.json'),
    preprocessor: await readBeside('preprocessor_config.json'),
  });
  const table = await readWeightTable(root);
  const named = canonicalise(family, table);
  const { text, denseLinears, float8Linears } = settleText(root, table, config, family, familyConfig, named);
  const hasLmHead = !text.tieWordEmbeddings;
  const expected = expectedTensors(family.names, {
    ...familyConfig,
    text,
    hasLmHead,
    denseLinears,
    float8Linears,
  });
  const tensors = matchTensors(root, family, table, named, expected, text.tieWordEmbeddings);
  const storedType = tensors.get(family.names.tokenEmbedding)?.dataType ?? 'float32';
  const spec: ModelSpec = {
    name: basename(root),
    architecture: familyConfig.architecture,
    layout: family.layout,
    storedType,
    computeType: readComputeType(config, storedType),
    text,
    vision: familyConfig.vision,
    tiling: familyConfig.tiling,
  };
  const defaultsTaken = [...defaults.values()].map((taken) => ({
    ...taken,
    setting: taken.setting.replace(`${root}/`, ''),
  }));
  const { eosTokenIds } = familyConfig;
  return { spec, files: table.files, tensors, eosTokenIds, folder: root, defaultsTaken };
}

/** dtype, then torch_dtype, its older name; where neither is there, as the weights are stored. */
function readComputeType(config: ConfigReader, storedType: DataType): ComputeType {
  const dtype = config.string(['dtype', 'torch_dtype'], storedType);
  const computeType = COMPUTE_TYPES[dtype];
  if (computeType !== undefined) return computeType;
  const key = config.has('dtype') ? 'dtype' : 'torch_dtype';
  throw config.unsupported(key, Object.keys(COMPUTE_TYPES).join(', '));
}

/** Tensors by canonical name. Buffers that older saves contain and every reader recomputes are left out. */
function canonicalise(family: ModelFamily, table: WeightTable): ReadonlyMap<string, StoredTensor> {
  const named = new Map<string, StoredTensor>();
  for (const tensor of table.tensors.values()) {
    if (tensor.name.endsWith('.rotary_emb.inv_freq')) continue;
    const name = family.canonicalName(tensor.name);
    const earlier = named.get(name);
    if (earlier !== undefined) {
      throw new AppError(
        'CORRUPT_WEIGHTS',
        `${pathOf(table, tensor)}: tensor ${tensor.name} is the same as ${earlier.name}`,
      );
    }
    named.set(name, tensor);
  }
  return named;
}

/**
 * What only the tensors tell: whether the decoder is quantised, whether there is a head of its own, rows that no key
 * gives.
 */
function settleText(
  root: string,
  table: WeightTable,
  config: ConfigReader,
  family: ModelFamily,
  familyConfig: FamilyConfig,
  named: ReadonlyMap<string, StoredTensor>,
): Pick<ExpectedModel, 'text' | 'denseLinears' | 'float8Linears'> {
  const nested = [config.object('llm_config'), config.object('text_config'), config];
  const quantization = findQuantization(nested, family.names, familyConfig.text, named, (tensor) =>
    tensor === undefined ? root : pathOf(table, tensor),
  );
  const { tiedHead } = familyConfig;
  const isTied = tiedHead === 'always' || (tiedHead === 'if-absent' && !named.has(family.names.lmHead));
  const vocabSize = familyConfig.text.vocabSize || (named.get(family.names.tokenEmbedding)?.shape[0] ?? 0);
  const { awqGroupSize, denseLinears, float8Linears } = quantization;
  const float8 = float8Linears.size === 0 ? 'none' : 'stored';
  return {
    text: { ...familyConfig.text, vocabSize, awqGroupSize, float8, tieWordEmbeddings: isTied },
    denseLinears,
    float8Linears,
  };
}

function matchTensors(
  root: string,
  family: ModelFamily,
  table: WeightTable,
  named: ReadonlyMap<string, StoredTensor>,
  expected: readonly ExpectedTensor[],
  isTied: boolean,
): ReadonlyMap<string, SourceTensor> {
  const tensors = new Map<string, SourceTensor>();
  const missing: ExpectedTensor[] = [];
  for (const want of expected) {
    const found = named.get(want.name);
    if (found === undefined) missing.push(want);
    else tensors.set(want.name, checkTensor(pathOf(table, found), found, want));
  }
  const first = missing[0];
  if (first !== undefined) {
    const others = missing.length > 1 ? `; ${missing.length - 1} more are missing` : '';
    const where = table.files.length === 1 ? table.files[0]?.path : root;
    throw new AppError(
      'CORRUPT_WEIGHTS',
      `${where}: tensor ${first.name} is missing, expected ${first.kind} [${first.shape.join(', ')}]${others}`,
    );
  }
  // A tied model may carry a copy of its head, which is the embedding again.
  const extra = [...named].filter(
    ([name]) => !tensors.has(name) && !(isTied && name === family.names.lmHead),
  );
  const surplus = extra[0]?.[1];
  if (surplus !== undefined) {
    const others = extra.length > 1 ? `; ${extra.length - 1} more are unexpected` : '';
    throw new AppError(
      'CORRUPT_WEIGHTS',
      `${pathOf(table, surplus)}: tensor ${surplus.name} [${surplus.shape.join(', ')}] is not part of a ${family.architectures[0]} of this configuration, which has ${expected.length} tensors${others}`,
    );
  }
  return tensors;
}

function checkTensor(path: string, found: StoredTensor, want: ExpectedTensor): SourceTensor {
  const types = TYPES[want.kind];
  const dataType = types[found.dtype];
  if (dataType === undefined) {
    throw new AppError(
      'CORRUPT_WEIGHTS',
      `${path}: tensor ${found.name} has dtype ${found.dtype}, expected ${Object.keys(types).join(', ')}`,
    );
  }
  const isSame =
    found.shape.length === want.shape.length && found.shape.every((size, axis) => size === want.shape[axis]);
  if (!isSame) {
    throw new AppError(
      'CORRUPT_WEIGHTS',
      `${path}: tensor ${found.name} has shape [${found.shape.join(', ')}], expected [${want.shape.join(', ')}]`,
    );
  }
  return {
    name: found.name,
    fileIndex: found.fileIndex,
    dataType,
    shape: found.shape,
    dataOffset: found.dataOffset,
  };
}

function pathOf(table: WeightTable, tensor: StoredTensor): string {
  return table.files[tensor.fileIndex]?.path ?? 'unknown file';
}
