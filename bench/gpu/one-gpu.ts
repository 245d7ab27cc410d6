// What a machine with one GPU has to show, in one command: tests, sanitizers, kernels, the service beside transformers
// and vLLM, the bundled model's answers. Each part is a program of its own with a time limit and a log; one that fails
// is recorded and the others run.
//
//   node dist/bench/gpu/one-gpu.js [PART...] [--with-vllm DIR] [--results DIR] [--logs DIR] [--option PART=ARGUMENT...]
//   node dist/bench/gpu/one-gpu.js --print-table FILE
//
// The results are merged into RESULTS/one-gpu-<gpu>.json: parts that are not named keep what they had. Its field
// `table` has the rows that are compared, computed from all parts; --print-table prints that of a result file as
// Markdown. --with-vllm DIR measures vLLM on the same GPU in the same call (peer-part.ts says what DIR holds). --device
// cpu is a trial of the table with the bundled model.
import { parseArgs } from 'node:util';

import { describeMachine } from '../machine.js';
import { oneGpuParts, tableModels, type OneGpuSettings } from './one-gpu-parts.js';
import { tableOf } from './one-gpu-table.js';
import { readJson, type PartRecords } from './part.js';
import { PEER_OPTIONS, peerFolder } from './peer-part.js';
import { gpuLabel, RUN_OPTIONS, runBenchmark, runParts } from './run-parts.js';
import { tableMarkdown } from './table-markdown.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    ...RUN_OPTIONS,
    ...PEER_OPTIONS,
    device: { type: 'string', default: 'cuda' },
    'print-table': { type: 'string' },
  },
});

function printTable(file: string): void {
  const { parts, trial } = readJson(file) as { readonly parts: PartRecords; readonly trial?: string | null };
  const device = typeof trial === 'string' ? 'cpu' : 'cuda';
  process.stdout.write(tableMarkdown(tableOf(tableModels({ device, vllm: null }), parts)));
}

async function main(): Promise<number> {
  if (values['print-table'] !== undefined) {
    printTable(values['print-table']);
    return 0;
  }
  const settings: OneGpuSettings = {
    device: values.device === 'cpu' ? 'cpu' : 'cuda',
    vllm: peerFolder(values['with-vllm']),
  };
  const machine = describeMachine();
  const gpu = machine.gpus[0]?.name ?? 'none';
  const isTrial = settings.device === 'cpu';
  return runParts({
    benchmark: 'one-gpu',
    parts: oneGpuParts(settings),
    named: positionals,
    name: isTrial ? 'one-gpu-cpu' : `one-gpu-${gpuLabel(gpu)}`,
    facts: { gpu, machine, ...(isTrial ? { trial: 'without GPUs' } : {}) },
    derive: (records) => ({ table: tableOf(tableModels(settings), records) }),
    options: values,
  });
}

await runBenchmark('one-gpu', main);
