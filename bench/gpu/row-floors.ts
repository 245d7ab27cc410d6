// What a token and a prompt take at least on one GPU: the bytes that must be read, at the rate of a plain read, or the
// products that must be made, at the rate of a large bf16 product, whichever takes longer. Bytes, and FLOPs of a token,
// a tile and a pair of query and key, are those of the cost model (coordinator/sharding/cost-model.ts, which has the
// shapes from the checkpoint); this says how many of each a row needs.
import type { ServedCost } from './served-cost.js';

/** As measured on the GPU in question. */
export interface Ceilings {
  readonly readBytesPerS: number;
  readonly bf16FlopsPerS: number;
}

export interface Floor {
  readonly ms: number;
  readonly is: 'memory' | 'tensor cores';
}

/** Tensor cores multiply float8 twice as fast as bf16. */
const FLOAT8_SPEED = 2;

function slower(bytes: number, bf16Flops: number, { readBytesPerS, bf16FlopsPerS }: Ceilings): Floor {
  const readMs = (bytes / readBytesPerS) * 1e3;
  const productMs = (bf16Flops / bf16FlopsPerS) * 1e3;
  return readMs >= productMs ? { ms: readMs, is: 'memory' } : { ms: productMs, is: 'tensor cores' };
}

/** FLOPs of bf16 that take as long: the decoder's layers may be float8; attention and head never are. */
function decoderFlops(cost: ServedCost, tokens: number, pairs: number, heads: number): number {
  const { tokenLayers, tokenHead, attentionPerContextToken } = cost.flops;
  const layers = (tokens * tokenLayers) / (cost.isDecoderFloat8 ? FLOAT8_SPEED : 1);
  return layers + pairs * attentionPerContextToken + heads * tokenHead;
}

/** The layers' products may be float8; attention, convolution and projector never are. */
export function towerFlops(cost: ServedCost, tiles: number): number {
  const { tile } = cost.flops;
  if (tile === null || tiles === 0) return 0;
  const linear = tile.linear / (cost.isTowerFloat8 ? FLOAT8_SPEED : 1);
  return tiles * (linear + tile.attention + tile.convolution + tile.projector);
}

/** A step with `batch` sequences of `contextTokens` each: weights once, all their keys and values. */
export function tokenFloor(
  cost: ServedCost,
  ceilings: Ceilings,
  batch: number,
  contextTokens: number,
): Floor {
  const bytes = cost.decodeBytes + batch * contextTokens * cost.kvBytesPerToken;
  return slower(bytes, decoderFlops(cost, batch, batch * contextTokens, batch), ceilings);
}

/**
 * `prompts` of `promptTokens` each, `tiles` of pictures in each among them, to one token: every token through the
 * layers, its attention to itself and those before it, tiles through the tower, the head once a prompt.
 */
export function promptFloor(
  cost: ServedCost,
  ceilings: Ceilings,
  prompts: number,
  promptTokens: number,
  tiles: number,
): Floor {
  const bytes = cost.decodeBytes + (tiles > 0 ? cost.visionBytes : 0);
  const pairs = (promptTokens * (promptTokens + 1)) / 2;
  const flops =
    decoderFlops(cost, prompts * promptTokens, prompts * pairs, prompts) + prompts * towerFlops(cost, tiles);
  return slower(bytes, flops, ceilings);
}
