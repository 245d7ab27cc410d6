// Original file: proto/skein/inference/v1/inference.proto

import type { LogitBias as _skein_inference_v1_LogitBias, LogitBias__Output as _skein_inference_v1_LogitBias__Output } from '../../../skein/inference/v1/LogitBias.js';
import type { Long } from '@grpc/proto-loader';

/**
 * Absent fields take the server's defaults; see GetModel.
 */
export interface SamplingOptions {
  'temperature'?: (number | string);
  'topK'?: (number);
  'topP'?: (number | string);
  'minP'?: (number | string);
  'repetitionPenalty'?: (number | string);
  'presencePenalty'?: (number | string);
  'frequencyPenalty'?: (number | string);
  'seed'?: (number | string | Long);
  'maxTokens'?: (number);
  'minTokens'?: (number);
  'ignoreEos'?: (boolean);
  'stop'?: (string)[];
  'stopTokenIds'?: (number)[];
  /**
   * At most one for each token; no map, since reflection of maps does not reach every client.
   */
  'logitBias'?: (_skein_inference_v1_LogitBias)[];
  /**
   * Log-probabilities of that many most likely tokens with every token, 0 to 20.
   */
  'topLogprobs'?: (number);
  '_temperature'?: "temperature";
  '_topK'?: "topK";
  '_topP'?: "topP";
  '_minP'?: "minP";
  '_repetitionPenalty'?: "repetitionPenalty";
  '_presencePenalty'?: "presencePenalty";
  '_frequencyPenalty'?: "frequencyPenalty";
  '_seed'?: "seed";
  '_maxTokens'?: "maxTokens";
  '_minTokens'?: "minTokens";
  '_ignoreEos'?: "ignoreEos";
  '_topLogprobs'?: "topLogprobs";
}

/**
 * Absent fields take the server's defaults; see GetModel.
 */
export interface SamplingOptions__Output {
  'temperature'?: (number);
  'topK'?: (number);
  'topP'?: (number);
  'minP'?: (number);
  'repetitionPenalty'?: (number);
  'presencePenalty'?: (number);
  'frequencyPenalty'?: (number);
  'seed'?: (string);
  'maxTokens'?: (number);
  'minTokens'?: (number);
  'ignoreEos'?: (boolean);
  'stop': (string)[];
  'stopTokenIds': (number)[];
  /**
   * At most one for each token; no map, since reflection of maps does not reach every client.
   */
  'logitBias': (_skein_inference_v1_LogitBias__Output)[];
  /**
   * Log-probabilities of that many most likely tokens with every token, 0 to 20.
   */
  'topLogprobs'?: (number);
  '_temperature'?: "temperature";
  '_topK'?: "topK";
  '_topP'?: "topP";
  '_minP'?: "minP";
  '_repetitionPenalty'?: "repetitionPenalty";
  '_presencePenalty'?: "presencePenalty";
  '_frequencyPenalty'?: "frequencyPenalty";
  '_seed'?: "seed";
  '_maxTokens'?: "maxTokens";
  '_minTokens'?: "minTokens";
  '_ignoreEos'?: "ignoreEos";
  '_topLogprobs'?: "topLogprobs";
}
