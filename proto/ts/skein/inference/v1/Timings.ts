// Original file: proto/skein/inference/v1/inference.proto

import type { RankTimings as _skein_inference_v1_RankTimings, RankTimings__Output as _skein_inference_v1_RankTimings__Output } from '../../../skein/inference/v1/RankTimings.js';

/**
 * Also in the trailer server-timing of a call that ended well:
 * queue;dur=MS, ttft;dur=MS, tpot;dur=MS, total;dur=MS, prompt;desc=TOKENS, completion;desc=TOKENS, cached;desc=TOKENS
 */
export interface Timings {
  /**
   * From its arrival until it first ran, encoding included.
   */
  'queueMs'?: (number | string);
  'ttftMs'?: (number | string);
  /**
   * (total - ttft) / (completion tokens - 1); 0 with fewer than two tokens.
   */
  'tpotMs'?: (number | string);
  'totalMs'?: (number | string);
  /**
   * Prompt and pictures turned into tokens and tiles; part of queue_ms.
   */
  'encodeMs'?: (number | string);
  /**
   * From the first step to the first token, and from there to the end.
   */
  'prefillMs'?: (number | string);
  'decodeMs'?: (number | string);
  /**
   * In rank order.
   */
  'ranks'?: (_skein_inference_v1_RankTimings)[];
}

/**
 * Also in the trailer server-timing of a call that ended well:
 * queue;dur=MS, ttft;dur=MS, tpot;dur=MS, total;dur=MS, prompt;desc=TOKENS, completion;desc=TOKENS, cached;desc=TOKENS
 */
export interface Timings__Output {
  /**
   * From its arrival until it first ran, encoding included.
   */
  'queueMs': (number);
  'ttftMs': (number);
  /**
   * (total - ttft) / (completion tokens - 1); 0 with fewer than two tokens.
   */
  'tpotMs': (number);
  'totalMs': (number);
  /**
   * Prompt and pictures turned into tokens and tiles; part of queue_ms.
   */
  'encodeMs': (number);
  /**
   * From the first step to the first token, and from there to the end.
   */
  'prefillMs': (number);
  'decodeMs': (number);
  /**
   * In rank order.
   */
  'ranks': (_skein_inference_v1_RankTimings__Output)[];
}
