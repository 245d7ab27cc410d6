// What a machine with one GPU has to show, in one command: tests, sanitizers, kernels, the service beside transformers,
// the bundled model's answers. Each part is a program of its own with a time limit and a log; one that fails is
// recorded and the others run.
//
//   node dist/bench/gpu/one-gpu.js [PART...] [--results DIR] [--logs DIR] [--option PART=ARGUMENT...]
//
// The results are merged into RESULTS/one-gpu-<gpu>.json: parts that are not named keep what they had.
import { parseArgs } from 'node:util';

import { describeMachine } from '../machine.js';
import { ONE_GPU_PARTS } from './one-gpu-parts.js';
import { gpuLabel, RUN_OPTIONS, runParts } from './run-parts.js';

const { values, positionals } = parseArgs({ allowPositionals: true, options: RUN_OPTIONS });
const machine = describeMachine();
const gpu = machine.gpus[0]?.name ?? 'none';
process.exitCode = await runParts({
  benchmark: 'one-gpu',
  parts: ONE_GPU_PARTS,
  named: positionals,
  name: `one-gpu-${gpuLabel(gpu)}`,
  facts: { gpu, machine },
  results: values.results,
  logs: values.logs,
  option: values.option,
  list: values.list,
});
