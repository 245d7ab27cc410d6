// Original file: proto/skein/inference/v1/inference.proto

import type { Rank as _skein_inference_v1_Rank, Rank__Output as _skein_inference_v1_Rank__Output } from '../../../skein/inference/v1/Rank.js';
import type { Long } from '@grpc/proto-loader';

export interface GetClusterResponse {
  'groupEpoch'?: (number | string | Long);
  /**
   * "forming", "ready", "recovering" (a group was lost, the next is formed, requests wait), "failed" or "draining".
   */
  'state'?: (string);
  'worldSize'?: (number);
  'ranks'?: (_skein_inference_v1_Rank)[];
  'collective'?: (string);
  'numKvBlocks'?: (number);
  'numFreeKvBlocks'?: (number);
  'blockSize'?: (number);
  'numRunning'?: (number);
  'numWaiting'?: (number);
  'steps'?: (number | string | Long);
  'visionParallel'?: (string);
  /**
   * Steps that every rank has answered, and the time that rank 0 spent in them: what a step takes on the device.
   */
  'completedSteps'?: (number | string | Long);
  'stepMs'?: (number | string);
  /**
   * Sequences whose clients read too slowly: nothing is computed for them meanwhile. Neither running nor waiting.
   */
  'numPaused'?: (number);
}

export interface GetClusterResponse__Output {
  'groupEpoch': (string);
  /**
   * "forming", "ready", "recovering" (a group was lost, the next is formed, requests wait), "failed" or "draining".
   */
  'state': (string);
  'worldSize': (number);
  'ranks': (_skein_inference_v1_Rank__Output)[];
  'collective': (string);
  'numKvBlocks': (number);
  'numFreeKvBlocks': (number);
  'blockSize': (number);
  'numRunning': (number);
  'numWaiting': (number);
  'steps': (string);
  'visionParallel': (string);
  /**
   * Steps that every rank has answered, and the time that rank 0 spent in them: what a step takes on the device.
   */
  'completedSteps': (string);
  'stepMs': (number);
  /**
   * Sequences whose clients read too slowly: nothing is computed for them meanwhile. Neither running nor waiting.
   */
  'numPaused': (number);
}
