// Deltas and facts about the model and the cluster as messages of skein.inference.v1.
import type { SamplingDefaults } from '../../common/sampling.js';
import type { GenerateOnceResponse } from '../../proto/ts/skein/inference/v1/GenerateOnceResponse.js';
import type { GenerateResponse } from '../../proto/ts/skein/inference/v1/GenerateResponse.js';
import type { GetClusterResponse } from '../../proto/ts/skein/inference/v1/GetClusterResponse.js';
import type { GetModelResponse } from '../../proto/ts/skein/inference/v1/GetModelResponse.js';
import type { TokenLogprobs as TokenLogprobsMessage } from '../../proto/ts/skein/inference/v1/TokenLogprobs.js';
import type { TokenLogprobs } from '../executor/step-loop.js';
import type { WholeGeneration } from '../engine/generate.js';
import type { ToolCall as ToolCallMessage } from '../../proto/ts/skein/inference/v1/ToolCall.js';
import type { GenerationDelta, GenerationEnd, ToolCallDelta } from '../requests/generation.js';

export interface ModelFacts {
  readonly name: string;
  readonly architecture: string;
  readonly maxModelLength: number;
  readonly vocabSize: number;
  readonly tokensPerTile: number;
  /** 0: no vision tower. */
  readonly maxTilesPerPicture: number;
  readonly computeType: string;
  readonly quantization: string;
  readonly visionQuantization: string;
  readonly kvCacheDtype: string;
  readonly loadFormat: string;
  readonly deterministic: boolean;
  readonly stopTokenIds: readonly number[];
  readonly pictureTokenId: number | null;
  readonly samplingDefaults: SamplingDefaults;
}

export interface ClusterFacts {
  readonly groupEpoch: number;
  readonly state: 'forming' | 'ready' | 'recovering' | 'failed' | 'draining';
  readonly ranks: readonly {
    readonly rank: number;
    readonly workerId: string;
    readonly host: string;
    readonly pid: number;
    readonly device: string;
    readonly weightBytes: number;
    readonly readBytes: number;
    readonly kvBytes: number;
    readonly address: string;
    readonly activationBytes: number;
    readonly graphBytes: number;
    readonly workspaceBytes: number;
    readonly otherBytes: number;
    readonly freeBytes: number;
    readonly totalBytes: number;
  }[];
  readonly collective: string;
  readonly numKvBlocks: number;
  readonly numFreeKvBlocks: number;
  readonly blockSize: number;
  readonly numRunning: number;
  readonly numWaiting: number;
  readonly numPaused: number;
  readonly steps: number;
  readonly visionParallel: string;
  readonly completedSteps: number;
  readonly stepMs: number;
}

const FINISH_REASONS = {
  stop: 'FINISH_REASON_STOP',
  length: 'FINISH_REASON_LENGTH',
  tool_calls: 'FINISH_REASON_TOOL_CALLS',
} as const satisfies Record<GenerationEnd['finishReason'], string>;

type EndFields = Pick<GenerateResponse, 'finishReason' | 'usage' | 'timings'>;

export interface DeltaFacts {
  readonly requestId: string;
  readonly delta: GenerationDelta;
  /** With the first message of a call. */
  readonly promptTokenIds: Uint32Array | null;
  /** Of the answer, where the call has several. */
  readonly index: number;
}

export function toGenerateResponse({
  requestId,
  delta,
  promptTokenIds,
  index,
}: DeltaFacts): GenerateResponse {
  return {
    requestId,
    index,
    reasoningDelta: delta.reasoning,
    answerDelta: delta.answer,
    toolCalls: delta.toolCalls.map(toolCallMessage),
    tokenIds: delta.tokenIds,
    logprobs: delta.logprobs.map(logprobsMessage),
    ...(delta.end === null ? {} : endFields(delta.end)),
    ...(promptTokenIds === null ? {} : { promptTokenIds: Array.from(promptTokenIds) }),
  };
}

/** `answers`: at least one. */
export function toGenerateOnceResponse(answers: readonly WholeGeneration[]): GenerateOnceResponse {
  const [first, ...others] = answers;
  return {
    ...toAnswer(first!),
    promptTokenIds: Array.from(first!.promptTokenIds),
    otherAnswers: others.map(toAnswer),
  };
}

function toAnswer(whole: WholeGeneration): GenerateOnceResponse {
  return {
    requestId: whole.requestId,
    reasoning: whole.reasoning,
    answer: whole.answer,
    toolCalls: whole.toolCalls.map(toolCallMessage),
    text: whole.end.text,
    tokenIds: whole.tokenIds,
    logprobs: whole.logprobs.map(logprobsMessage),
    ...endFields(whole.end),
  };
}

/**
 * Timings as a trailer, in the form of HTTP's Server-Timing: for proxies' logs and load generators, which see no
 * messages.
 */
export function serverTiming({ timings, usage }: GenerationEnd): string {
  const { queueMs, ttftMs, tpotMs, totalMs } = timings;
  const durations = { queue: queueMs, ttft: ttftMs, tpot: tpotMs, total: totalMs };
  const entries = Object.entries(durations).map(([name, ms]) => `${name};dur=${ms.toFixed(3)}`);
  return [
    ...entries,
    `prompt;desc=${usage.promptTokens}`,
    `completion;desc=${usage.completionTokens}`,
    `cached;desc=${usage.cachedTokens}`,
  ].join(', ');
}

function endFields(end: GenerationEnd): EndFields {
  return {
    finishReason: FINISH_REASONS[end.finishReason],
    usage: end.usage,
    timings: { ...end.timings, ranks: end.timings.ranks.map((spent, rank) => ({ rank, ...spent })) },
  };
}

function toolCallMessage({ index, id = '', name = '', arguments: text }: ToolCallDelta): ToolCallMessage {
  return { index, id, name, arguments: text };
}

function logprobsMessage({ logprob, topIds, topLogprobs }: TokenLogprobs): TokenLogprobsMessage {
  return { logprob, top: Array.from(topIds, (id, index) => ({ id, logprob: topLogprobs[index] ?? NaN })) };
}

export function toGetModelResponse(model: ModelFacts): GetModelResponse {
  return {
    model: model.name,
    architecture: model.architecture,
    maxModelLength: model.maxModelLength,
    vocabSize: model.vocabSize,
    supportsPictures: model.maxTilesPerPicture > 0,
    tokensPerTile: model.tokensPerTile,
    maxTilesPerPicture: model.maxTilesPerPicture,
    computeType: model.computeType,
    quantization: model.quantization,
    visionQuantization: model.visionQuantization,
    kvCacheDtype: model.kvCacheDtype,
    loadFormat: model.loadFormat,
    deterministic: model.deterministic,
    defaultSampling: { ...model.samplingDefaults },
    stopTokenIds: [...model.stopTokenIds],
    ...(model.pictureTokenId === null ? {} : { pictureTokenId: model.pictureTokenId }),
  };
}

export function toGetClusterResponse(cluster: ClusterFacts): GetClusterResponse {
  return { ...cluster, worldSize: cluster.ranks.length, ranks: cluster.ranks.map((rank) => ({ ...rank })) };
}
