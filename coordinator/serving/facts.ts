// What GetModel and GetCluster tell, of a service that may have no group yet.
import path from 'node:path';
import type { ClusterConfig } from '../config.js';
import type { EngineState } from '../engine/engine.js';
import type { EpochRuntime } from '../engine/epoch-runtime.js';
import type { ClusterFacts, ModelFacts } from '../gateway/inference-messages.js';
import { quantizationName, visionQuantizationName } from '../checkpoint/model-spec.js';
import type { ShardPlan } from '../sharding/shard-plan.js';
import type { ModelText } from './load-text.js';
import {
  BLOCK_SIZE,
  computeType,
  deviceChoices,
  maxTilesPerPicture,
  type SizeConfig,
} from './model-sizes.js';

/** `epoch`: null before the first. Which devices compute is not known then, and nothing is promised of them. */
export function modelFacts(
  plan: ShardPlan,
  sizes: SizeConfig,
  config: ClusterConfig,
  { processor: text, samplingDefaults }: ModelText,
  epoch: EpochRuntime | null,
): ModelFacts {
  const { spec } = plan;
  return {
    name: spec.name === '' ? path.basename(config.model) : spec.name,
    architecture: spec.architecture,
    maxModelLength: sizes.maxModelLength,
    vocabSize: spec.text.vocabSize,
    tokensPerTile: sizes.tokensPerTile,
    maxTilesPerPicture: maxTilesPerPicture(plan),
    computeType: computeType(plan, config),
    quantization: quantizationName(spec),
    visionQuantization: visionQuantizationName(spec),
    kvCacheDtype: config.kvCacheDtype === 'fp8' ? 'fp8' : '',
    loadFormat: config.loadFormat,
    stopTokenIds: text.stopTokenIds,
    pictureTokenId: text.pictureTokenId,
    samplingDefaults,
    deterministic:
      epoch === null ? config.deterministic : deviceChoices(config, epoch.group.isOnGpu).deterministic,
  };
}

export function clusterFacts(plan: ShardPlan, state: EngineState, epoch: EpochRuntime | null): ClusterFacts {
  const group = epoch?.group;
  const stats = epoch?.stats;
  return {
    groupEpoch: group?.groupEpoch ?? 0,
    state,
    ranks: group?.ranks ?? [],
    collective: group?.collective ?? '',
    numKvBlocks: group?.numKvBlocks ?? 0,
    numFreeKvBlocks: stats?.numFreeBlocks ?? 0,
    blockSize: BLOCK_SIZE,
    numRunning: stats?.numRunning ?? 0,
    numWaiting: stats?.numWaiting ?? 0,
    numPaused: stats?.numPaused ?? 0,
    steps: stats?.lastStep ?? 0,
    visionParallel: plan.spec.vision === null ? '' : plan.visionParallel,
    completedSteps: stats?.numCompletedSteps ?? 0,
    stepMs: stats?.stepMsTotal ?? 0,
  };
}
