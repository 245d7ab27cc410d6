// Original file: proto/skein/inference/v1/inference.proto


export interface Timings {
  'queueMs'?: (number | string);
  'ttftMs'?: (number | string);
  /**
   * (total - ttft) / (completion tokens - 1); 0 with fewer than two tokens.
   */
  'tpotMs'?: (number | string);
  'totalMs'?: (number | string);
}

export interface Timings__Output {
  'queueMs': (number);
  'ttftMs': (number);
  /**
   * (total - ttft) / (completion tokens - 1); 0 with fewer than two tokens.
   */
  'tpotMs': (number);
  'totalMs': (number);
}
