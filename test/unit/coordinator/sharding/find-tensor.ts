// Finds one tensor of a rank's plan, for tests.
import assert from 'node:assert/strict';
import type {
  RankPlan,
  RankTensor,
  TensorPart,
  TensorRole,
} from '../../../../coordinator/sharding/shard-plan.js';

export function findTensor(
  rank: RankPlan | undefined,
  role: TensorRole,
  part: TensorPart,
  layer: number,
): RankTensor {
  const tensor = rank?.tensors.find(
    (candidate) => candidate.role === role && candidate.part === part && candidate.layer === layer,
  );
  assert.ok(tensor !== undefined, `${role} ${part} ${layer}`);
  return tensor;
}
