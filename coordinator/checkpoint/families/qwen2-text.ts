// The Qwen2 decoder's configuration, shared by every family: dimensions, rope in both spellings, tensor names under a
// prefix.
import { AppError } from '../../../common/errors.js';
import { MAX_LAYERS } from '../../../common/limits.js';
import type { ConfigReader } from '../config-reader.js';
import type { TextSpec } from '../model-spec.js';
import type { TextLayerNames } from './family.js';

/** What transformers' Qwen2Config means by a key that is absent; newer versions write only what differs from it. */
const QWEN2_DEFAULTS = {
  hiddenSize: 4096,
  intermediateSize: 22016,
  numLayers: 32,
  numHeads: 32,
  numKvHeads: 32,
  maxPositionEmbeddings: 32768,
  rmsNormEps: 1e-6,
  ropeTheta: 10000,
} as const;

export function readTextSpec(config: ConfigReader): TextSpec {
  config.requireOneOf('model_type', ['qwen2'], 'qwen2');
  config.requireOneOf('hidden_act', ['silu'], 'silu');
  config.requireOneOf('use_sliding_window', [false], false);
  const hiddenSize = config.dimension('hidden_size', QWEN2_DEFAULTS.hiddenSize);
  const numHeads = config.dimension('num_attention_heads', QWEN2_DEFAULTS.numHeads);
  const numKvHeads = config.isNull('num_key_value_heads')
    ? numHeads
    : config.dimension('num_key_value_heads', QWEN2_DEFAULTS.numKvHeads);
  const numLayers = config.dimension('num_hidden_layers', QWEN2_DEFAULTS.numLayers);
  if (numLayers > MAX_LAYERS) throw config.invalid('num_hidden_layers', `at most ${MAX_LAYERS}`);
  if (numHeads % numKvHeads !== 0) {
    throw config.invalid('num_key_value_heads', `a divisor of num_attention_heads (${numHeads})`);
  }
  if (!config.has('head_dim') && hiddenSize % numHeads !== 0) {
    throw config.invalid('hidden_size', `a multiple of num_attention_heads (${numHeads})`);
  }
  const headDim = config.dimension('head_dim', hiddenSize / numHeads);
  if (headDim % 2 !== 0) {
    throw new AppError(
      'UNSUPPORTED_MODEL',
      `${config.where}: head_dim is ${headDim}; rotary positions need an even one`,
    );
  }
  return {
    hiddenSize,
    numLayers,
    numHeads,
    numKvHeads,
    headDim,
    intermediateSize: config.dimension('intermediate_size', QWEN2_DEFAULTS.intermediateSize),
    vocabSize: config.has('vocab_size') ? config.dimension('vocab_size', 0) : 0,
    rmsNormEps: config.positiveNumber('rms_norm_eps', QWEN2_DEFAULTS.rmsNormEps),
    ropeTheta: readRopeTheta(config),
    maxPositionEmbeddings: config.dimension('max_position_embeddings', QWEN2_DEFAULTS.maxPositionEmbeddings),
    tieWordEmbeddings: false,
    awqGroupSize: 0,
    float8: 'none',
  };
}

/**
 * Theta from rope_theta (older) or rope_parameters (newer). Scaling of type `dynamic` is the identity up to
 * max_position_embeddings, where Skein's context ends, so it is accepted and not applied; other kinds change short
 * prompts too.
 */
function readRopeTheta(config: ConfigReader): number {
  const ropes = ['rope_parameters', 'rope_scaling'].map((key) => config.object(key));
  for (const rope of ropes)
    rope?.requireOneOf(rope.has('rope_type') ? 'rope_type' : 'type', ['default', 'dynamic'], 'default');
  const holder = ropes.find((rope) => rope?.has('rope_theta') === true) ?? config;
  return holder.positiveNumber('rope_theta', QWEN2_DEFAULTS.ropeTheta);
}

export function textLayerNames(prefix: string, layer: number): TextLayerNames {
  const base = `${prefix}layers.${layer}.`;
  return {
    inputNorm: `${base}input_layernorm.weight`,
    postAttentionNorm: `${base}post_attention_layernorm.weight`,
    q: `${base}self_attn.q_proj`,
    k: `${base}self_attn.k_proj`,
    v: `${base}self_attn.v_proj`,
    o: `${base}self_attn.o_proj`,
    gate: `${base}mlp.gate_proj`,
    up: `${base}mlp.up_proj`,
    down: `${base}mlp.down_proj`,
  };
}

/** Union of the end-of-sequence ids that the files name, in order of first appearance. */
export function collectEosTokenIds(configs: readonly (ConfigReader | null)[]): number[] {
  const ids = new Set<number>();
  for (const config of configs) for (const id of config?.tokenIds('eos_token_id') ?? []) ids.add(id);
  return [...ids];
}
