// Original file: proto/skein/inference/v1/inference.proto


/**
 * What a rank spent from the request's first step to its end, in steps that it shares with others.
 */
export interface RankTimings {
  'rank'?: (number);
  /**
   * Between steps, where there was work and no plan.
   */
  'planWaitMs'?: (number | string);
  'computeMs'?: (number | string);
  /**
   * For other ranks, and on sampling; see docs/metrics.md for what is seen of GPUs.
   */
  'allReduceWaitMs'?: (number | string);
  'samplingMs'?: (number | string);
}

/**
 * What a rank spent from the request's first step to its end, in steps that it shares with others.
 */
export interface RankTimings__Output {
  'rank': (number);
  /**
   * Between steps, where there was work and no plan.
   */
  'planWaitMs': (number);
  'computeMs': (number);
  /**
   * For other ranks, and on sampling; see docs/metrics.md for what is seen of GPUs.
   */
  'allReduceWaitMs': (number);
  'samplingMs': (number);
}
