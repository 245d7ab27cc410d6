// Where the time of a token goes beyond reading the weights: arithmetic over what other parts measured. A field is null
// where one of the numbers that it takes is missing.
import { rounded } from '../statistics.js';
import type { PartRecords } from './part.js';

/** One line of cuda_collective_bench. */
export interface AllReduceTime {
  readonly world_size: number;
  readonly type: string;
  readonly bytes: number;
  readonly in_graph: boolean;
  readonly deterministic: boolean;
  readonly us: number;
}

interface ServedCase {
  readonly prompt: string;
  readonly promptTokens: number;
  readonly batch: number;
  readonly sampling: string;
  readonly newTokens: number;
  readonly medians: { readonly tokenMs: number; readonly deviceStepMs?: number };
  readonly runs: readonly { readonly promptTokens: number }[];
}

/** What attribution reads of a result of the serving benchmark. */
export interface ServedModel {
  readonly model: string;
  readonly commit: string;
  readonly worldSize: number;
  readonly floor?: {
    readonly memoryBandwidth: number;
    readonly decodeMs: number;
    readonly kvBytesPerToken: number;
    readonly allReduces: readonly { readonly count: number; readonly bytes: number }[];
  } | null;
  readonly results?: readonly ServedCase[];
}

export interface Attribution {
  readonly model: string;
  readonly worldSize: number;
  /** Of the numbers at the client. */
  readonly commit: string;
  /** Tokens in the cache in the middle of the answer. */
  readonly contextTokens: number;
  /** Between two tokens at the client: the sum of the five below. */
  readonly tokenMs: number;
  /** The slowest rank reads its weights once, at the measured bandwidth. */
  readonly weightsMs: number | null;
  /** And its keys and values. */
  readonly kvMs: number | null;
  /** All-reduces of a step, each as long as one of a graph of nothing else. */
  readonly allReduceMs: number | null;
  /**
   * The rest of a step: starts and ends of kernels, attention beyond its bytes, sampling and its gather, ranks that
   * wait.
   */
  readonly otherDeviceMs: number | null;
  /** What the client waits beyond the steps. */
  readonly controlPlaneMs: number | null;
  readonly deviceStepMs: number | null;
  /** Time of one rank over this; null where one rank was not measured. */
  readonly speedup: number | null;
}

/** Milliseconds of all of them; null where one of their sizes was not measured. */
export function allReduceMs(
  allReduces: readonly { readonly count: number; readonly bytes: number }[],
  worldSize: number,
  times: readonly AllReduceTime[],
): number | null {
  let total = 0;
  for (const { count, bytes } of allReduces) {
    const time = times.find(
      (each) =>
        each.world_size === worldSize &&
        each.bytes === bytes &&
        each.type === 'float32' &&
        each.in_graph &&
        !each.deterministic,
    );
    if (time === undefined) return null;
    total += (count * time.us) / 1e3;
  }
  return total;
}

/** A picture and a question, alone, greedy. */
function aloneOf(served: ServedModel): ServedCase | undefined {
  return served.results?.find(
    ({ prompt, batch, sampling }) => prompt === 'picture' && batch === 1 && sampling === 'greedy',
  );
}

/** Null where nothing was measured at batch 1. */
export function attribute(
  served: ServedModel,
  times: readonly AllReduceTime[],
  singleTokenMs: number | null,
): Attribution | null {
  const alone = aloneOf(served);
  if (alone === undefined) return null;
  const { tokenMs, deviceStepMs = null } = alone.medians;
  const contextTokens = Math.round((alone.runs[0]?.promptTokens ?? alone.promptTokens) + alone.newTokens / 2);
  const floor = served.floor ?? null;
  const kvMs =
    floor === null ? null : ((floor.kvBytesPerToken * contextTokens) / floor.memoryBandwidth) * 1e3;
  const reduceMs = floor === null ? null : allReduceMs(floor.allReduces, served.worldSize, times);
  const otherMs =
    floor === null || kvMs === null || reduceMs === null || deviceStepMs === null
      ? null
      : deviceStepMs - floor.decodeMs - kvMs - reduceMs;
  return {
    model: served.model,
    worldSize: served.worldSize,
    commit: served.commit,
    contextTokens,
    tokenMs,
    weightsMs: floor?.decodeMs ?? null,
    kvMs: roundedOrNull(kvMs),
    allReduceMs: roundedOrNull(reduceMs),
    otherDeviceMs: roundedOrNull(otherMs),
    controlPlaneMs: roundedOrNull(deviceStepMs === null ? null : tokenMs - deviceStepMs),
    deviceStepMs,
    speedup: roundedOrNull(singleTokenMs === null ? null : singleTokenMs / tokenMs),
  };
}

function roundedOrNull(value: number | null): number | null {
  return value === null ? null : rounded(value);
}

/** A row for every served model and world size among the parts, in their order. */
export function attributions(records: PartRecords): Attribution[] {
  const served = Object.entries(records)
    .filter(([name, { state }]) => name.startsWith('serving-') && state === 'passed')
    .map(([, { result }]) => result as ServedModel);
  const measured = records['all-reduce']?.result as
    { readonly results: readonly AllReduceTime[] } | undefined;
  const times = measured?.results ?? [];
  return served.flatMap((each) => {
    const single = served.find(({ model, worldSize }) => model === each.model && worldSize === 1);
    const singleMs = single === undefined ? null : (aloneOf(single)?.medians.tokenMs ?? null);
    return attribute(each, times, singleMs) ?? [];
  });
}
