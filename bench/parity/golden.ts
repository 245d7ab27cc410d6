// How far each golden model is from what transformers computed in float32, on a device and at several world sizes: the numbers behind
// the tolerances of the tests. With --dump it writes the cases (ids, tiles, expected values) for transformers_bfloat16.py instead.
//
//   node dist/bench/parity/golden.js --device cuda:0 --world-sizes 1,2,4 [--dtypes bfloat16] [--not-deterministic] [--output FILE]
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { readGoldenModel, type GoldenCase, type GoldenModel } from '../../test/support/golden-cases.js';
import { GOLDEN_MODELS, runCase } from '../../test/support/golden-run.js';
import { LocalGroup, type GeneratedToken } from '../../test/support/local-group.js';
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

interface Distance {
  /** Of the eight best log-probabilities after the prompt, over all cases. */
  readonly greatest: number;
  /** The greatest mean of a case. */
  readonly greatest_mean: number;
  /** Greedy tokens before the first step whose two best are closer than 0.1, and how many of these are as expected. */
  readonly greedy_compared: number;
  readonly greedy_equal: number;
}

function distanceOf(cases: readonly GoldenCase[], answers: readonly (readonly GeneratedToken[])[]): Distance {
  let greatest = 0;
  let greatestMean = 0;
  let compared = 0;
  let equal = 0;
  for (const [index, { expected }] of cases.entries()) {
    const tokens = answers[index] ?? [];
    const top = new Map(tokens[0]?.top.map(({ tokenId, logprob }) => [tokenId, logprob]));
    const differences = expected.top_ids.map((id, at) =>
      Math.abs((top.get(id) ?? Number.NaN) - (expected.top_logprobs[at] ?? Number.NaN)),
    );
    greatest = Math.max(greatest, ...differences);
    greatestMean = Math.max(
      greatestMean,
      differences.reduce((sum, difference) => sum + difference, 0) / differences.length,
    );
    const near = expected.greedy_gap.findIndex((gap) => gap < 0.1);
    const length = near < 0 ? expected.greedy_ids.length : near;
    compared += length;
    for (let at = 0; at < length; at++) if (tokens[at]?.tokenId === expected.greedy_ids[at]) equal++;
  }
  const round = (value: number): number => Number(value.toPrecision(4));
  return {
    greatest: round(greatest),
    greatest_mean: round(greatestMean),
    greedy_compared: compared,
    greedy_equal: equal,
  };
}

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
        const answers: GeneratedToken[][] = [];
        for (const goldenCase of model.cases) answers.push(await runCase(group, goldenCase));
        const result = { model: name, dtype, world_size: worldSize, ...distanceOf(model.cases, answers) };
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
