// Original file: proto/skein/inference/v1/inference.proto


/**
 * Also in the trailer server-timing of a call that ended well:
 * queue;dur=MS, ttft;dur=MS, tpot;dur=MS, total;dur=MS, prompt;desc=TOKENS, completion;desc=TOKENS, cached;desc=TOKENS
 */
export interface Timings {
  'queueMs'?: (number | string);
  'ttftMs'?: (number | string);
  /**
   * (total - ttft) / (completion tokens - 1); 0 with fewer than two tokens.
   */
  'tpotMs'?: (number | string);
  'totalMs'?: (number | string);
}

/**
 * Also in the trailer server-timing of a call that ended well:
 * queue;dur=MS, ttft;dur=MS, tpot;dur=MS, total;dur=MS, prompt;desc=TOKENS, completion;desc=TOKENS, cached;desc=TOKENS
 */
export interface Timings__Output {
  'queueMs': (number);
  'ttftMs': (number);
  /**
   * (total - ttft) / (completion tokens - 1); 0 with fewer than two tokens.
   */
  'tpotMs': (number);
  'totalMs': (number);
}
