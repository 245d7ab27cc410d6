// Original file: proto/skein/worker/v1/worker.proto

import type { NormType as _skein_worker_v1_NormType, NormType__Output as _skein_worker_v1_NormType__Output } from '../../../skein/worker/v1/NormType.js';

/**
 * Dimensions of the vision tower and the projector, whole model.
 */
export interface VisionSpec {
  'hiddenSize'?: (number);
  'numLayers'?: (number);
  'numHeads'?: (number);
  'headDim'?: (number);
  'intermediateSize'?: (number);
  'normType'?: (_skein_worker_v1_NormType);
  'normEps'?: (number | string);
  /**
   * RMS norm of q and k over the full width, before the split into heads.
   */
  'qkNormalization'?: (boolean);
  'qkvBias'?: (boolean);
  'patchSize'?: (number);
  'imageSize'?: (number);
  'numChannels'?: (number);
  /**
   * Patches per side that pixel shuffle (v2) folds into one token: 2.
   */
  'shuffleFactor'?: (number);
  'projectorNormEps'?: (number | string);
  /**
   * LayerNorm over hidden_size * shuffle_factor^2, then two linears.
   */
  'projectorHiddenSize'?: (number);
  'pixelMean'?: (number | string)[];
  'pixelStd'?: (number | string)[];
}

/**
 * Dimensions of the vision tower and the projector, whole model.
 */
export interface VisionSpec__Output {
  'hiddenSize': (number);
  'numLayers': (number);
  'numHeads': (number);
  'headDim': (number);
  'intermediateSize': (number);
  'normType': (_skein_worker_v1_NormType__Output);
  'normEps': (number);
  /**
   * RMS norm of q and k over the full width, before the split into heads.
   */
  'qkNormalization': (boolean);
  'qkvBias': (boolean);
  'patchSize': (number);
  'imageSize': (number);
  'numChannels': (number);
  /**
   * Patches per side that pixel shuffle (v2) folds into one token: 2.
   */
  'shuffleFactor': (number);
  'projectorNormEps': (number);
  /**
   * LayerNorm over hidden_size * shuffle_factor^2, then two linears.
   */
  'projectorHiddenSize': (number);
  'pixelMean': (number)[];
  'pixelStd': (number)[];
}
