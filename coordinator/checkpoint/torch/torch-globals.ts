// The closed list of globals in a state dict and what applying them builds: dictionaries and descriptions of tensors.
import { AppError } from '../../../common/errors.js';
import { MAX_TENSOR_DIMENSIONS } from '../../../common/limits.js';
import {
  isStorage,
  isTensor,
  PickleDict,
  PickleGlobal,
  TORCH_DTYPE_BYTES,
  type PickleValue,
  type TorchDtype,
  type TorchTensor,
} from './pickle-values.js';

const STORAGES: Readonly<Record<string, TorchDtype>> = {
  DoubleStorage: 'F64',
  FloatStorage: 'F32',
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  LongStorage: 'I64',
  IntStorage: 'I32',
  ShortStorage: 'I16',
  CharStorage: 'I8',
  ByteStorage: 'U8',
  BoolStorage: 'BOOL',
};

const DTYPES: Readonly<Record<string, TorchDtype>> = {
  float64: 'F64',
  float32: 'F32',
  float16: 'F16',
  bfloat16: 'BF16',
  int64: 'I64',
  int32: 'I32',
  int16: 'I16',
  int8: 'I8',
  uint8: 'U8',
  bool: 'BOOL',
};

const ORDERED_DICT = 'collections.OrderedDict';
const REBUILD_TENSOR = 'torch._utils._rebuild_tensor_v2';
/** Storage is untyped; the type is the seventh argument. */
const REBUILD_TYPED_TENSOR = 'torch._utils._rebuild_tensor_v3';
const REBUILD_PARAMETER = 'torch._utils._rebuild_parameter';
const SIZE = 'torch.Size';

const CONSTRUCTIONS: ReadonlySet<string> = new Set([
  ORDERED_DICT,
  REBUILD_TENSOR,
  REBUILD_TYPED_TENSOR,
  REBUILD_PARAMETER,
  SIZE,
]);

/** Null for anything that is not on the list. */
export function resolveGlobal(module: string, name: string): PickleGlobal | null {
  const full = `${module}.${name}`;
  if (CONSTRUCTIONS.has(full)) return new PickleGlobal(full, null, null);
  if (full === 'torch.storage.UntypedStorage') return new PickleGlobal(full, 'untyped', null);
  if (module !== 'torch') return null;
  if (Object.hasOwn(STORAGES, name)) return new PickleGlobal(full, STORAGES[name] ?? null, null);
  if (Object.hasOwn(DTYPES, name)) return new PickleGlobal(full, null, DTYPES[name] ?? null);
  return null;
}

export function applyGlobal(callee: PickleGlobal, args: readonly PickleValue[], where: string): PickleValue {
  switch (callee.name) {
    case ORDERED_DICT:
      return makeDict(args, where);
    case REBUILD_TENSOR:
      return makeTensor(args, null, where);
    case REBUILD_TYPED_TENSOR: {
      const type = args[6];
      if (!(type instanceof PickleGlobal) || type.dtype === null)
        throw corrupt(where, 'rebuilds a tensor without its type');
      return makeTensor(args, type.dtype, where);
    }
    case REBUILD_PARAMETER:
      if (!isTensor(args[0])) throw corrupt(where, 'rebuilds a parameter from something other than a tensor');
      return args[0];
    case SIZE:
      if (!Array.isArray(args[0])) throw corrupt(where, 'makes a size of something other than a tuple');
      return args[0];
    default:
      throw corrupt(where, `applies ${callee.name}, which is a type`);
  }
}

/** OrderedDict() or OrderedDict([[key, value], ...]). */
function makeDict(args: readonly PickleValue[], where: string): PickleDict {
  const dict = new PickleDict();
  const pairs = args[0] ?? [];
  if (!Array.isArray(pairs))
    throw corrupt(where, 'fills a dictionary from something other than a list of pairs');
  for (const pair of pairs) {
    const [key, value] = Array.isArray(pair) ? pair : [];
    if (typeof key !== 'string' && typeof key !== 'number')
      throw corrupt(where, 'fills a dictionary with something other than pairs');
    dict.entries.set(key, value ?? null);
  }
  return dict;
}

/**
 * (storage, offset, size, stride, requires_grad, backward_hooks, ...); the view is proved to lie inside its storage.
 */
function makeTensor(args: readonly PickleValue[], givenType: TorchDtype | null, where: string): TorchTensor {
  const [storage, offset, shape, strides] = args;
  if (
    !isStorage(storage) ||
    !isCount(offset) ||
    !isCounts(shape) ||
    !isCounts(strides) ||
    shape.length !== strides.length
  ) {
    throw corrupt(where, 'rebuilds a tensor from something other than storage, offset, size and stride');
  }
  const dtype = givenType ?? storage.dtype;
  if (dtype === null) throw corrupt(where, 'rebuilds a tensor of an untyped storage without its type');
  const width = TORCH_DTYPE_BYTES[dtype];
  const storageElements =
    storage.dtype === null ? Math.floor(storage.numElements / width) : storage.numElements;
  if (storage.dtype !== null && storage.dtype !== dtype)
    throw corrupt(where, `reads a storage of ${storage.dtype} as ${dtype}`);
  const numElements = shape.reduce((product, size) => product * size, 1);
  const last = offset + shape.reduce((sum, size, axis) => sum + (size - 1) * (strides[axis] ?? 0), 0);
  // Repeating elements (stride 0) would let a small file grow without bound.
  if (numElements > 0 && (last >= storageElements || numElements > storageElements)) {
    throw corrupt(
      where,
      `has a tensor [${shape.join(', ')}] that reaches beyond its storage of ${storageElements} elements`,
    );
  }
  return { kind: 'tensor', storage, dtype, offset, shape, strides };
}

function isCount(value: PickleValue | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isCounts(value: PickleValue | undefined): value is number[] {
  return Array.isArray(value) && value.length <= MAX_TENSOR_DIMENSIONS && value.every(isCount);
}

function corrupt(where: string, what: string): AppError {
  return new AppError('CORRUPT_WEIGHTS', `${where}: the pickle ${what}`);
}
