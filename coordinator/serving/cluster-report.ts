// What GET /cluster answers, put together from what is served and what has happened.
import type { ClusterCache, ClusterRank, ClusterReport } from '../../common/cluster-report.js';
import { SAMPLING_RANGES, type SamplingDefaults, type SamplingNumber } from '../../common/sampling.js';
import { VERSION } from '../../common/version.js';
import type { EngineState } from '../engine/engine.js';
import type { EpochRuntime } from '../engine/epoch-runtime.js';
import type { ServiceHistory } from '../engine/service-history.js';
import type { RankInfo } from '../executor/rank-info.js';
import type { ModelFacts } from '../gateway/inference-messages.js';
import { BLOCK_SIZE } from './model-sizes.js';

export interface ReportFacts {
  readonly model: ModelFacts;
  readonly state: EngineState;
  /** Null before the first. */
  readonly epoch: EpochRuntime | null;
  /** Requests that wait for an epoch. */
  readonly numBacklog: number;
  readonly history: ServiceHistory;
}

export function clusterReport(
  { model, state, epoch, numBacklog, history }: ReportFacts,
  afterS: number,
): ClusterReport {
  const stats = epoch?.stats;
  return {
    version: VERSION,
    now_ms: Date.now(),
    state,
    group_epoch: epoch?.group.groupEpoch ?? 0,
    epoch_number: history.epochNumber,
    model: {
      name: model.name,
      architecture: model.architecture,
      max_model_len: model.maxModelLength,
      supports_pictures: model.maxTilesPerPicture > 0,
      compute_type: model.computeType,
      quantization: model.quantization,
      vision_quantization: model.visionQuantization,
      kv_cache_dtype: model.kvCacheDtype,
      deterministic: model.deterministic,
      sampling_defaults: samplingDefaults(model.samplingDefaults),
    },
    collective: epoch?.group.collective ?? '',
    ranks: (epoch?.group.ranks ?? []).map(toRank),
    cache: cacheOf(epoch),
    queue: {
      num_running: stats?.numRunning ?? 0,
      num_waiting: (stats?.numWaiting ?? 0) + numBacklog,
      num_paused: stats?.numPaused ?? 0,
      num_preemptions: stats?.numPreemptions ?? 0,
    },
    completed_steps: stats?.numCompletedSteps ?? 0,
    timeline: history.secondsAfter(afterS),
    events: history.events,
  };
}

function samplingDefaults(defaults: SamplingDefaults): Record<string, number> {
  const numbers = Object.entries(SAMPLING_RANGES).map(([field, { name }]): [string, number] => [
    name,
    defaults[field as SamplingNumber],
  ]);
  const { maxTokens } = defaults;
  return Object.fromEntries([
    ...numbers,
    ...(maxTokens === undefined ? [] : ([['max_completion_tokens', maxTokens]] as const)),
  ]);
}

function cacheOf(epoch: EpochRuntime | null): ClusterCache {
  const stats = epoch?.stats;
  return {
    num_blocks: epoch?.group.numKvBlocks ?? 0,
    num_free_blocks: stats?.numFreeBlocks ?? 0,
    num_kept_blocks: stats?.numKeptBlocks ?? 0,
    block_size: BLOCK_SIZE,
    num_admitted_tokens: stats?.numAdmittedTokens ?? 0,
    num_cached_tokens: stats?.numCachedTokens ?? 0,
  };
}

function toRank(rank: RankInfo): ClusterRank {
  return {
    rank: rank.rank,
    worker_id: rank.workerId,
    host: rank.host,
    pid: rank.pid,
    device: rank.device,
    device_name: rank.deviceName,
    weight_bytes: rank.weightBytes,
    kv_bytes: rank.kvBytes,
    activation_bytes: rank.activationBytes,
    graph_bytes: rank.graphBytes,
    workspace_bytes: rank.workspaceBytes,
    other_bytes: rank.otherBytes,
    free_bytes: rank.freeBytes,
    total_bytes: rank.totalBytes,
  };
}
