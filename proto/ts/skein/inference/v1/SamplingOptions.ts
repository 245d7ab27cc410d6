// Original file: proto/skein/inference/v1/inference.proto

import type { LogitBias as _skein_inference_v1_LogitBias, LogitBias__Output as _skein_inference_v1_LogitBias__Output } from '../../../skein/inference/v1/LogitBias.js';
import type { Long } from '@grpc/proto-loader';

/**
 * Absent fields take the server's defaults: GetModelResponse.default_sampling, where what is absent there is off.
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
  /**
   * True (the default) leaves special tokens out of the text: of reasoning_delta, answer_delta, reasoning, answer and
   * text. With false they are spelt there (<ref>, <box>, ...), and stop strings see them. In neither case is the token
   * that ends the sequence part of the text, and the tags <think> and </think> are always in `text` and never in
   * reasoning or answer. Token ids are not touched.
   */
  'skipSpecialTokens'?: (boolean);
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
  '_skipSpecialTokens'?: "skipSpecialTokens";
}

/**
 * Absent fields take the server's defaults: GetModelResponse.default_sampling, where what is absent there is off.
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
  /**
   * True (the default) leaves special tokens out of the text: of reasoning_delta, answer_delta, reasoning, answer and
   * text. With false they are spelt there (<ref>, <box>, ...), and stop strings see them. In neither case is the token
   * that ends the sequence part of the text, and the tags <think> and </think> are always in `text` and never in
   * reasoning or answer. Token ids are not touched.
   */
  'skipSpecialTokens'?: (boolean);
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
  '_skipSpecialTokens'?: "skipSpecialTokens";
}
