// What `skein run` prints besides the answer: the JSON object, and the summary of ranks and speed. Pure.
import type { GenerationDelta, GenerationEnd } from '../requests/generation.js';
import type { RankInfo } from '../executor/rank-info.js';
import type { ShardPlan } from '../sharding/shard-plan.js';
import { memoryTable } from './memory-table.js';

export interface RunOutcome {
  readonly total: GenerationDelta;
  readonly end: GenerationEnd;
  readonly promptTokenIds: Uint32Array;
  readonly loadMs: number;
  readonly ranks: readonly RankInfo[];
  /** The bits do not depend on what else runs. */
  readonly deterministic: boolean;
}

export function runReportJson(outcome: RunOutcome): object {
  const { total, end, promptTokenIds, loadMs, ranks } = outcome;
  const { timings, usage } = end;
  return {
    text: end.text,
    reasoning: total.reasoning,
    answer: total.answer,
    token_ids: total.tokenIds,
    prompt_token_ids: Array.from(promptTokenIds),
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    finish_reason: end.finishReason,
    top_logprobs: total.logprobs.map(({ topIds, topLogprobs }) =>
      Array.from(topIds, (id, index) => ({ id, logprob: topLogprobs[index] })),
    ),
    timings: { load_ms: loadMs, ttft_ms: timings.ttftMs, tpot_ms: timings.tpotMs, total_ms: timings.totalMs },
    world_size: ranks.length,
    deterministic: outcome.deterministic,
    ranks: ranks.map((info) => ({
      rank: info.rank,
      pid: info.pid,
      host: info.host,
      device: info.device,
      weight_bytes: info.weightBytes,
      read_bytes: info.readBytes,
      peak_resident_bytes: info.peakResidentBytes,
      load_ms: info.loadMs,
      memory: {
        weights: info.weightBytes,
        activations: info.activationBytes,
        kv_cache: info.kvBytes,
        graphs: info.graphBytes,
        workspaces: info.workspaceBytes,
        other: info.otherBytes,
        free: info.freeBytes,
        total: info.totalBytes,
      },
    })),
  };
}

export function runSummary(
  outcome: RunOutcome,
  plan: ShardPlan,
  collective: string,
  cacheTokens: number,
): string {
  const { end, ranks, loadMs } = outcome;
  const { timings, usage } = end;
  const decodeMs = timings.totalMs - timings.ttftMs;
  const tokensPerSecond =
    usage.completionTokens < 2 || decodeMs <= 0 ? null : ((usage.completionTokens - 1) * 1000) / decodeMs;
  const speed = tokensPerSecond === null ? '' : `, ${tokensPerSecond.toFixed(1)} tokens/s`;
  const tiles = usage.pictureTiles === 0 ? '' : ` (${usage.pictureTiles} picture tiles)`;
  return [
    ...ranks.map((rank) => rankLine(rank, plan)),
    memoryTable(ranks, cacheTokens).trimEnd(),
    `${ranks.length} rank${ranks.length === 1 ? '' : 's'} over ${collective === 'none' ? 'nothing, being alone' : collective}; ` +
      `loaded in ${(loadMs / 1000).toFixed(2)} s${outcome.deterministic ? '' : '; not deterministic'}`,
    `${usage.promptTokens} prompt tokens${tiles}, ${usage.completionTokens} generated; ` +
      `first token after ${timings.ttftMs.toFixed(0)} ms${speed}; finished by ${end.finishReason}`,
    '',
  ].join('\n');
}

function rankLine(info: RankInfo, plan: ShardPlan): string {
  const layout = plan.ranks[info.rank]!.layout;
  const parts = [
    `heads ${range(layout.qHeadStart, layout.numQHeads)} (KV ${range(layout.kvHeadStart, layout.numKvHeads)})`,
    `MLP columns ${range(layout.intermediateStart, layout.intermediateSize)}`,
  ];
  if (plan.spec.vision !== null) {
    parts.push(
      layout.visionParallel === 'data'
        ? 'whole vision tower'
        : `vision heads ${range(layout.visionHeadStart, layout.visionNumHeads)}`,
    );
  }
  return `rank ${info.rank} (process ${info.pid}, ${info.device}): ${parts.join(', ')}`;
}

function range(start: number, count: number): string {
  if (count === 0) return 'none';
  return count === 1 ? String(start) : `${start}-${start + count - 1}`;
}
