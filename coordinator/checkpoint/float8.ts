// FP8: made at load of the decoder's linears or of the vision tower's, and as checkpoints have it: float8 e4m3 weights
// of the decoder's linears with scales per output channel or per tensor, in the form of compressed-tensors, or of the
// older quant_method "fp8". The tensors decide which linears are quantised.
import { AppError } from '../../common/errors.js';
import type { ConfigReader } from './config-reader.js';
import { decoderLinears, type DecoderLinear } from './expected-tensors.js';
import type { TensorNames } from './families/family.js';
import type { Checkpoint, TextSpec } from './model-spec.js';
import type { StoredTensor } from './weight-files.js';

/** How a float8 linear is stored: the shapes that its scales have in the file. */
export interface Float8Linear {
  /** [out, 1], or of one element for all outputs. */
  readonly scaleShape: readonly number[];
  /** Of one element; null: each row of inputs gets its own scale when it is multiplied. */
  readonly inputScaleShape: readonly number[] | null;
}

/** By prefix; empty where nothing is float8. */
export type Float8Layout = ReadonlyMap<string, Float8Linear>;

/** Plain weights of the decoder's linears become float8 as they are loaded. */
export function quantizedAtLoad(checkpoint: Checkpoint): Checkpoint {
  const { spec } = checkpoint;
  if (spec.text.awqGroupSize > 0) {
    throw new AppError(
      'INVALID_REQUEST',
      `--quantization fp8: the decoder of ${spec.name} is in AWQ already; FP8 is made of plain weights`,
      { details: { param: 'quantization' } },
    );
  }
  if (spec.text.float8 === 'stored') return checkpoint;
  return { ...checkpoint, spec: { ...spec, text: { ...spec.text, float8: 'at-load' } } };
}

/** Weights of the vision tower's layers become float8 as they are loaded, whatever the decoder is in. */
export function visionQuantizedAtLoad(checkpoint: Checkpoint): Checkpoint {
  const { spec } = checkpoint;
  if (spec.vision === null) {
    throw new AppError(
      'INVALID_REQUEST',
      `--vision-quantization fp8: ${spec.name} has no vision tower that FP8 could be made of`,
      { details: { param: 'vision-quantization' } },
    );
  }
  return { ...checkpoint, spec: { ...spec, vision: { ...spec.vision, float8: 'at-load' } } };
}

const METHODS = ['compressed-tensors', 'fp8'];

/** What `quantization_config` says, where it is one of FP8's; null: it is not. Refuses what Skein cannot run. */
export function isFloat8Config(quantization: ConfigReader): boolean {
  const method = quantization.raw('quant_method');
  if (method === METHODS[0]) checkCompressedTensors(quantization);
  else if (method === METHODS[1]) checkFp8(quantization);
  else return false;
  return true;
}

function checkCompressedTensors(quantization: ConfigReader): void {
  if (quantization.has('format'))
    quantization.requireOneOf('format', ['float-quantized', 'naive-quantized'], 'float-quantized');
  if (quantization.has('kv_cache_scheme'))
    throw quantization.unsupported('kv_cache_scheme', 'a KV cache in the compute type: null');
  const sparsity = quantization.object('sparsity_config');
  if (sparsity?.has('format') === true) sparsity.requireOneOf('format', ['dense'], 'dense');
  const groups = quantization.object('config_groups');
  const names = groups === null ? [] : groups.keys();
  if (groups === null || names.length === 0)
    throw quantization.invalid('config_groups', 'an object with a group of layers');
  for (const name of names) {
    const group = groups.object(name);
    if (group === null) throw groups.invalid(name, 'an object');
    checkGroup(group);
  }
}

function checkGroup(group: ConfigReader): void {
  const weights = group.object('weights');
  if (weights === null) throw group.unsupported('weights', 'float8 weights');
  checkFloat8(weights);
  weights.requireOneOf('strategy', ['channel', 'tensor'], 'tensor');
  weights.requireOneOf('dynamic', [false], false);
  const inputs = group.object('input_activations');
  if (inputs === null)
    throw group.unsupported('input_activations', 'float8 activations: per token, or a static scale');
  checkFloat8(inputs);
  const isDynamic = inputs.boolean('dynamic', false);
  inputs.requireOneOf('strategy', isDynamic ? ['token'] : ['tensor'], 'tensor');
  if (group.has('output_activations')) throw group.unsupported('output_activations', 'null');
}

