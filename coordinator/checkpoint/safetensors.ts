// Reads the header of one safetensors file and proves that its tensors tile the file exactly. Never reads tensor data.
// Format: u64 header length, JSON header, data. https://github.com/huggingface/safetensors#format
import { open, type FileHandle } from 'node:fs/promises';
import { AppError } from '../../common/errors.js';
import { MAX_SAFETENSORS_HEADER_BYTES, MAX_TENSOR_DIMENSIONS } from '../../common/limits.js';
import { checkTensorName } from './tensor-name.js';

/** As written in the header, e.g. F32, BF16, I32, F8_E4M3. */
export type StoredDtype = string;

export interface HeaderTensor {
  readonly name: string;
  readonly dtype: StoredDtype;
  readonly shape: readonly number[];
  /** Of the first byte, from the start of the file. */
  readonly dataOffset: number;
  readonly sizeBytes: number;
}

export interface SafetensorsFile {
  readonly sizeBytes: number;
  readonly modifiedMs: number;
  readonly tensors: readonly HeaderTensor[];
}

const PREFIX_BYTES = 8;

/** Bytes of one element; formats that Skein cannot use are listed too, so that the file's layout is still checked. */
const DTYPE_BYTES: Readonly<Record<string, number>> = {
  F64: 8,
  I64: 8,
  U64: 8,
  F32: 4,
  I32: 4,
  U32: 4,
  F16: 2,
  BF16: 2,
  I16: 2,
  U16: 2,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I8: 1,
  U8: 1,
  BOOL: 1,
};

export async function readSafetensorsHeader(path: string): Promise<SafetensorsFile> {
  const file = await openForReading(path);
  try {
    const stats = await file.stat();
    if (!stats.isFile()) throw corrupt(path, 'is not a regular file');
    const headerBytes = await readHeaderBytes(file, path, stats.size);
    const header = parseHeader(headerBytes, path);
    const dataStart = PREFIX_BYTES + headerBytes.length;
    const tensors = header.map(([name, entry]) => parseEntry(path, name, entry, dataStart));
    checkCoverage(path, tensors, dataStart, stats.size);
    return { sizeBytes: stats.size, modifiedMs: stats.mtimeMs, tensors };
  } finally {
    await file.close();
  }
}

async function openForReading(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r');
  } catch (error) {
    throw corrupt(
      path,
      `cannot be opened (${(error as NodeJS.ErrnoException).code ?? (error as Error).message})`,
      error,
    );
  }
}

async function readHeaderBytes(file: FileHandle, path: string, fileSize: number): Promise<Buffer> {
  if (fileSize < PREFIX_BYTES)
    throw corrupt(path, `is truncated: ${fileSize} bytes, a safetensors file has at least 8`);
  const prefix = await readExactly(file, path, 0, PREFIX_BYTES);
  const headerLength = prefix.readBigUInt64LE(0);
  if (headerLength > BigInt(MAX_SAFETENSORS_HEADER_BYTES)) {
    throw corrupt(
      path,
      `has a header of ${headerLength} bytes, the limit is ${MAX_SAFETENSORS_HEADER_BYTES}: not a safetensors file?`,
    );
  }
  if (headerLength > BigInt(fileSize - PREFIX_BYTES)) {
    throw corrupt(path, `is truncated: its header has ${headerLength} bytes, the file ${fileSize}`);
  }
  return readExactly(file, path, PREFIX_BYTES, Number(headerLength));
}

async function readExactly(
  file: FileHandle,
  path: string,
  position: number,
  length: number,
): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, position + filled);
    if (bytesRead === 0)
      throw corrupt(path, `ends at byte ${position + filled}, expected ${position + length}`);
    filled += bytesRead;
  }
  return buffer;
}

function parseHeader(bytes: Buffer, path: string): [string, unknown][] {
  const text = bytes.toString('utf8');
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch (error) {
    throw corrupt(path, 'has a header that is not valid JSON', error);
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header))
    throw corrupt(path, 'has a header that is not an object');
  const duplicate = firstDuplicateKey(text);
  if (duplicate !== null) throw corrupt(path, `names tensor ${duplicate} twice`);
  return Object.entries(header).filter(([name]) => name !== '__metadata__');
}

