// Finds the entries of a zip archive as torch.save writes it: stored, not compressed; zip64 where sizes need it. Reads
// the directory only; data is read by whoever asks, at the offsets given here. Format: PKWARE APPNOTE 6.3.
import type { FileHandle } from 'node:fs/promises';
import { AppError } from '../../../common/errors.js';
import { MAX_ZIP_DIRECTORY_BYTES, MAX_ZIP_ENTRIES } from '../../../common/limits.js';
import { ByteReader } from './byte-reader.js';

export interface ZipEntry {
  readonly name: string;
  /** Of the first byte of the data, from the start of the file. */
  readonly dataOffset: number;
  readonly sizeBytes: number;
}

const LOCAL_HEADER = 0x04034b50;
const CENTRAL_HEADER = 0x02014b50;
const END_RECORD = 0x06054b50;
const END_RECORD_64 = 0x06064b50;
const END_LOCATOR_64 = 0x07064b50;

const END_RECORD_BYTES = 22;
const MAX_COMMENT_BYTES = 65_535;
const LOCATOR_BYTES = 20;
const LOCAL_HEADER_BYTES = 30;

const UINT16_MAX = 0xffff;
const UINT32_MAX = 0xffffffff;
const ZIP64_EXTRA = 1;
const ENCRYPTED_FLAG = 1;
const STORED = 0;

export function isZip(firstBytes: Buffer): boolean {
  return firstBytes.length >= 4 && firstBytes.readUInt32LE(0) === LOCAL_HEADER;
}

export async function readZipEntries(
  file: FileHandle,
  path: string,
  fileSize: number,
): Promise<ReadonlyMap<string, ZipEntry>> {
  const directory = await findDirectory(file, path, fileSize);
  if (directory.numEntries > MAX_ZIP_ENTRIES || directory.sizeBytes > MAX_ZIP_DIRECTORY_BYTES) {
    throw corrupt(
      path,
      `has a zip directory of ${directory.numEntries} entries and ${directory.sizeBytes} bytes, the limits are ${MAX_ZIP_ENTRIES} and ${MAX_ZIP_DIRECTORY_BYTES}`,
    );
  }
  if (directory.offset + directory.sizeBytes > fileSize)
    throw corrupt(path, 'is truncated: its zip directory lies beyond its end');
  const reader = new ByteReader(await readRange(file, path, directory.offset, directory.sizeBytes), path);
  const entries = new Map<string, ZipEntry>();
  for (let index = 0; index < directory.numEntries; index++) {
    const { name, sizeBytes, headerOffset } = readCentralEntry(reader, path);
    if (entries.has(name)) throw corrupt(path, `has two zip entries named ${JSON.stringify(name)}`);
    const dataOffset = await findData(file, path, headerOffset, fileSize);
    if (dataOffset + sizeBytes > fileSize)
      throw corrupt(
        path,
        `is truncated: zip entry ${JSON.stringify(name)} ends at byte ${dataOffset + sizeBytes}, the file has ${fileSize}`,
      );
    entries.set(name, { name, dataOffset, sizeBytes });
  }
  return entries;
}

interface Directory {
  readonly numEntries: number;
  readonly sizeBytes: number;
  readonly offset: number;
}

async function findDirectory(file: FileHandle, path: string, fileSize: number): Promise<Directory> {
  const tailSize = Math.min(fileSize, END_RECORD_BYTES + MAX_COMMENT_BYTES);
  const tail = await readRange(file, path, fileSize - tailSize, tailSize);
  let start = tail.length - END_RECORD_BYTES;
  while (
    start >= 0 &&
    !(
      tail.readUInt32LE(start) === END_RECORD &&
      tail.readUInt16LE(start + 20) === tail.length - start - END_RECORD_BYTES
    )
  )
    start--;
  if (start < 0)
    throw corrupt(path, 'is truncated: a zip archive ends with its directory, which is not there');
  const numEntries = tail.readUInt16LE(start + 10);
  const sizeBytes = tail.readUInt32LE(start + 12);
  const offset = tail.readUInt32LE(start + 16);
  if (numEntries !== UINT16_MAX && sizeBytes !== UINT32_MAX && offset !== UINT32_MAX)
    return { numEntries, sizeBytes, offset };
  return readDirectory64(file, path, fileSize - tailSize + start);
}