function checkFloat8(scheme: ConfigReader): void {
  scheme.requireOneOf('num_bits', [8], 8);
  scheme.requireOneOf('type', ['float'], 'int');
  scheme.requireOneOf('symmetric', [true], true);
  if (scheme.has('block_structure'))
    throw scheme.unsupported('block_structure', 'scales without blocks: null');
  if (scheme.has('group_size')) throw scheme.unsupported('group_size', 'scales without groups: null');
}

function checkFp8(quantization: ConfigReader): void {
  if (quantization.has('weight_block_size'))
    throw quantization.unsupported('weight_block_size', 'a scale per tensor or per output channel: null');
  quantization.requireOneOf('activation_scheme', ['dynamic', 'static'], 'dynamic');
  if (quantization.has('fmt')) quantization.requireOneOf('fmt', ['e4m3'], 'e4m3');
  if (quantization.has('kv_cache_scheme'))
    throw quantization.unsupported('kv_cache_scheme', 'a KV cache in the compute type: null');
}

/** Throws CORRUPT_WEIGHTS or UNSUPPORTED_MODEL naming the tensor. `isConfigured`: the configuration says FP8. */
export function findFloat8Layout(
  isConfigured: boolean,
  names: TensorNames,
  text: TextSpec,
  tensors: ReadonlyMap<string, StoredTensor>,
  pathOf: (tensor: StoredTensor | undefined) => string,
): Float8Layout {
  const found = new Map<string, Float8Linear>();
  for (let layer = 0; layer < text.numLayers; layer++) {
    for (const linear of decoderLinears(names, text, layer)) {
      const { prefix } = linear;
      const weight = tensors.get(`${prefix}.weight`);
      if (weight?.dtype !== 'F8_E4M3') continue;
      const scale = tensors.get(`${prefix}.weight_scale`);
      if (scale === undefined) {
        throw new AppError(
          'CORRUPT_WEIGHTS',
          `${pathOf(weight)}: tensor ${prefix}.weight is F8_E4M3, and ${prefix}.weight_scale is missing`,
        );
      }
      checkScale(scale, linear, pathOf(scale), true);
      const inputScale = tensors.get(`${prefix}.input_scale`);
      if (inputScale !== undefined) checkScale(inputScale, linear, pathOf(inputScale), false);
      found.set(prefix, { scaleShape: scale.shape, inputScaleShape: inputScale?.shape ?? null });
    }
    checkFused(names.textLayer(layer), found, tensors, pathOf);
  }
  if (isConfigured && found.size === 0) {
    const prefix = names.textLayer(0).q;
    throw new AppError(
      'CORRUPT_WEIGHTS',
      `${pathOf(tensors.get(`${prefix}.weight`))}: quantization_config says FP8, and no linear of the decoder is F8_E4M3`,
    );
  }
  return found;
}

function checkScale(scale: StoredTensor, linear: DecoderLinear, path: string, perChannel: boolean): void {
  const { shape } = scale;
  const isOne = shape.every((size) => size === 1);
  const isChannel = shape.length === 2 && shape[0] === linear.outFeatures && shape[1] === 1;
  if (isOne || (perChannel && isChannel)) return;
  const expected = perChannel ? `[1] or [${linear.outFeatures}, 1]` : '[1]';
  throw new AppError(
    'UNSUPPORTED_MODEL',
    `${path}: tensor ${scale.name} has shape [${shape.join(', ')}]; Skein supports ${expected}`,
  );
}

/** Linears that are multiplied together must be stored alike. */
function checkFused(
  layer: ReturnType<TensorNames['textLayer']>,
  found: ReadonlyMap<string, Float8Linear>,
  tensors: ReadonlyMap<string, StoredTensor>,
  pathOf: (tensor: StoredTensor | undefined) => string,
): void {
  const formOf = (prefix: string): string => {
    const linear = found.get(prefix);
    if (linear === undefined) return 'not float8';
    const scales = linear.scaleShape.length === 2 && linear.scaleShape[0] !== 1 ? 'channel' : 'tensor';
    return `float8 with scales per ${scales}${linear.inputScaleShape === null ? '' : ' and a scale of its inputs'}`;
  };
  for (const [first, ...others] of [
    [layer.q, layer.k, layer.v],
    [layer.gate, layer.up],
  ] as const) {
    const other = others.find((prefix) => formOf(prefix) !== formOf(first));
    if (other === undefined) continue;
    throw new AppError(
      'UNSUPPORTED_MODEL',
      `${pathOf(tensors.get(`${other}.weight`))}: ${other} is ${formOf(other)}, but ${first}, which is multiplied together with it, is ${formOf(first)}`,
    );
  }
}
