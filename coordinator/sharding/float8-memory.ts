// What the engines hold of a float8 linear, beside the rest of memory-plan.ts and load-prediction.ts.
import type { RankPlan, RankTensor } from './shard-plan.js';

/** Whether a tensor is the weight of a linear that the engine holds in float8. */
export function isFloat8Weight({ part, storedType, quantizeToFloat8 }: RankTensor): boolean {
  return part === 'weight' && (quantizeToFloat8 || storedType === 'float8_e4m3');
}

/** Scales of outputs, of inputs: held with the weight, in whatever form they are stored. */
export function isFloat8Scales({ part }: RankTensor): boolean {
  return part === 'float8-scales' || part === 'float8-input-scales';
}

/** One float32 an output. */
export function float8ScaleBytes({ rows }: RankTensor): number {
  return rows * 4;
}

/** Rows begin at multiples of 16 bytes, as native/cuda holds them. */
function rowBytes(inputs: number): number {
  return Math.ceil(inputs / 16) * 16;
}

export function float8CudaBytes(weight: RankTensor): number {
  return weight.rows * rowBytes(weight.cols) + float8ScaleBytes(weight);
}

/** Rows of inputs of the widest product, quantised, with a scale each. */
export function float8WorkspaceBytes(rank: RankPlan, maxStepTokens: number): number {
  const widths = rank.tensors.filter(isFloat8Weight).map(({ cols }) => cols);
  return widths.length === 0 ? 0 : maxStepTokens * (rowBytes(Math.max(...widths)) + 4);
}
