// Original file: proto/skein/inference/v1/inference.proto

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
  'logitBias'?: ({[key: number]: number | string});
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
  'logitBias': ({[key: number]: number});
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
