// Text-only Qwen2 and Qwen2.5 checkpoints: Qwen2ForCausalLM.
import { AppError } from '../../../common/errors.js';
import type { ConfigFiles, FamilyConfig, ModelFamily, TensorNames } from './family.js';
import { collectEosTokenIds, readTextSpec, textLayerNames } from './qwen2-text.js';

function noVision(): never {
  throw new AppError('INTERNAL', 'a text model was asked for tensors of a vision tower');
}

const NAMES: TensorNames = {
  tokenEmbedding: 'model.embed_tokens.weight',
  finalNorm: 'model.norm.weight',
  lmHead: 'lm_head.weight',
  textLayer: (layer) => textLayerNames('model.', layer),
  classEmbedding: '',
  positionEmbedding: '',
  patchEmbedding: '',
  visionLayer: noVision,
  projectorNorm: '',
  projectorFc1: '',
  projectorFc2: '',
};

function readConfig({ config, generation }: ConfigFiles): FamilyConfig {
  return {
    architecture: 'Qwen2ForCausalLM',
    text: readTextSpec(config),
    vision: null,
    tiling: null,
    tiedHead: config.boolean('tie_word_embeddings', false) ? 'always' : 'never',
    storedVisionLayers: 0,
    eosTokenIds: collectEosTokenIds([generation, config]),
  };
}

export const qwen2Family: ModelFamily = {
  layout: 'qwen2',
  architectures: ['Qwen2ForCausalLM'],
  readConfig,
  names: NAMES,
  canonicalName: (name) => name,
};
