// Original file: proto/skein/worker/v1/worker.proto

import type { Long } from '@grpc/proto-loader';

export interface SamplingParams {
  /**
   * 0: greedy.
   */
  'temperature'?: (number | string);
  /**
   * 0: off.
   */
  'topK'?: (number);
  /**
   * 1: off.
   */
  'topP'?: (number | string);
  /**
   * 0: off.
   */
  'minP'?: (number | string);
  /**
   * 1: off. Prompt and generated tokens count.
   */
  'repetitionPenalty'?: (number | string);
  /**
   * 0: off. Generated tokens count.
   */
  'presencePenalty'?: (number | string);
  'frequencyPenalty'?: (number | string);
  'seed'?: (number | string | Long);
  /**
   * Sampled tokens before which stop_token_ids are banned.
   */
  'minTokens'?: (number);
  /**
   * Top log-probabilities to return with every sampled token; 0: none, not even the chosen one's.
   */
  'numTopLogprobs'?: (number);
  /**
   * u32: banned while fewer than min_tokens were sampled. The coordinator, not the engine, ends sequences.
   */
  'stopTokenIds'?: (Buffer | Uint8Array | string);
  /**
   * u32 ids and, aligned with them, f32 values.
   */
  'logitBiasIds'?: (Buffer | Uint8Array | string);
  'logitBiasValues'?: (Buffer | Uint8Array | string);
  /**
   * Which of a request's n choices this is; keys the noise together with the seed.
   */
  'choiceIndex'?: (number);
  'returnLogprobs'?: (boolean);
}

export interface SamplingParams__Output {
  /**
   * 0: greedy.
   */
  'temperature': (number);
  /**
   * 0: off.
   */
  'topK': (number);
  /**
   * 1: off.
   */
  'topP': (number);
  /**
   * 0: off.
   */
  'minP': (number);
  /**
   * 1: off. Prompt and generated tokens count.
   */
  'repetitionPenalty': (number);
  /**
   * 0: off. Generated tokens count.
   */
  'presencePenalty': (number);
  'frequencyPenalty': (number);
  'seed': (string);
  /**
   * Sampled tokens before which stop_token_ids are banned.
   */
  'minTokens': (number);
  /**
   * Top log-probabilities to return with every sampled token; 0: none, not even the chosen one's.
   */
  'numTopLogprobs': (number);
  /**
   * u32: banned while fewer than min_tokens were sampled. The coordinator, not the engine, ends sequences.
   */
  'stopTokenIds': (Buffer);
  /**
   * u32 ids and, aligned with them, f32 values.
   */
  'logitBiasIds': (Buffer);
  'logitBiasValues': (Buffer);
  /**
   * Which of a request's n choices this is; keys the noise together with the seed.
   */
  'choiceIndex': (number);
  'returnLogprobs': (boolean);
}
