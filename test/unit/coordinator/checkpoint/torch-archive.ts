// Builds PyTorch .bin files for tests: a pickle assembler and a writer of stored zip archives, honest or broken.

/** A pickle, opcode by opcode. Protocol 2, as torch.save writes. */
export class PickleBuilder {
  readonly #parts: Buffer[] = [Buffer.from([0x80, 2])];

  raw(...bytes: number[]): this {
    this.#parts.push(Buffer.from(bytes));
    return this;
  }

  global(module: string, name: string): this {
    this.#parts.push(Buffer.from(`c${module}\n${name}\n`));
    return this;
  }

  string(text: string): this {
    const bytes = Buffer.from(text);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    this.#parts.push(Buffer.from('X'), length, bytes);
    return this;
  }

  integer(value: number): this {
    const bytes = Buffer.alloc(5);
    bytes.write('J');
    bytes.writeInt32LE(value, 1);
    this.#parts.push(bytes);
    return this;
  }

  tuple(values: readonly number[]): this {
    this.op('(');
    for (const value of values) this.integer(value);
    return this.op('t');
  }

  /** Opcodes that are printable characters. */
  op(opcodes: string): this {
    this.#parts.push(Buffer.from(opcodes, 'latin1'));
    return this;
  }

  storage({ type, key, numElements }: { type: string; key: string; numElements: number }): this {
    return this.op('(')
      .string('storage')
      .global('torch', type)
      .string(key)
      .string('cpu')
      .integer(numElements)
      .op('tQ');
  }

  tensor(view: TensorView): this {
    return this.global('torch._utils', '_rebuild_tensor_v2')
      .op('(')
      .storage(view)
      .integer(view.offset ?? 0)
      .tuple(view.shape)
      .tuple(view.strides)
      .raw(0x89)
      .global('collections', 'OrderedDict')
      .op(')RtR');
  }

  stop(): Buffer {
    this.op('.');
    return Buffer.concat(this.#parts);
  }
}

export interface TensorView {
  readonly type: string;
  readonly key: string;
  readonly numElements: number;
  readonly offset?: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

export function stateDict(tensors: Readonly<Record<string, TensorView>>): Buffer {
  const builder = new PickleBuilder().global('collections', 'OrderedDict').op(')R(');
  for (const [name, view] of Object.entries(tensors)) builder.string(name).tensor(view);
  return builder.op('u').stop();
}

export interface ZipOptions {
  /** Sizes and offsets in zip64 extra fields and a zip64 directory. */
  readonly zip64?: boolean;
  /** Compression method written in the directory; the data stay as they are. */
  readonly method?: number;
}

export function zipArchive(
  entries: Readonly<Record<string, Buffer>>,
  { zip64 = false, method = 0 }: ZipOptions = {},
): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const [name, data] of Object.entries(entries)) {
    const local = Buffer.alloc(30 + name.length + 6);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(method, 8);
    local.writeUInt32LE(data.length, 18);
    local.writeUInt32LE(data.length, 22);
    local.writeUInt16LE(name.length, 26);
    // Padding in the local extra field only, as torch aligns its data.
    local.writeUInt16LE(6, 28);
    local.write(name, 30);
    directory.push(centralEntry(name, data.length, offset, method, zip64));
    parts.push(local, data);
    offset += local.length + data.length;
  }
  const central = Buffer.concat(directory);
  return Buffer.concat([...parts, central, ...endRecords(directory.length, central.length, offset, zip64)]);
}

function centralEntry(name: string, size: number, offset: number, method: number, zip64: boolean): Buffer {
  const extra = zip64 ? Buffer.alloc(28) : Buffer.alloc(0);
  if (zip64) {
    extra.writeUInt16LE(1, 0);
    extra.writeUInt16LE(24, 2);
    extra.writeBigUInt64LE(BigInt(size), 4);
    extra.writeBigUInt64LE(BigInt(size), 12);
    extra.writeBigUInt64LE(BigInt(offset), 20);
  }
  const entry = Buffer.alloc(46);
  entry.writeUInt32LE(0x02014b50, 0);
  entry.writeUInt16LE(method, 10);
  entry.writeUInt32LE(zip64 ? 0xffffffff : size, 20);
  entry.writeUInt32LE(zip64 ? 0xffffffff : size, 24);
  entry.writeUInt16LE(name.length, 28);
  entry.writeUInt16LE(extra.length, 30);
  entry.writeUInt32LE(zip64 ? 0xffffffff : offset, 42);
  return Buffer.concat([entry, Buffer.from(name), extra]);
}

function endRecords(count: number, size: number, offset: number, zip64: boolean): Buffer[] {
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(zip64 ? 0xffff : count, 10);
  end.writeUInt32LE(zip64 ? 0xffffffff : size, 12);
  end.writeUInt32LE(zip64 ? 0xffffffff : offset, 16);
  if (!zip64) return [end];
  const record = Buffer.alloc(56);
  record.writeUInt32LE(0x06064b50, 0);
  record.writeBigUInt64LE(BigInt(count), 32);
  record.writeBigUInt64LE(BigInt(size), 40);
  record.writeBigUInt64LE(BigInt(offset), 48);
  const locator = Buffer.alloc(20);
  locator.writeUInt32LE(0x07064b50, 0);
  locator.writeBigUInt64LE(BigInt(offset + size), 8);
  return [record, locator, end];
}

export function torchArchive(
  pickle: Buffer,
  storages: Readonly<Record<string, Buffer>> = {},
  options: ZipOptions = {},
): Buffer {
  const entries: Record<string, Buffer> = {
    'archive/data.pkl': pickle,
    'archive/byteorder': Buffer.from('little'),
  };
  for (const [key, bytes] of Object.entries(storages)) entries[`archive/data/${key}`] = bytes;
  return zipArchive(entries, options);
}
