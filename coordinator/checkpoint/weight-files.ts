// Finds a checkpoint's safetensors files and gathers their headers into one table by name. Knows no families.
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { AppError } from '../../common/errors.js';
import { MAX_WEIGHT_FILES } from '../../common/limits.js';
import { ConfigReader } from './config-reader.js';
import type { SourceFile } from './model-spec.js';
import { readSafetensorsHeader, type HeaderTensor } from './safetensors.js';
import { checkTensorName } from './tensor-name.js';

export interface StoredTensor extends HeaderTensor {
  readonly fileIndex: number;
}

export interface WeightTable {
  readonly files: readonly SourceFile[];
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

const SINGLE_FILE = 'model.safetensors';
export const INDEX_FILE = 'model.safetensors.index.json';

export async function readWeightTable(folder: string): Promise<WeightTable> {
  const entries = await readdir(folder);
  if (entries.includes(SINGLE_FILE)) return gather(folder, [SINGLE_FILE], null);
  if (!entries.includes(INDEX_FILE)) throw noWeights(folder, entries);
  const weightMap = readWeightMap(await readFile(join(folder, INDEX_FILE), 'utf8'), join(folder, INDEX_FILE));
  const fileNames = [...new Set(weightMap.values())].sort();
  if (fileNames.length > MAX_WEIGHT_FILES) {
    throw new AppError(
      'CORRUPT_WEIGHTS',
      `${join(folder, INDEX_FILE)}: names ${fileNames.length} files, the limit is ${MAX_WEIGHT_FILES}`,
    );
  }
  return gather(folder, fileNames, weightMap);
}

function noWeights(folder: string, entries: readonly string[]): AppError {
  if (entries.some((name) => name.endsWith('.bin') || name.endsWith('.pt') || name.endsWith('.pth'))) {
    return new AppError(
      'UNSUPPORTED_MODEL',
      `${folder}: the weights are PyTorch files; convert them once with: skein convert --model ${folder} --output NEW_FOLDER`,
    );
  }
  const strays = entries.filter((name) => name.endsWith('.safetensors'));
  const hint =
    strays.length > 0
      ? ` (found ${strays.length} other safetensors files, for which the index is missing)`
      : '';
  return new AppError('CORRUPT_WEIGHTS', `${folder}: expected ${SINGLE_FILE} or ${INDEX_FILE}${hint}`);
}

/**
 * The index: tensor name -> file name. File names stay inside the folder; a file may be a link to anywhere readable.
 */
export function readWeightMap(text: string, path: string): ReadonlyMap<string, string> {
  const map = ConfigReader.parse(text, path).object('weight_map');
  const names = Object.entries(
    (JSON.parse(text) as { weight_map?: Record<string, unknown> }).weight_map ?? {},
  );
  if (map === null || names.length === 0)
    throw new AppError('CORRUPT_WEIGHTS', `${path}: weight_map is missing or empty`);
  for (const [tensor, file] of names) {
    checkTensorName(tensor, path);
    if (
      typeof file !== 'string' ||
      file !== basename(file) ||
      file.includes('\\') ||
      file === '' ||
      file === '.' ||
      file === '..'
    ) {
      throw new AppError(
        'CORRUPT_WEIGHTS',
        `${path}: tensor ${tensor} is in ${JSON.stringify(file)}, expected the name of a file in the same folder`,
      );
    }
  }
  return new Map(names as [string, string][]);
}

async function gather(
  folder: string,
  fileNames: readonly string[],
  weightMap: ReadonlyMap<string, string> | null,
): Promise<WeightTable> {
  const files: SourceFile[] = [];
  const tensors = new Map<string, StoredTensor>();
  for (const [fileIndex, fileName] of fileNames.entries()) {
    const path = join(folder, fileName);
    const header = await readSafetensorsHeader(path);
    files.push({ path, sizeBytes: header.sizeBytes, modifiedMs: header.modifiedMs });
    for (const tensor of header.tensors) {
      const earlier = tensors.get(tensor.name);
      if (earlier !== undefined) {
        throw new AppError(
          'CORRUPT_WEIGHTS',
          `${path}: tensor ${tensor.name} is also in ${files[earlier.fileIndex]?.path}`,
        );
      }
      if (weightMap !== null && weightMap.get(tensor.name) !== fileName) {
        const expected = weightMap.get(tensor.name) ?? 'no file';
        throw new AppError(
          'CORRUPT_WEIGHTS',
          `${path}: tensor ${tensor.name} is here, but ${INDEX_FILE} says ${expected}`,
        );
      }
      tensors.set(tensor.name, { ...tensor, fileIndex });
    }
  }
  for (const [name, fileName] of weightMap ?? []) {
    if (!tensors.has(name)) {
      throw new AppError(
        'CORRUPT_WEIGHTS',
        `${join(folder, fileName)}: tensor ${name} is missing, ${INDEX_FILE} says it is here`,
      );
    }
  }
  return { files, tensors };
}
