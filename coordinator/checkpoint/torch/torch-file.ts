// Opens one PyTorch .bin file (a zip of a pickle and raw storages): which tensors it has, and their bytes in row-major
// order. Storages are read in pieces; only a tensor whose strides are not row-major is held in memory, up to a limit.
import { open, type FileHandle } from 'node:fs/promises';
import { AppError } from '../../../common/errors.js';
import { MAX_PICKLE_BYTES, MAX_STRIDED_SPAN_BYTES } from '../../../common/limits.js';
import { checkTensorName } from '../tensor-name.js';
import { readPickle } from './pickle.js';
import { isTensor, PickleDict, TORCH_DTYPE_BYTES, type TorchTensor } from './pickle-values.js';
import { isZip, readRange, readZipEntries, type ZipEntry } from './zip-archive.js';

const CHUNK_BYTES = 8 * 1024 * 1024;

export class TorchFile {
  readonly #file: FileHandle;
  readonly #entries: ReadonlyMap<string, ZipEntry>;
  readonly #root: string;

  private constructor(
    readonly path: string,
    readonly sizeBytes: number,
    file: FileHandle,
    entries: ReadonlyMap<string, ZipEntry>,
    root: string,
    readonly tensors: ReadonlyMap<string, TorchTensor>,
  ) {
    this.#file = file;
    this.#entries = entries;
    this.#root = root;
  }

