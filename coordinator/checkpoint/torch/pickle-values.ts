// What the restricted pickle reader can build: plain data, storages and tensors as descriptions. No behaviour.

/** Names of the safetensors format, which the output is written in. */
export type TorchDtype = 'F64' | 'F32' | 'F16' | 'BF16' | 'I64' | 'I32' | 'I16' | 'I8' | 'U8' | 'BOOL';

export const TORCH_DTYPE_BYTES: Readonly<Record<TorchDtype, number>> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
};

/** One `data/KEY` entry of the archive. */
export interface TorchStorage {
  readonly kind: 'storage';
  /** Null: untyped, counted in bytes; the tensor brings the type. */
  readonly dtype: TorchDtype | null;
  readonly key: string;
  readonly numElements: number;
}

/** A strided view of a storage; offset and strides in elements. */
export interface TorchTensor {
  readonly kind: 'tensor';
  readonly storage: TorchStorage;
  readonly dtype: TorchDtype;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

export class PickleDict {
  readonly entries = new Map<string | number, PickleValue>();
}

/**
 * A name that a state dict may use. It stands for data or for one of the constructions in torch-globals.ts, never for
 * code.
 */
export class PickleGlobal {
  constructor(
    readonly name: string,
    readonly storage: TorchDtype | 'untyped' | null,
    readonly dtype: TorchDtype | null,
  ) {}
}

/** Opens a group on the stack. */
export const MARK = Symbol('mark');

export type PickleValue =
  | null
  | boolean
  | number
  | string
  | PickleValue[]
  | PickleDict
  | PickleGlobal
  | TorchStorage
  | TorchTensor
  | typeof MARK;

export function isTensor(value: PickleValue | undefined): value is TorchTensor {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'tensor';
}

export function isStorage(value: PickleValue | undefined): value is TorchStorage {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'storage';
}
