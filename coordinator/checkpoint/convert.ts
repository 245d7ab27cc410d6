// Converts a checkpoint of PyTorch .bin files to safetensors in a new folder: weights, index, and the small files
// beside them. The pickles are read by a restricted reader (torch/pickle.ts); nothing in them runs, and no pickle is
// copied.
import { copyFile, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { AppError } from '../../common/errors.js';
import { MAX_CONVERTED_GROWTH, MAX_COPIED_FILE_BYTES } from '../../common/limits.js';
import { readSafetensorsHeader } from './safetensors.js';
import { toDisk, writeSafetensors, type TensorToWrite } from './safetensors-writer.js';
import { TORCH_DTYPE_BYTES, type TorchTensor } from './torch/pickle-values.js';
import { TorchFile } from './torch/torch-file.js';
import { INDEX_FILE, readWeightMap } from './weight-files.js';

export interface ConvertOptions {
  readonly model: string;
  /** Must not exist, or be empty. */
  readonly output: string;
  /** Called after each weight file. */
  readonly onFile?: (file: ConvertedFile) => void;
}

export interface ConvertedFile {
  readonly source: string;
  readonly target: string;
  readonly numTensors: number;
  /** Of the tensors, without the header. */
  readonly tensorBytes: number;
}

export interface ConvertResult {
  readonly files: readonly ConvertedFile[];
  readonly copied: readonly string[];
}

const TORCH_SINGLE = 'pytorch_model.bin';
const TORCH_INDEX = 'pytorch_model.bin.index.json';
/** Pickles and other weights stay behind. */
const NOT_COPIED = /(\.(bin|pt|pth|pkl|pickle|ckpt|safetensors)|\.index\.json)$/;

export async function convertCheckpoint({ model, output, onFile }: ConvertOptions): Promise<ConvertResult> {
  const source = resolve(model);
  const target = resolve(output);
  const entries = await readdir(source).catch(() => {
    throw new AppError(
      'MODEL_NOT_FOUND',
      `${source}: not a folder; expected a checkpoint with PyTorch .bin files`,
    );
  });
  const { names, weightMap } = await findTorchFiles(source, entries);
  await prepareOutput(source, target);
  const files: ConvertedFile[] = [];
  const targetOf = new Map<string, string>();
  try {
    for (const name of names) {
      const converted = await convertFile(source, target, name, weightMap, targetOf);
      files.push(converted);
      onFile?.(converted);
    }
    checkComplete(source, weightMap, targetOf);
    if (files.length > 1) await writeIndex(target, files, targetOf);
    return { files, copied: await copyOthers(source, target, entries) };
  } catch (error) {
    // Half a checkpoint must not look like one, nor stand in the way of the next attempt. The folder was empty.
    for (const name of [...names.map(targetName), INDEX_FILE, ...entries.filter(isCopied)])
      await rm(join(target, name), { force: true });
    throw error;
  }
}

async function findTorchFiles(
  folder: string,
  entries: readonly string[],
): Promise<{ names: readonly string[]; weightMap: ReadonlyMap<string, string> | null }> {
  if (entries.includes(TORCH_INDEX)) {
    const weightMap = readWeightMap(
      await readFile(join(folder, TORCH_INDEX), 'utf8'),
      join(folder, TORCH_INDEX),
    );
    return { names: [...new Set(weightMap.values())].sort(), weightMap };
  }
  if (entries.includes(TORCH_SINGLE)) return { names: [TORCH_SINGLE], weightMap: null };
  if (entries.some((name) => name.endsWith('.safetensors'))) {
    throw new AppError('INVALID_REQUEST', `${folder}: already safetensors, nothing to convert`);
  }
  throw new AppError('CORRUPT_WEIGHTS', `${folder}: expected ${TORCH_SINGLE} or ${TORCH_INDEX}`);
}

async function prepareOutput(source: string, target: string): Promise<void> {
  if (source === target)
    throw new AppError('INVALID_REQUEST', `--output must be another folder than --model (${source})`);
  await toDisk(target, mkdir(target, { recursive: true }));
  const present = await readdir(target);
  if (present.length > 0)
    throw new AppError('INVALID_REQUEST', `${target}: the output folder is not empty (${present[0]})`);
}

/** pytorch_model-00001-of-00002.bin -> model-00001-of-00002.safetensors. */
function targetName(name: string): string {
  return `${name.replace(/^pytorch_model/, 'model').replace(/\.(bin|pt|pth)$/, '')}.safetensors`;
}

async function convertFile(
  source: string,
  target: string,
  name: string,
  weightMap: ReadonlyMap<string, string> | null,
  targetOf: Map<string, string>,
): Promise<ConvertedFile> {
  const file = await TorchFile.open(join(source, name));
  try {
    for (const tensor of file.tensors.keys()) {
      const expected = weightMap === null ? name : (weightMap.get(tensor) ?? 'no file');
      if (expected !== name)
        throw new AppError(
          'CORRUPT_WEIGHTS',
          `${file.path}: tensor ${tensor} is here, but ${TORCH_INDEX} says ${expected}`,
        );
      if (targetOf.has(tensor))
        throw new AppError('CORRUPT_WEIGHTS', `${file.path}: tensor ${tensor} is in an earlier file too`);
      targetOf.set(tensor, targetName(name));
    }
    const tensors = [...file.tensors].map(([tensorName, tensor]) => toWrite(file, tensorName, tensor));
    const totalBytes = tensors.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    if (totalBytes > MAX_CONVERTED_GROWTH * file.sizeBytes) {
      throw new AppError(
        'CORRUPT_WEIGHTS',
        `${file.path}: its tensors come to ${totalBytes} bytes, more than ${MAX_CONVERTED_GROWTH} times the file's ${file.sizeBytes}`,
      );
    }
    const path = join(target, targetName(name));
    await writeSafetensors(path, tensors);
    const written = await readSafetensorsHeader(path);
    return {
      source: name,
      target: targetName(name),
      numTensors: written.tensors.length,
      tensorBytes: totalBytes,
    };
  } finally {
    await file.close();
  }
}

function toWrite(file: TorchFile, name: string, tensor: TorchTensor): TensorToWrite {
  const elementBytes = TORCH_DTYPE_BYTES[tensor.dtype];
  return {
    name,
    dtype: tensor.dtype,
    shape: tensor.shape,
    elementBytes,
    sizeBytes: tensor.shape.reduce((product, size) => product * size, elementBytes),
    read: () => file.readTensor(tensor),
  };
}

function checkComplete(
  source: string,
  weightMap: ReadonlyMap<string, string> | null,
  targetOf: ReadonlyMap<string, string>,
): void {
  for (const [tensor, name] of weightMap ?? []) {
    if (!targetOf.has(tensor))
      throw new AppError(
        'CORRUPT_WEIGHTS',
        `${join(source, name)}: tensor ${tensor} is missing, ${TORCH_INDEX} says it is here`,
      );
  }
}

async function writeIndex(
  target: string,
  files: readonly ConvertedFile[],
  targetOf: ReadonlyMap<string, string>,
): Promise<void> {
  const totalSize = files.reduce((sum, file) => sum + file.tensorBytes, 0);
  const names = [...targetOf].sort(([a], [b]) => (a < b ? -1 : 1));
  const index = { metadata: { total_size: totalSize }, weight_map: Object.fromEntries(names) };
  const path = join(target, INDEX_FILE);
  await toDisk(path, writeFile(path, `${JSON.stringify(index, null, 1)}\n`, { flag: 'wx' }));
}

function isCopied(name: string): boolean {
  return !name.startsWith('.') && !NOT_COPIED.test(name);
}

/** Configuration, tokenizer, templates: regular files that are no weights. Folders and hidden files stay behind. */
async function copyOthers(source: string, target: string, entries: readonly string[]): Promise<string[]> {
  const copied: string[] = [];
  for (const name of [...entries].sort()) {
    if (!isCopied(name)) continue;
    const stats = await stat(join(source, name));
    if (!stats.isFile() || stats.size > MAX_COPIED_FILE_BYTES) continue;
    await toDisk(join(target, name), copyFile(join(source, name), join(target, name)));
    copied.push(name);
  }
  return copied;
}
