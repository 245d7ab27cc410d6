// Finds out how the decoder is quantised, from the configuration and from the tensors: AWQ, FP8 (float8.ts) or not at
// all; refuses every other scheme.
import { AppError } from '../../common/errors.js';
import type { ConfigReader } from './config-reader.js';
import { AWQ_COLUMNS_PER_WORD, decoderLinears, type DecoderLinear } from './expected-tensors.js';
import type { TensorNames } from './families/family.js';
import { findFloat8Layout, isFloat8Config, type Float8Layout } from './float8.js';
import type { TextSpec } from './model-spec.js';
import type { StoredTensor } from './weight-files.js';

export interface QuantizationLayout {
  /** 0: the decoder is not in AWQ. */
  readonly awqGroupSize: number;
  /** Prefixes of linears that are plain weights beside packed ones. */
  readonly denseLinears: ReadonlySet<string>;
  readonly float8Linears: Float8Layout;
}

/**
 * What configurations say: the group size, 0 where there is no AWQ, and parts of names of linears that were left dense.
 */
interface Configured {
  readonly groupSize: number;
  readonly excepted: readonly string[];
  readonly isFloat8: boolean;
}

const NO_LINEARS: ReadonlySet<string> = new Set();

/**
 * The files decide which linears are packed and which are dense, layer by layer; the configuration must not contradict
 * them. Keys are canonical names.
 */
export function findQuantization(
  configs: readonly (ConfigReader | null)[],
  names: TensorNames,
  text: TextSpec,
  tensors: ReadonlyMap<string, StoredTensor>,
  pathOf: (tensor: StoredTensor | undefined) => string,
): QuantizationLayout {
  const configured = readConfigured(configs);
  refuseOtherPackings(tensors, pathOf);
  const linears = Array.from({ length: text.numLayers }, (_, layer) =>
    decoderLinears(names, text, layer),
  ).flat();
  const packed = linears.filter(({ prefix }) => tensors.has(`${prefix}.qweight`));
  const [first] = packed;
  if (first === undefined) {
    if (configured.groupSize === 0) {
      const float8Linears = findFloat8Layout(configured.isFloat8, names, text, tensors, pathOf);
      return { awqGroupSize: 0, denseLinears: NO_LINEARS, float8Linears };
    }
    const prefix = names.textLayer(0).q;
    throw new AppError(
      'CORRUPT_WEIGHTS',
      `${pathOf(tensors.get(`${prefix}.weight`))}: tensor ${prefix}.qweight is missing, and quantization_config says AWQ`,
    );
  }
  const groupSize = configured.groupSize || storedGroupSize(first.prefix, tensors, pathOf);
  for (const linear of packed) checkShapePacks(linear, groupSize);
  // Of a linear that is not there at all, the configuration says what is missing.
  const isDense = ({ prefix }: DecoderLinear): boolean =>
    !tensors.has(`${prefix}.qweight`) &&
    (tensors.has(`${prefix}.weight`) || configured.excepted.some((part) => prefix.includes(part)));
  const denseLinears = new Set(linears.filter(isDense).map(({ prefix }) => prefix));
  return { awqGroupSize: groupSize, denseLinears, float8Linears: new Map() };
}

function readConfigured(configs: readonly (ConfigReader | null)[]): Configured {
  for (const config of configs) {
    const quantization = config?.object('quantization_config') ?? null;
    if (quantization === null) continue;
    if (isFloat8Config(quantization)) return { groupSize: 0, excepted: [], isFloat8: true };
    quantization.requireOneOf('quant_method', ['awq', 'compressed-tensors', 'fp8'], '');
    quantization.requireOneOf(quantization.has('w_bit') ? 'w_bit' : 'bits', [4], 4);
    quantization.requireOneOf('zero_point', [true], true);
    if (quantization.string('version', 'gemm').toLowerCase() !== 'gemm')
      throw quantization.unsupported('version', '"gemm"');
    const excepted = quantization.raw('modules_to_not_convert') ?? [];
    if (!Array.isArray(excepted) || !excepted.every((part): part is string => typeof part === 'string'))
      throw quantization.invalid('modules_to_not_convert', 'a list of strings');
    return {
      groupSize: quantization.dimension(['group_size', 'q_group_size'], 128),
      excepted,
      isFloat8: false,
    };
  }
  return { groupSize: 0, excepted: [], isFloat8: false };
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
    if (name.endsWith('.weight_scale_inv')) {
      throw new AppError(
        'UNSUPPORTED_MODEL',
        `${where}: quantised with scales per block; Skein supports FP8 with scales per tensor or output channel`,
      );
    }
  }
}

function storedGroupSize(
  prefix: string,
  tensors: ReadonlyMap<string, StoredTensor>,
  pathOf: (tensor: StoredTensor) => string,
): number {
  const qweight = tensors.get(`${prefix}.qweight`);
  if (qweight === undefined) return 0;
  const rows = qweight.shape[0] ?? 0;
  const groups = tensors.get(`${prefix}.qzeros`)?.shape[0] ?? 0;
  if (groups < 1 || rows % groups !== 0) {
    throw new AppError(
      'CORRUPT_WEIGHTS',
      `${pathOf(qweight)}: tensor ${prefix}.qzeros: its ${groups} rows do not group the ${rows} rows of qweight`,
    );
  }
  return rows / groups;
}

function checkShapePacks({ prefix, outFeatures, inFeatures }: DecoderLinear, groupSize: number): void {
  for (const [what, value, unit] of [
    ['input width', inFeatures, groupSize],
    ['output width', outFeatures, AWQ_COLUMNS_PER_WORD],
  ] as const) {
    if (value % unit === 0) continue;
    throw new AppError(
      'UNSUPPORTED_MODEL',
      `AWQ needs the ${what} of ${prefix} to be a multiple of ${unit}, it is ${value}`,
    );
  }
}
