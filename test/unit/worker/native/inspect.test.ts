// Hidden states as the engine shows them to tests: checked by what the engine itself makes of them.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

import { readCheckpoint } from '../../../../coordinator/checkpoint/checkpoint.js';
import type { Checkpoint } from '../../../../coordinator/checkpoint/model-spec.js';
import { makeShardPlan } from '../../../../coordinator/sharding/make-shard-plan.js';
import type { TensorRole } from '../../../../coordinator/sharding/shard-plan.js';
import { LocalGroup } from '../../../support/local-group.js';
import { makeNewSequence, makeSampling } from '../../../support/native-plans.js';
import { repoRoot } from '../../../support/paths.js';
import type { GroupEngine } from '../../../support/remote-engine.js';

describe('inspect', () => {
  let checkpoint: Checkpoint;
  before(async () => {
    checkpoint = await readCheckpoint(`${repoRoot}test/golden/tiny-text`);
  });

  let group: LocalGroup;
  afterEach(() => group.close());

  /** Rank 0's. */
  function engineOf({ ranks: [rank] }: LocalGroup): GroupEngine {
    assert.ok(rank);
    return rank.engine;
  }

  /** The float32 values of a tensor of one slice. */
  function readTensor(role: TensorRole): Float32Array {
    const plan = makeShardPlan(checkpoint, { worldSize: 1, visionParallel: 'auto' });
    const rank = plan.ranks[0];
    const slice = rank?.slices.find((each) => rank.tensors[each.tensorIndex]?.role === role);
    assert.ok(slice);
    const bytes = readFileSync(plan.files[slice.fileIndex]?.path ?? '');
    const count = slice.sourceRows * slice.sourceCols;
    return new Float32Array(Uint8Array.from(bytes.subarray(slice.dataOffset)).buffer, 0, count);
  }

  it('shows the hidden rows that the sampled token came from', async () => {
    group = await LocalGroup.start({ checkpoint, worldSize: 1 });
    const sequence = makeNewSequence(0, Uint32Array.of(1, 2, 3), {
      sampling: makeSampling({ returnLogprobs: true }),
    });
    const result = await group.step({
      newSequences: [sequence],
      newBlocks: Uint32Array.of(0, 0),
      scheduledSlots: Uint32Array.of(0),
      scheduledTokens: Uint32Array.of(3),
    });
    const { hiddenSize, vocabSize, rmsNormEps } = checkpoint.spec.text;
    const hidden = await engineOf(group).inspect('hidden', 3);
    assert.equal(hidden.length, 3 * hiddenSize);

    const row = hidden.subarray(2 * hiddenSize);
    const norm = readTensor('final-norm');
    const head = readTensor('lm-head');
    const scale = 1 / Math.sqrt(row.reduce((sum, x) => sum + x * x, 0) / hiddenSize + rmsNormEps);
    const logits = Array.from({ length: vocabSize }, (_, id) =>
      row.reduce((sum, x, i) => sum + x * scale * (norm[i] ?? 0) * (head[id * hiddenSize + i] ?? 0), 0),
    );
    const best = Math.max(...logits);
    const logprob = -Math.log(logits.reduce((sum, x) => sum + Math.exp(x - best), 0));
    assert.equal(result.tokenIds[0], logits.indexOf(best));
    assert.ok(Math.abs((result.logprobs[0] ?? 0) - logprob) < 1e-4);
  });

  it('shows the cached outputs of pictures, the same at each world size', async () => {
    const withVision = await readCheckpoint(`${repoRoot}test/golden/tiny-6b-vit`);
    const { vision, text } = withVision.spec;
    assert.ok(vision);
    const pixels = Uint8Array.from({ length: vision.imageSize ** 2 * 3 }, (_, i) => (i * 7) % 256);
    const rows = (vision.imageSize / vision.patchSize / vision.shuffleFactor) ** 2;
    const outputs: Float32Array[] = [];
    for (const worldSize of [1, 2]) {
      group = await LocalGroup.start({ checkpoint: withVision, worldSize });
      await group.putPicture(7, [0], pixels);
      await group.step({ encodeItems: [{ pictureId: 7, tileStart: 0, tileEnd: 1 }] });
      outputs.push(await engineOf(group).inspect('tiles', rows));
      await group.close();
    }
    const [whole, cut] = outputs;
    assert.ok(whole && cut);
    assert.equal(whole.length, rows * text.hiddenSize);
    assert.ok(whole.some((x) => Math.abs(x) > 1e-3));
    whole.forEach((x, i) => assert.ok(Math.abs(x - (cut[i] ?? NaN)) < 1e-4, `element ${i}`));
  });

  it('refuses what there is not', async () => {
    group = await LocalGroup.start({ checkpoint, worldSize: 1, maxStepTokens: 64 });
    const engine = engineOf(group);
    const code = 'INVALID_REQUEST';
    await assert.rejects(engine.inspect('hidden', 65), { code, message: 'rows: 65, there are 64' });
    await assert.rejects(engine.inspect('tiles', 1), { code, message: 'rows: 1, there are 0' });
    await assert.rejects(engine.inspect('weights' as never, 1), {
      code,
      message: 'what: expected hidden or tiles',
    });
  });
});
