// Finds out whether the decoder is AWQ-quantised, from the configuration and from the tensors, and refuses every other scheme.
import { AppError } from '../../common/errors.js';
import type { ConfigReader } from './config-reader.js';
import { AWQ_COLUMNS_PER_WORD } from './expected-tensors.js';
import type { TensorNames } from './families/family.js';
import type { TextSpec } from './model-spec.js';
import type { StoredTensor } from './weight-files.js';

/** The group size, or 0 for a decoder that is not quantised. Keys are canonical names. */
export function findAwqGroupSize(
  configs: readonly (ConfigReader | null)[],
  names: TensorNames,
  text: TextSpec,
  tensors: ReadonlyMap<string, StoredTensor>,
  pathOf: (tensor: StoredTensor | undefined) => string,
): number {
  const configured = configuredGroupSize(configs);
  refuseOtherPackings(tensors, pathOf);
  const firstQuery = names.textLayer(0).q;
  const stored = storedGroupSize(firstQuery, tensors, pathOf);
  // Files decide whether there is anything quantised; the configuration must not contradict them.
  if (stored === 0 && configured === 0) return 0;
  if (stored === 0) {
    const path = pathOf(tensors.get(`${firstQuery}.weight`));
    throw new AppError(
      'CORRUPT_WEIGHTS',
      `${path}: tensor ${firstQuery}.qweight is missing, and quantization_config says AWQ`,
    );
  }
  const groupSize = configured === 0 ? stored : configured;
  checkShapesPack(text, groupSize);
  return groupSize;
}

function configuredGroupSize(configs: readonly (ConfigReader | null)[]): number {
  for (const config of configs) {
    const quantization = config?.object('quantization_config') ?? null;
    if (quantization === null) continue;
    quantization.requireOneOf('quant_method', ['awq'], '');
    quantization.requireOneOf(quantization.has('w_bit') ? 'w_bit' : 'bits', [4], 4);
    quantization.requireOneOf('zero_point', [true], true);
    if (quantization.string('version', 'gemm').toLowerCase() !== 'gemm')
      throw quantization.unsupported('version', '"gemm"');
    return quantization.dimension(['group_size', 'q_group_size'], 128);
  }
  return 0;
}

function refuseOtherPackings(
  tensors: ReadonlyMap<string, StoredTensor>,
  pathOf: (tensor: StoredTensor) => string,
): void {
  for (const [name, tensor] of tensors) {
    const where = `${pathOf(tensor)}: tensor ${name}`;
    if (name.endsWith('.scaled_zeros') || (name.endsWith('.qweight') && tensor.dtype === 'I16')) {
      throw new AppError(
        'UNSUPPORTED_MODEL',
        `${where}: packed by llm-awq; Skein supports AWQ in gemm packing (int32 qweight, qzeros, scales)`,
      );
    }
    if (name.endsWith('.g_idx')) {
      throw new AppError('UNSUPPORTED_MODEL', `${where}: packed by GPTQ; Skein supports AWQ in gemm packing`);
    }
    if (name.endsWith('.weight_scale') || name.endsWith('.weight_scale_inv')) {
      throw new AppError(
        'UNSUPPORTED_MODEL',
        `${where}: quantised with scales per channel or block; Skein supports AWQ in gemm packing`,
      );
    }
  }
}

function storedGroupSize(
  firstQuery: string,
  tensors: ReadonlyMap<string, StoredTensor>,
  pathOf: (tensor: StoredTensor) => string,
): number {
  const qweight = tensors.get(`${firstQuery}.qweight`);
  if (qweight === undefined) return 0;
  const rows = qweight.shape[0] ?? 0;
  const groups = tensors.get(`${firstQuery}.qzeros`)?.shape[0] ?? 0;
  if (groups < 1 || rows % groups !== 0) {
    throw new AppError(
      'CORRUPT_WEIGHTS',
      `${pathOf(qweight)}: tensor ${firstQuery}.qzeros: its ${groups} rows do not group the ${rows} rows of qweight`,
    );
  }
  return rows / groups;
}

function checkShapesPack(text: TextSpec, groupSize: number): void {
  const queryWidth = text.numHeads * text.headDim;
  const kvWidth = text.numKvHeads * text.headDim;
  const refuse = (what: string, value: number, unit: number): never => {
    throw new AppError('UNSUPPORTED_MODEL', `AWQ needs ${what} to be a multiple of ${unit}, it is ${value}`);
  };
  if (kvWidth % AWQ_COLUMNS_PER_WORD !== 0)
    refuse('the width of the KV heads', kvWidth, AWQ_COLUMNS_PER_WORD);
  if (queryWidth % groupSize !== 0) refuse('the width of the query heads', queryWidth, groupSize);
  if (queryWidth % AWQ_COLUMNS_PER_WORD !== 0)
    refuse('the width of the query heads', queryWidth, AWQ_COLUMNS_PER_WORD);
  for (const [what, value] of [
    ['hidden_size', text.hiddenSize],
    ['intermediate_size', text.intermediateSize],
  ] as const) {
    if (value % groupSize !== 0) refuse(what, value, groupSize);
    if (value % AWQ_COLUMNS_PER_WORD !== 0) refuse(what, value, AWQ_COLUMNS_PER_WORD);
  }
}
