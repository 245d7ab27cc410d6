// AWQ checkpoints with single layers that were left dense, at any depth and under every split: the golden answers of
// tiny-awq, of which some linears are written again as the plain weights that they stand for, and a twin without any
// packed one.
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { readGoldenFolder } from '../support/golden-cases.js';
import { checkCase, runCase } from '../support/golden-run.js';
import { LocalGroup } from '../support/local-group.js';
import { copyWithDenseLinears } from '../support/dense-linears.js';
import { goldenPath } from '../support/paths.js';
import { goldenTolerance } from '../support/tolerance.js';

const NUM_PACKED = 3 * 7;

describe('AWQ with dense layers', function () {
  this.timeout(60_000);
  const folders: string[] = [];
  after(() => folders.forEach((folder) => rmSync(folder, { recursive: true })));

  async function copy(isDense: (prefix: string) => boolean, excepted: readonly string[]): Promise<string> {
    const folder = await copyWithDenseLinears(goldenPath('tiny-awq'), isDense, excepted);
    folders.push(folder);
    return folder;
  }

  const mixtures: readonly (readonly [string, readonly string[], number])[] = [
    ['one layer', ['layers.1.'], 7],
    ['one linear of one layer', ['layers.2.self_attn.o_proj'], 1],
    ['a linear of every layer', ['down_proj'], 3],
    ['attention of one layer, the MLP of another', ['layers.0.self_attn', 'layers.2.mlp'], 7],
    [
      'k of one layer, up of another, which share a product',
      ['layers.1.self_attn.k_proj', 'layers.0.mlp.up_proj'],
      2,
    ],
    ['all of it: the twin', ['layers'], NUM_PACKED],
  ];
  for (const [name, parts, numDense] of mixtures) {
    it(`${name}: the golden answers at world sizes 1 to 4`, async () => {
      const folder = await copy((prefix) => parts.some((part) => prefix.includes(part)), parts);
      const { checkpoint, cases } = await readGoldenFolder(folder);
      const packed = [...checkpoint.tensors.keys()].filter((tensor) => tensor.endsWith('.qweight'));
      assert.equal(packed.length, NUM_PACKED - numDense);
      assert.equal(checkpoint.spec.text.awqGroupSize, numDense === NUM_PACKED ? 0 : 128);
      for (const [worldSize, computeType] of [
        [1, 'float32'],
        [2, 'float32'],
        [3, 'bfloat16'],
        [4, 'float32'],
      ] as const) {
        const group = await LocalGroup.start({
          checkpoint,
          worldSize,
          computeType,
          collective: worldSize === 1 ? 'none' : 'shared-memory',
        });
        try {
          const tolerance = goldenTolerance(computeType, checkpoint.spec.storedType);
          for (const goldenCase of cases.slice(0, 3))
            checkCase(goldenCase, await runCase(group, goldenCase), tolerance);
        } finally {
          await group.close();
        }
      }
    });
  }
});