  static async open(path: string): Promise<TorchFile> {
    const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
      throw new AppError('CORRUPT_WEIGHTS', `${path}: cannot be opened (${error.code ?? error.message})`, {
        cause: error,
      });
    });
    try {
      const { size } = await file.stat();
      if (size < 4 || !isZip(await readRange(file, path, 0, 4))) throw notZip(path, size);
      const entries = await readZipEntries(file, path, size);
      const root = archiveRoot(path, entries);
      await checkByteOrder(file, path, entries.get(`${root}/byteorder`));
      const tensors = await readStateDict(file, path, entries, root);
      for (const [name, tensor] of tensors)
        checkStorage(path, name, tensor, entries.get(`${root}/data/${tensor.storage.key}`));
      return new TorchFile(path, size, file, entries, root, tensors);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  /** The tensor's bytes, row-major, in pieces of at most a few MiB. */
  async *readTensor(tensor: TorchTensor): AsyncGenerator<Buffer> {
    const entry = this.#entries.get(`${this.#root}/data/${tensor.storage.key}`);
    const numElements = tensor.shape.reduce((product, size) => product * size, 1);
    if (entry === undefined || numElements === 0) return;
    const width = TORCH_DTYPE_BYTES[tensor.dtype];
    const start = entry.dataOffset + tensor.offset * width;
    if (isRowMajor(tensor)) {
      const end = start + numElements * width;
      for (let position = start; position < end; position += CHUNK_BYTES) {
        yield await readRange(this.#file, this.path, position, Math.min(CHUNK_BYTES, end - position));
      }
      return;
    }
    const spanBytes =
      (1 + tensor.shape.reduce((sum, size, axis) => sum + (size - 1) * (tensor.strides[axis] ?? 0), 0)) *
      width;
    if (spanBytes > MAX_STRIDED_SPAN_BYTES) {
      throw new AppError(
        'UNSUPPORTED_MODEL',
        `${this.path}: a tensor [${tensor.shape.join(', ')}] with strides [${tensor.strides.join(', ')}] spans ${spanBytes} bytes, the limit for views that are not row-major is ${MAX_STRIDED_SPAN_BYTES}`,
      );
    }
    yield* gather(await readRange(this.#file, this.path, start, spanBytes), tensor, numElements, width);
  }
}

function notZip(path: string, size: number): AppError {
  if (size === 0) return new AppError('CORRUPT_WEIGHTS', `${path}: is empty`);
  return new AppError(
    'UNSUPPORTED_MODEL',
    `${path}: not a zip archive: written before PyTorch 1.6 or not by torch.save; load and save it again with a current PyTorch`,
  );
}

/** Everything lies in one folder, named after the file that was saved. */
function archiveRoot(path: string, entries: ReadonlyMap<string, ZipEntry>): string {
  const roots = [...entries.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  const [first] = roots;
  if (first === undefined || roots.length > 1)
    throw new AppError(
      'CORRUPT_WEIGHTS',
      `${path}: expected one NAME/data.pkl in the archive, found ${roots.length}`,
    );
  return first.slice(0, -'/data.pkl'.length);
}

async function checkByteOrder(file: FileHandle, path: string, entry: ZipEntry | undefined): Promise<void> {
  if (entry === undefined) return;
  const order = (await readRange(file, path, entry.dataOffset, Math.min(entry.sizeBytes, 16))).toString(
    'latin1',
  );
  if (order !== 'little')
    throw new AppError(
      'UNSUPPORTED_MODEL',
      `${path}: byte order is ${JSON.stringify(order)}, expected "little"`,
    );
}

async function readStateDict(
  file: FileHandle,
  path: string,
  entries: ReadonlyMap<string, ZipEntry>,
  root: string,
): Promise<ReadonlyMap<string, TorchTensor>> {
  const entry = entries.get(`${root}/data.pkl`);
  if (entry === undefined || entry.sizeBytes > MAX_PICKLE_BYTES) {
    throw new AppError(
      'CORRUPT_WEIGHTS',
      `${path}: its pickle has ${entry?.sizeBytes} bytes, the limit is ${MAX_PICKLE_BYTES}`,
    );
  }
  const value = readPickle(await readRange(file, path, entry.dataOffset, entry.sizeBytes), path);
  if (!(value instanceof PickleDict))
    throw new AppError('CORRUPT_WEIGHTS', `${path}: expected a state dict, a dictionary of tensors`);
  const tensors = new Map<string, TorchTensor>();
  for (const [name, item] of value.entries) {
    if (typeof name !== 'string' || !isTensor(item)) {
      throw new AppError(
        'UNSUPPORTED_MODEL',
        `${path}: entry ${JSON.stringify(name)} is not a tensor; expected a plain state dict`,
      );
    }
    checkTensorName(name, path);
    tensors.set(name, item);
  }
  return tensors;
}

function checkStorage(
  path: string,
  name: string,
  { storage }: TorchTensor,
  entry: ZipEntry | undefined,
): void {
  if (entry === undefined)
    throw new AppError(
      'CORRUPT_WEIGHTS',
      `${path}: tensor ${name}: its storage data/${storage.key} is missing`,
    );
  const wanted = storage.numElements * (storage.dtype === null ? 1 : TORCH_DTYPE_BYTES[storage.dtype]);
  if (entry.sizeBytes !== wanted) {
    throw new AppError(
      'CORRUPT_WEIGHTS',
      `${path}: tensor ${name}: its storage data/${storage.key} has ${entry.sizeBytes} bytes, expected ${wanted}`,
    );
  }
}

/** Axes of size 1 may have any stride. */
function isRowMajor({ shape, strides }: TorchTensor): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== expected) return false;
    expected *= shape[axis] ?? 1;
  }
  return true;
}

/** Walks the elements in row-major order; `span` begins at the tensor's first element. */
function* gather(
  span: Buffer,
  { shape, strides }: TorchTensor,
  numElements: number,
  width: number,
): Generator<Buffer> {
  const index = new Array<number>(shape.length).fill(0);
  let source = 0;
  for (let done = 0; done < numElements;) {
    const count = Math.min(numElements - done, Math.floor(CHUNK_BYTES / width));
    const chunk = Buffer.allocUnsafe(count * width);
    for (let item = 0; item < count; item++) {
      for (let byte = 0; byte < width; byte++) chunk[item * width + byte] = span[source * width + byte] ?? 0;
      for (let axis = shape.length - 1; axis >= 0; axis--) {
        index[axis] = (index[axis] ?? 0) + 1;
        source += strides[axis] ?? 0;
        if ((index[axis] ?? 0) < (shape[axis] ?? 0)) break;
        source -= (shape[axis] ?? 0) * (strides[axis] ?? 0);
        index[axis] = 0;
      }
    }
    done += count;
    yield chunk;
  }
}
