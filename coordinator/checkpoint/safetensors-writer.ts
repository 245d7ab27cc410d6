// Writes one safetensors file from tensors whose bytes come in pieces. The file appears under its name only when it is
// complete.
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { AppError } from '../../common/errors.js';

export interface TensorToWrite {
  readonly name: string;
  /** As in the safetensors header: F32, BF16, I32, ... */
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly sizeBytes: number;
  /** Bytes of one element. */
  readonly elementBytes: number;
  read(): AsyncIterable<Buffer>;
}

const HEADER_ALIGNMENT = 8;

/** What the system has against it (a full disk, no rights) is told with the path, and is no bug. */
export async function toDisk<T>(path: string, writing: Promise<T>): Promise<T> {
  try {
    return await writing;
  } catch (error) {
    const { message } = error as NodeJS.ErrnoException;
    throw new AppError('INVALID_REQUEST', `${path}: cannot be written: ${message}`, {
      details: { param: 'output' },
      cause: error,
    });
  }
}

/** Tensors are laid out from the widest type to the narrowest, so that each is aligned. */
export async function writeSafetensors(path: string, tensors: readonly TensorToWrite[]): Promise<void> {
  const ordered = [...tensors].sort((a, b) => b.elementBytes - a.elementBytes || (a.name < b.name ? -1 : 1));
  const partial = `${path}.partial`;
  const file = await toDisk(path, open(partial, 'wx'));
  try {
    let position = await writeHeader(file, path, ordered);
    for (const tensor of ordered) position = await writeTensor(file, path, tensor, position);
    await toDisk(path, file.sync());
    await file.close();
    await toDisk(path, rename(partial, path));
  } catch (error) {
    await file.close().catch(() => undefined);
    await rm(partial, { force: true });
    throw error;
  }
}

async function writeHeader(
  file: FileHandle,
  path: string,
  tensors: readonly TensorToWrite[],
): Promise<number> {
  const header: [string, unknown][] = [['__metadata__', { format: 'pt' }]];
  let offset = 0;
  for (const { name, dtype, shape, sizeBytes } of tensors) {
    header.push([name, { dtype, shape, data_offsets: [offset, offset + sizeBytes] }]);
    offset += sizeBytes;
  }
  // Tensor names are keys like any other, __proto__ included: no object is filled with them.
  const text = `{${header.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(',')}}`;
  const length = Math.ceil(Buffer.byteLength(text) / HEADER_ALIGNMENT) * HEADER_ALIGNMENT;
  const bytes = Buffer.alloc(8 + length, 0x20);
  bytes.writeBigUInt64LE(BigInt(length));
  bytes.write(text, 8);
  await toDisk(path, writeAll(file, bytes, 0));
  return bytes.length;
}

async function writeTensor(
  file: FileHandle,
  path: string,
  tensor: TensorToWrite,
  start: number,
): Promise<number> {
  let position = start;
  for await (const chunk of tensor.read()) {
    await toDisk(path, writeAll(file, chunk, position));
    position += chunk.length;
  }
  if (position - start !== tensor.sizeBytes) {
    throw new AppError(
      'INTERNAL',
      `${path}: tensor ${tensor.name} came with ${position - start} bytes, expected ${tensor.sizeBytes}`,
    );
  }
  return position;
}

async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  let written = 0;
  while (written < bytes.length)
    written += (await file.write(bytes, written, bytes.length - written, position + written)).bytesWritten;
}
