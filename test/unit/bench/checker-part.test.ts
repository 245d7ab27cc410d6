// What the op tests under compute-sanitizer have to print to pass.
import assert from 'node:assert/strict';

import { checkerPart } from '../../../bench/gpu/checker-part.js';
import { PartFailure } from '../../../bench/gpu/part.js';

const CONTEXT = { file: '', records: {}, extra: [] };
const OURS = 'void skein::cuda::skinny::SkinnyKernel<(int)1>(skein::cuda::skinny::Arguments)';
const LIBRARY = 'nvjet_sm90_tst_64x64_64x13_4x2_h_bz_TNT';

function shard(hazards: readonly string[], more: readonly string[] = []): string {
  return [
    ...hazards.flatMap((kernel) => [
      `========= Error: Race reported between Read access at ${kernel}+0xab0`,
      `=========     and Write access at ${kernel}+0x2cd0 [448 hazards]`,
    ]),
    ...more,
    '[  PASSED  ] 3 tests.',
    `========= RACECHECK SUMMARY: ${hazards.length} hazards displayed (${hazards.length} errors, 0 warnings)`,
  ].join('\n');
}

describe('racecheck of the op tests', () => {
  const part = checkerPart({ tool: 'racecheck', shards: 2, limitS: 1 })(CONTEXT);
  const fails = (output: string): void => {
    assert.throws(() => part.readResult(output), PartFailure);
  };

  it("passes with hazards in a library's kernels, and counts them by kernel", () => {
    const result = part.readResult(`${shard([LIBRARY, LIBRARY])}\n${shard([])}`) as {
      readonly passed: number;
      readonly hazards: Readonly<Record<string, number>>;
    };
    assert.equal(result.passed, 6);
    assert.deepEqual(result.hazards, { [LIBRARY]: 2 });
  });

  it('fails with one in a kernel of ours', () => {
    fails(`${shard([LIBRARY, OURS])}\n${shard([])}`);
  });

  it('fails where the checker lost track of something', () => {
    const lost = '========= Internal Sanitizer Error: Detected a failure to track a kernel launch.';
    fails(`${shard([], [lost])}\n${shard([])}`);
  });

  it('fails where a shard has not come to its end', () => {
    fails(shard([]));
  });

  it('asks for every hazard, not only for the first hundred', () => {
    assert.ok(part.command.join(' ').includes('--print-limit 1000000'));
  });
});
