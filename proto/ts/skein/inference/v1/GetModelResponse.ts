// Original file: proto/skein/inference/v1/inference.proto

import type { SamplingOptions as _skein_inference_v1_SamplingOptions, SamplingOptions__Output as _skein_inference_v1_SamplingOptions__Output } from '../../../skein/inference/v1/SamplingOptions.js';

export interface GetModelResponse {
  'model'?: (string);
  'architecture'?: (string);
  'maxModelLength'?: (number);
  'vocabSize'?: (number);
  'supportsPictures'?: (boolean);
  'tokensPerTile'?: (number);
  'maxTilesPerPicture'?: (number);
  'computeType'?: (string);
  /**
   * Of the decoder: "", "awq" or "fp8".
   */
  'quantization'?: (string);
  /**
   * "auto" or "dummy": with dummy weights the text means nothing.
   */
  'loadFormat'?: (string);
  /**
   * Defaults for absent sampling fields: of the checkpoint's generation_config.json, else neutral (greedy, nothing
   * filtered).
   */
  'defaultSampling'?: (_skein_inference_v1_SamplingOptions | null);
  'stopTokenIds'?: (number)[];
  /**
   * The bits of an answer do not depend on what else runs: always on CPUs, on GPUs where asked for.
   */
  'deterministic'?: (boolean);
  /**
   * Stands for a picture in prompt_token_ids; absent where pictures are not supported.
   */
  'pictureTokenId'?: (number);
  /**
   * Of the vision tower: "" or "fp8".
   */
  'visionQuantization'?: (string);
  /**
   * Of keys and values: "" (in compute_type) or "fp8".
   */
  'kvCacheDtype'?: (string);
  '_pictureTokenId'?: "pictureTokenId";
}

export interface GetModelResponse__Output {
  'model': (string);
  'architecture': (string);
  'maxModelLength': (number);
  'vocabSize': (number);
  'supportsPictures': (boolean);
  'tokensPerTile': (number);
  'maxTilesPerPicture': (number);
  'computeType': (string);
  /**
   * Of the decoder: "", "awq" or "fp8".
   */
  'quantization': (string);
  /**
   * "auto" or "dummy": with dummy weights the text means nothing.
   */
  'loadFormat': (string);
  /**
   * Defaults for absent sampling fields: of the checkpoint's generation_config.json, else neutral (greedy, nothing
   * filtered).
   */
  'defaultSampling': (_skein_inference_v1_SamplingOptions__Output | null);
  'stopTokenIds': (number)[];
  /**
   * The bits of an answer do not depend on what else runs: always on CPUs, on GPUs where asked for.
   */
  'deterministic': (boolean);
  /**
   * Stands for a picture in prompt_token_ids; absent where pictures are not supported.
   */
  'pictureTokenId'?: (number);
  /**
   * Of the vision tower: "" or "fp8".
   */
  'visionQuantization': (string);
  /**
   * Of keys and values: "" (in compute_type) or "fp8".
   */
  'kvCacheDtype': (string);
  '_pictureTokenId'?: "pictureTokenId";
}