/**
 * JSON.parse keeps the last of two equal keys without a word. `text` is valid JSON; only keys of the outermost object
 * count.
 */
function firstDuplicateKey(text: string): string | null {
  const seen = new Set<string>();
  let depth = 0;
  let expectsKey = false;
  for (let index = 0; index < text.length; index++) {
    const char = text[index];
    if (char === '"') {
      const end = endOfString(text, index);
      if (depth === 1 && expectsKey) {
        const key = JSON.parse(text.slice(index, end + 1)) as string;
        if (seen.has(key)) return key;
        seen.add(key);
        expectsKey = false;
      }
      index = end;
    } else if (char === '{' || char === '[') {
      depth++;
      expectsKey = depth === 1;
    } else if (char === '}' || char === ']') {
      depth--;
    } else if (char === ',' && depth === 1) {
      expectsKey = true;
    }
  }
  return null;
}

function endOfString(text: string, start: number): number {
  let index = start + 1;
  while (text[index] !== '"') index += text[index] === '\\' ? 2 : 1;
  return index;
}

function parseEntry(path: string, name: string, entry: unknown, dataStart: number): HeaderTensor {
  checkTensorName(name, path);
  const where = `tensor ${name}`;
  const {
    dtype,
    shape,
    data_offsets: offsets,
  } = (typeof entry === 'object' && entry !== null ? entry : {}) as {
    dtype?: unknown;
    shape?: unknown;
    data_offsets?: unknown;
  };
  if (typeof dtype !== 'string' || !Object.hasOwn(DTYPE_BYTES, dtype)) {
    throw corrupt(path, `${where}: dtype ${JSON.stringify(dtype)} is unknown`);
  }
  const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
  if (!Array.isArray(shape) || shape.length > MAX_TENSOR_DIMENSIONS || !shape.every(isSize)) {
    throw corrupt(path, `${where}: shape must be a list of at most ${MAX_TENSOR_DIMENSIONS} sizes`);
  }
  if (
    !Array.isArray(offsets) ||
    offsets.length !== 2 ||
    !isSize(offsets[0]) ||
    !isSize(offsets[1]) ||
    offsets[1] < offsets[0]
  ) {
    throw corrupt(path, `${where}: data_offsets must be [begin, end]`);
  }
  const sizeBytes = shape.reduce((product, size) => product * size, DTYPE_BYTES[dtype] ?? 0);
  if (offsets[1] - offsets[0] !== sizeBytes) {
    throw corrupt(
      path,
      `${where}: ${dtype} [${shape.join(', ')}] takes ${sizeBytes} bytes, data_offsets span ${offsets[1] - offsets[0]}`,
    );
  }
  return { name, dtype, shape: shape, dataOffset: dataStart + offsets[0], sizeBytes };
}

/** Tensors follow each other without gap or overlap and end where the file ends, as the format demands. */
function checkCoverage(
  path: string,
  tensors: readonly HeaderTensor[],
  dataStart: number,
  fileSize: number,
): void {
  const ordered = [...tensors].sort((a, b) => a.dataOffset - b.dataOffset || a.sizeBytes - b.sizeBytes);
  let position = dataStart;
  let previous = 'the header';
  for (const tensor of ordered) {
    if (tensor.dataOffset + tensor.sizeBytes > fileSize) {
      throw corrupt(
        path,
        `is truncated: tensor ${tensor.name} ends at byte ${tensor.dataOffset + tensor.sizeBytes}, the file has ${fileSize}`,
      );
    }
    if (tensor.dataOffset < position) throw corrupt(path, `tensor ${tensor.name} overlaps ${previous}`);
    if (tensor.dataOffset > position) {
      throw corrupt(
        path,
        `leaves ${tensor.dataOffset - position} bytes unused between ${previous} and tensor ${tensor.name}`,
      );
    }
    position += tensor.sizeBytes;
    previous = `tensor ${tensor.name}`;
  }
  if (position !== fileSize) throw corrupt(path, `has ${fileSize - position} bytes after its last tensor`);
}

function corrupt(path: string, what: string, cause?: unknown): AppError {
  return new AppError('CORRUPT_WEIGHTS', `${path}: ${what}`, cause === undefined ? {} : { cause });
}