async function readDirectory64(file: FileHandle, path: string, endRecordOffset: number): Promise<Directory> {
  if (endRecordOffset < LOCATOR_BYTES) throw corrupt(path, 'has no zip64 directory where it needs one');
  const locator = new ByteReader(
    await readRange(file, path, endRecordOffset - LOCATOR_BYTES, LOCATOR_BYTES),
    path,
  );
  if (locator.uint32() !== END_LOCATOR_64) throw corrupt(path, 'has no zip64 directory where it needs one');
  locator.skip(4);
  const recordOffset = locator.uint64();
  if (recordOffset + 56 > endRecordOffset) throw corrupt(path, 'has a zip64 directory beyond its end');
  const record = new ByteReader(await readRange(file, path, recordOffset, 56), path);
  if (record.uint32() !== END_RECORD_64)
    throw corrupt(path, 'has a zip64 locator that points at something else');
  record.skip(28);
  const numEntries = record.uint64();
  return { numEntries, sizeBytes: record.uint64(), offset: record.uint64() };
}

function readCentralEntry(
  reader: ByteReader,
  path: string,
): { name: string; sizeBytes: number; headerOffset: number } {
  if (reader.uint32() !== CENTRAL_HEADER) throw corrupt(path, 'has a broken zip directory');
  reader.skip(4);
  const flags = reader.uint16();
  const method = reader.uint16();
  reader.skip(8);
  let packedSize = reader.uint32();
  let sizeBytes = reader.uint32();
  const nameLength = reader.uint16();
  const extraLength = reader.uint16();
  const commentLength = reader.uint16();
  reader.skip(8);
  let headerOffset = reader.uint32();
  const name = reader.utf8(nameLength);
  const extraEnd = reader.position + extraLength;
  while (reader.position + 4 <= extraEnd) {
    const id = reader.uint16();
    const fieldEnd = reader.uint16() + reader.position;
    if (id === ZIP64_EXTRA) {
      // Present in this order, and only those whose 32-bit field is full.
      if (sizeBytes === UINT32_MAX) sizeBytes = reader.uint64();
      if (packedSize === UINT32_MAX) packedSize = reader.uint64();
      if (headerOffset === UINT32_MAX) headerOffset = reader.uint64();
    }
    if (reader.position > fieldEnd || fieldEnd > extraEnd)
      throw corrupt(path, `has a broken extra field at zip entry ${JSON.stringify(name)}`);
    reader.skip(fieldEnd - reader.position);
  }
  reader.skip(extraEnd - reader.position + commentLength);
  if ((flags & ENCRYPTED_FLAG) !== 0 || method !== STORED || packedSize !== sizeBytes) {
    throw corrupt(
      path,
      `has a compressed or encrypted zip entry ${JSON.stringify(name)}; torch stores them plain`,
    );
  }
  return { name, sizeBytes, headerOffset };
}

/** The local header repeats name and extra field, with a length of its own (torch pads it so that data is aligned). */
async function findData(
  file: FileHandle,
  path: string,
  headerOffset: number,
  fileSize: number,
): Promise<number> {
  if (headerOffset + LOCAL_HEADER_BYTES > fileSize)
    throw corrupt(path, 'is truncated: a zip entry lies beyond its end');
  const header = await readRange(file, path, headerOffset, LOCAL_HEADER_BYTES);
  if (header.readUInt32LE(0) !== LOCAL_HEADER)
    throw corrupt(path, `has no zip entry at byte ${headerOffset}, where its directory says one is`);
  return headerOffset + LOCAL_HEADER_BYTES + header.readUInt16LE(26) + header.readUInt16LE(28);
}

export async function readRange(
  file: FileHandle,
  path: string,
  position: number,
  length: number,
): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(
      buffer,
      filled,
      Math.min(length - filled, 2 ** 30),
      position + filled,
    );
    if (bytesRead === 0)
      throw corrupt(
        path,
        `is truncated: it ends at byte ${position + filled}, ${position + length} are needed`,
      );
    filled += bytesRead;
  }
  return buffer;
}

function corrupt(path: string, what: string): AppError {
  return new AppError('CORRUPT_WEIGHTS', `${path}: ${what}`);
}
