// What a served model costs on paper, by the cost model of `skein plan`, with the flags that it is served with.
import { resolveModel } from '../../coordinator/checkpoint/known-models.js';
import {
  DEFAULT_MEMORY_BANDWIDTH,
  priceShardPlan,
  type FlopPrice,
  type Price,
} from '../../coordinator/sharding/cost-model.js';
import { makeShardPlan } from '../../coordinator/sharding/make-shard-plan.js';
import { rounded } from '../statistics.js';

type Choice = 'auto' | 'fp8';

function choiceOf(serveFlags: readonly string[], flag: string): Choice {
  const at = serveFlags.indexOf(flag);
  return at >= 0 && serveFlags[at + 1] === 'fp8' ? 'fp8' : 'auto';
}

/** `memoryBandwidth`: bytes per second; null: not measured, and what is computed from it means nothing. */
export async function priceServed(
  model: string,
  worldSize: number,
  serveFlags: readonly string[],
  memoryBandwidth: number | null,
): Promise<Price> {
  const checkpoint = await resolveModel(model, {
    quantization: choiceOf(serveFlags, '--quantization'),
    visionQuantization: choiceOf(serveFlags, '--vision-quantization'),
  });
  return priceShardPlan(checkpoint, makeShardPlan(checkpoint, { worldSize, visionParallel: 'auto' }), {
    memoryBandwidth: memoryBandwidth ?? DEFAULT_MEMORY_BANDWIDTH,
    computeType: null,
    float8KvCache: choiceOf(serveFlags, '--kv-cache-dtype') === 'fp8',
  });
}

/** Batch 1 reads every weight of the decoder once; the measured bandwidth says how long that takes at least. */
export function floorOf(price: Price): Record<string, unknown> {
  return {
    memoryBandwidth: price.roofline.memoryBandwidth,
    decodeBytes: Math.max(...price.ranks.map((rank) => rank.decodeBytes)),
    decodeMs: rounded(price.roofline.decodeMs),
    kvBytesPerToken: Math.max(...price.ranks.map((rank) => rank.kvBytesPerToken)),
    allReduces: price.decodeCollectives
      .filter(({ kind }) => kind === 'all-reduce')
      .map(({ what, count, bytes, sentBytes = bytes }) => ({ what, count, bytes: sentBytes })),
  };
}

/** Bytes of the rank that has most, FLOPs of the whole model. */
export interface ServedCost {
  /** Weights that a step reads whatever its batch. */
  readonly decodeBytes: number;
  /** Of tower and projector, which a picture reads. */
  readonly visionBytes: number;
  readonly kvBytesPerToken: number;
  /** Products of the decoder's layers, or of the tower's, are of float8 operands. */
  readonly isDecoderFloat8: boolean;
  readonly isTowerFloat8: boolean;
  readonly flops: FlopPrice;
}

export function servedCost(price: Price, serveFlags: readonly string[]): ServedCost {
  const most = (read: (rank: Price['ranks'][number]) => number): number => Math.max(...price.ranks.map(read));
  return {
    decodeBytes: most((rank) => rank.decodeBytes),
    visionBytes: most(({ bytesByComponent: { vision, projector } }) => vision + projector),
    kvBytesPerToken: most((rank) => rank.kvBytesPerToken),
    isDecoderFloat8: choiceOf(serveFlags, '--quantization') === 'fp8',
    isTowerFloat8: choiceOf(serveFlags, '--vision-quantization') === 'fp8',
    flops: price.flops,
  };
}
