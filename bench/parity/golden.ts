// How far each golden model is from what transformers computed in float32, on a device and at several world sizes: the
// numbers behind the tolerances of the tests. With --dump it writes the cases (ids, tiles, expected values) for
// transformers_bfloat16.py instead.
//
//   node dist/bench/parity/golden.js --device cuda:0 --world-sizes 1,2,4 [--dtypes bfloat16] [--not-deterministic]
//   [--output FILE]
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { readGoldenModel, type GoldenModel } from '../../test/support/golden-cases.js';
import {
  distanceOf,
  GOLDEN_MODELS,
  runCase,
  worstOf,
  type CaseDistance,
} from '../../test/support/golden-run.js';
import { LocalGroup } from '../../test/support/local-group.js';
import { currentCommit, describeMachine } from '../machine.js';

const { values } = parseArgs({
  options: {
    device: { type: 'string', default: 'cpu' },
    'world-sizes': { type: 'string', default: '1,2,4' },
    dtypes: { type: 'string', default: 'bfloat16' },
    'not-deterministic': { type: 'boolean', default: false },
    models: { type: 'string', default: GOLDEN_MODELS.join() },
    output: { type: 'string' },
    dump: { type: 'string' },
  },
});

/** Steps whose two best log-probabilities are closer may choose either. */
const GREEDY_GAP = 0.1;

function dump(folder: string, name: string, { checkpoint, cases }: GoldenModel): void {
  mkdirSync(folder, { recursive: true });
  const content = {
    side: checkpoint.spec.vision?.imageSize ?? 0,
    cases: cases.map(({ tokenIds, pictures, expected }) => ({
      ids: [...tokenIds],
      pictures: pictures.map(({ picture, firstPosition }) => ({
        tiles: picture.numTiles,
        first: firstPosition,
        pixels: Buffer.from(picture.tiles).toString('base64'),
      })),
      top_ids: expected.top_ids,
      top_logprobs: expected.top_logprobs,
    })),
  };
  writeFileSync(path.join(folder, `${name}.json`), JSON.stringify(content));
}

const results: object[] = [];
for (const name of values.models.split(',')) {
  const model = await readGoldenModel(name);
  if (values.dump !== undefined) {
    dump(values.dump, name, model);
    continue;
  }
  for (const dtype of values.dtypes.split(',') as ('float32' | 'bfloat16')[]) {
    for (const worldSize of values['world-sizes'].split(',').map(Number)) {
      const group = await LocalGroup.start({
        checkpoint: model.checkpoint,
        device: values.device,
        worldSize,
        computeType: dtype,
        deterministic: !values['not-deterministic'],
      });
      try {
        const distances: CaseDistance[] = [];
        for (const goldenCase of model.cases)
          distances.push(distanceOf(goldenCase, await runCase(group, goldenCase), GREEDY_GAP));
        const worst = worstOf(distances);
        const result = {
          model: name,
          dtype,
          world_size: worldSize,
          greatest: Number(worst.greatest.toPrecision(4)),
          greatest_mean: Number(worst.mean.toPrecision(4)),
          greedy_compared: worst.numCompared,
          greedy_equal: worst.numEqual,
        };
        results.push(result);
        process.stdout.write(`${JSON.stringify(result)}\n`);
      } finally {
        await group.close();
      }
    }
  }
}
if (values.output !== undefined) {
  const file = {
    date: new Date().toISOString().slice(0, 10),
    commit: currentCommit(),
    machine: describeMachine(),
    device: values.device,
    deterministic: !values['not-deterministic'],
    results,
  };
  writeFileSync(values.output, `${JSON.stringify(file, null, 2)}\n`);
}
