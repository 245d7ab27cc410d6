// The layout of transformers: InternVLForConditionalGeneration, with vision_config and text_config.
import { AppError } from '../../../common/errors.js';
import type { ConfigReader } from '../config-reader.js';
import type { VisionSpec } from '../model-spec.js';
import type { ConfigFiles, FamilyConfig, ModelFamily, TensorNames, VisionLayerNames } from './family.js';
import { collectEosTokenIds, readTextSpec, textLayerNames } from './qwen2-text.js';
import { readPixelStatistics, readTiling } from './picture-settings.js';
import {
  checkVisionSpec,
  layersUsed,
  normTypeOf,
  PROJECTOR_NORM_EPS,
  readShuffleFactor,
} from './vision-tower.js';

function visionLayer(layer: number): VisionLayerNames {
  const base = `model.vision_tower.encoder.layer.${layer}.`;
  return {
    norm1: `${base}layernorm_before`,
    norm2: `${base}layernorm_after`,
    qkv: [`${base}attention.q_proj`, `${base}attention.k_proj`, `${base}attention.v_proj`],
    qNorm: `${base}attention.q_norm.weight`,
    kNorm: `${base}attention.k_norm.weight`,
    proj: `${base}attention.projection_layer`,
    fc1: `${base}mlp.fc1`,
    fc2: `${base}mlp.fc2`,
    layerScale1: `${base}lambda_1`,
    layerScale2: `${base}lambda_2`,
  };
}

const NAMES: TensorNames = {
  tokenEmbedding: 'model.language_model.embed_tokens.weight',
  finalNorm: 'model.language_model.norm.weight',
  lmHead: 'lm_head.weight',
  textLayer: (layer) => textLayerNames('model.language_model.', layer),
  classEmbedding: 'model.vision_tower.embeddings.cls_token',
  positionEmbedding: 'model.vision_tower.embeddings.position_embeddings',
  patchEmbedding: 'model.vision_tower.embeddings.patch_embeddings.projection',
  visionLayer,
  projectorNorm: 'model.multi_modal_projector.layer_norm',
  projectorFc1: 'model.multi_modal_projector.linear_1',
  projectorFc2: 'model.multi_modal_projector.linear_2',
};

/** Older saves: `vision_tower.…`, `multi_modal_projector.…`, `language_model.model.…`, `language_model.lm_head.…`. */
function canonicalName(name: string): string {
  if (name.startsWith('language_model.model.'))
    return `model.language_model.${name.slice('language_model.model.'.length)}`;
  if (name.startsWith('language_model.lm_head.')) return name.slice('language_model.'.length);
  if (name.startsWith('vision_tower.') || name.startsWith('multi_modal_projector.')) return `model.${name}`;
  return name;
}

/** Defaults are those of InternVLVisionConfig. */
function readVisionSpec(
  files: ConfigFiles,
  vision: ConfigReader,
): { spec: VisionSpec; storedLayers: number } {
  const { config } = files;
  vision.requireOneOf('hidden_act', ['gelu'], 'gelu');
  vision.requireOneOf('use_absolute_position_embeddings', [true], true);
  // Mean pooling stands for "no norm after the last layer"; the mask token is for training.
  vision.requireOneOf('use_mean_pooling', [true], true);
  vision.requireOneOf('use_mask_token', [false], false);
  const storedLayers = vision.dimension('num_hidden_layers', 24);
  const hiddenSize = vision.dimension('hidden_size', 1024);
  const numHeads = vision.dimension('num_attention_heads', 16);
  const spec: VisionSpec = {
    hiddenSize,
    numLayers: layersUsed(config, 'vision_feature_layer', storedLayers),
    numHeads,
    headDim: hiddenSize / numHeads,
    intermediateSize: vision.dimension('intermediate_size', 4096),
    normType: normTypeOf(vision, 'layer_norm'),
    normEps: vision.positiveNumber('layer_norm_eps', 1e-6),
    qkNormalization: vision.boolean('use_qk_norm', false),
    qkvBias: vision.boolean('attention_bias', false),
    patchSize: vision.squareSize('patch_size', 14),
    imageSize: vision.squareSize('image_size', 448),
    numChannels: vision.dimension('num_channels', 3),
    shuffleFactor: readShuffleFactor(config),
    projectorNormEps: PROJECTOR_NORM_EPS,
    projectorHiddenSize: 0,
    float8: 'none',
    ...readPixelStatistics(files),
  };
  checkVisionSpec(vision, spec);
  return { spec, storedLayers };
}

function readConfig(files: ConfigFiles): FamilyConfig {
  const { config, generation } = files;
  const textConfig = config.object('text_config');
  const visionConfig = config.object('vision_config');
  if (textConfig === null || visionConfig === null) {
    throw new AppError(
      'CORRUPT_WEIGHTS',
      `${config.where}: expected the objects text_config and vision_config`,
    );
  }
  config.requireOneOf('projector_hidden_act', ['gelu'], 'gelu');
  config.requireOneOf('vision_feature_select_strategy', ['default'], 'default');
  const text = readTextSpec(textConfig);
  const { spec, storedLayers } = readVisionSpec(files, visionConfig);
  const vision = { ...spec, projectorHiddenSize: text.hiddenSize };
  return {
    architecture: 'InternVLForConditionalGeneration',
    text,
    vision,
    tiling: readTiling(files, vision),
    // The class default says tied while the files are not: the tensor that is there decides.
    tiedHead: 'if-absent',
    storedVisionLayers: storedLayers,
    eosTokenIds: collectEosTokenIds([generation, config, textConfig]),
  };
}

export const internvlHfFamily: ModelFamily = {
  layout: 'internvl-hf',
  architectures: ['InternVLForConditionalGeneration'],
  readConfig,
  names: NAMES,
  canonicalName,
};
