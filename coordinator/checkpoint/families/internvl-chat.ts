// The original layout: InternVLChatModel and SkyworkR1VChatModel, with vision_config and llm_config.
import { AppError } from '../../../common/errors.js';
import type { ConfigReader } from '../config-reader.js';
import type { VisionSpec } from '../model-spec.js';
import type { ConfigFiles, FamilyConfig, ModelFamily, TensorNames, VisionLayerNames } from './family.js';
import { collectEosTokenIds, readTextSpec, textLayerNames } from './qwen2-text.js';
import {
  checkVisionSpec,
  layersUsed,
  makeTiling,
  normTypeOf,
  PIXEL_MEAN,
  PIXEL_STD,
  PROJECTOR_NORM_EPS,
  readShuffleFactor,
} from './vision-tower.js';

const ARCHITECTURES = ['InternVLChatModel', 'SkyworkR1VChatModel'] as const;

function visionLayer(layer: number): VisionLayerNames {
  const base = `vision_model.encoder.layers.${layer}.`;
  return {
    norm1: `${base}norm1`,
    norm2: `${base}norm2`,
    qkv: [`${base}attn.qkv`],
    qNorm: `${base}attn.q_norm.weight`,
    kNorm: `${base}attn.k_norm.weight`,
    proj: `${base}attn.proj`,
    fc1: `${base}mlp.fc1`,
    fc2: `${base}mlp.fc2`,
    layerScale1: `${base}ls1`,
    layerScale2: `${base}ls2`,
  };
}

const NAMES: TensorNames = {
  tokenEmbedding: 'language_model.model.embed_tokens.weight',
  finalNorm: 'language_model.model.norm.weight',
  lmHead: 'language_model.lm_head.weight',
  textLayer: (layer) => textLayerNames('language_model.model.', layer),
  classEmbedding: 'vision_model.embeddings.class_embedding',
  positionEmbedding: 'vision_model.embeddings.position_embedding',
  patchEmbedding: 'vision_model.embeddings.patch_embedding',
  visionLayer,
  projectorNorm: 'mlp1.0',
  projectorFc1: 'mlp1.1',
  projectorFc2: 'mlp1.3',
};

/** Defaults are those of InternVisionConfig: a key that is absent means the 6B tower of the first release. */
function readVisionSpec(
  config: ConfigReader,
  vision: ConfigReader,
): { spec: VisionSpec; storedLayers: number } {
  vision.requireOneOf('hidden_act', ['gelu'], 'gelu');
  const storedLayers = vision.dimension('num_hidden_layers', 48);
  const hiddenSize = vision.dimension('hidden_size', 3200);
  const numHeads = vision.dimension('num_attention_heads', 25);
  const imageSize = vision.squareSize('image_size', 224);
  const spec: VisionSpec = {
    hiddenSize,
    numLayers: layersUsed(config, 'select_layer', storedLayers),
    numHeads,
    headDim: hiddenSize / numHeads,
    intermediateSize: vision.dimension('intermediate_size', 12800),
    normType: normTypeOf(vision, 'rms_norm'),
    normEps: vision.positiveNumber('layer_norm_eps', 1e-6),
    qkNormalization: vision.boolean('qk_normalization', true),
    qkvBias: vision.boolean('qkv_bias', false),
    patchSize: vision.squareSize('patch_size', 14),
    imageSize: config.dimension('force_image_size', imageSize),
    numChannels: vision.dimension('num_channels', 3),
    shuffleFactor: readShuffleFactor(config),
    projectorNormEps: PROJECTOR_NORM_EPS,
    projectorHiddenSize: 0,
    float8: 'none',
    pixelMean: PIXEL_MEAN,
    pixelStd: PIXEL_STD,
  };
  checkVisionSpec(vision, spec);
  return { spec, storedLayers };
}

function readConfig({ config, generation }: ConfigFiles): FamilyConfig {
  const llm = config.object('llm_config');
  const visionConfig = config.object('vision_config');
  if (llm === null || visionConfig === null) {
    throw new AppError(
      'CORRUPT_WEIGHTS',
      `${config.where}: expected the objects llm_config and vision_config`,
    );
  }
  const architectures = llm.raw('architectures');
  if (
    architectures !== undefined &&
    (!Array.isArray(architectures) || architectures[0] !== 'Qwen2ForCausalLM')
  ) {
    throw llm.unsupported('architectures', '["Qwen2ForCausalLM"]');
  }
  // v1, the class default, leaves the token grid transposed; a model run in the wrong order still writes fluent
  // nonsense.
  config.requireOneOf('ps_version', ['v2'], 'v1');
  const text = readTextSpec(llm);
  const { spec, storedLayers } = readVisionSpec(config, visionConfig);
  const vision = { ...spec, projectorHiddenSize: text.hiddenSize };
  const tiling = makeTiling(config, vision, {
    minTiles: config.dimension('min_dynamic_patch', 1),
    maxTiles: config.dimension('max_dynamic_patch', 6),
    useThumbnail: config.boolean('use_thumbnail', false),
    isDynamic: config.boolean('dynamic_image_size', false),
  });
  // The model's own class forces the flag to false, yet files without an lm_head exist that set it: believe it only
  // then.
  const saysTied = config.boolean('tie_word_embeddings', false) || llm.boolean('tie_word_embeddings', false);
  return {
    architecture: architectureOf(config),
    text,
    vision,
    tiling,
    tiedHead: saysTied ? 'if-absent' : 'never',
    storedVisionLayers: storedLayers,
    eosTokenIds: collectEosTokenIds([generation, config, llm]),
  };
}

function architectureOf(config: ConfigReader): string {
  const list = config.raw('architectures');
  return Array.isArray(list) ? String(list[0]) : ARCHITECTURES[0];
}

export const internvlChatFamily: ModelFamily = {
  layout: 'internvl-chat',
  architectures: ARCHITECTURES,
  readConfig,
  names: NAMES,
  canonicalName: (name) => name,
};
