// What several GPUs of one host have to show, in one command: what each can do at most and how they are connected,
// all-reduces, the golden models and the bundled one with a GPU for each rank, the 38 B model served at every world
// size, a lost worker, transformers over the same GPUs. Parts, logs and merging are as in one-gpu.ts.
//
//   node dist/bench/gpu/scaling.js [PART...] [--devices N] [--world-sizes 1,2,4,8] [--with-vllm DIR] [--list]
//
// --with-vllm DIR measures vLLM on the same GPUs in the same call (peer-part.ts says what DIR holds).
// The results are merged into RESULTS/scaling-<gpu>-x<N>.json. --ranks-per-device K is a trial on fewer GPUs than
// ranks, and --device cpu --models nano=models/r1v-nano one without any: the file's name and its field `trial` say so.
import { parseArgs } from 'node:util';

import { visibleGpus } from '../../coordinator/cluster/local-devices.js';
import { describeMachine } from '../machine.js';
import { attributions } from './attribution.js';
import { visibleDevices } from './device-list.js';
import { PEER_OPTIONS, peerFolder } from './peer-part.js';
import { RUN_OPTIONS, runBenchmark, runParts } from './run-parts.js';
import {
  chooseWorldSizes,
  DEFAULT_MODELS,
  resultName,
  scalingParts,
  type ScalingSettings,
} from './scaling-parts.js';

/** Ranks of a trial on processors alone. */
const CPU_RANKS = 4;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    ...RUN_OPTIONS,
    ...PEER_OPTIONS,
    device: { type: 'string', default: 'cuda' },
    devices: { type: 'string' },
    'world-sizes': { type: 'string' },
    'ranks-per-device': { type: 'string', default: '1' },
    models: { type: 'string' },
  },
});

function parseModels(list: string | undefined): Readonly<Record<string, string>> {
  if (list === undefined) return DEFAULT_MODELS;
  const pairs = list.split(',').map((pair) => pair.split('='));
  if (pairs.some(([word, model, ...rest]) => !word || !model || rest.length > 0))
    throw new Error(`--models ${list}: expected WORD=MODEL,...`);
  return Object.fromEntries(pairs) as Record<string, string>;
}

function settingsOf(numGpus: number): ScalingSettings {
  const device = values.device === 'cpu' ? 'cpu' : 'cuda';
  const numDevices = device === 'cpu' ? CPU_RANKS : Number(values.devices ?? numGpus);
  if (!(numDevices >= 1 && (device === 'cpu' || numDevices <= numGpus)))
    throw new Error(`--devices ${numDevices}: this machine has ${numGpus} GPUs`);
  const ranksPerDevice = device === 'cpu' ? 1 : Number(values['ranks-per-device']);
  const asked = values['world-sizes']?.split(',').map(Number) ?? null;
  return {
    device,
    numDevices,
    ranksPerDevice,
    worldSizes: chooseWorldSizes(asked, numDevices, ranksPerDevice),
    models: parseModels(values.models),
    vllm: peerFolder(values['with-vllm']),
  };
}

function trialOf({ device, ranksPerDevice }: ScalingSettings): string | null {
  if (device === 'cpu') return 'without GPUs';
  return ranksPerDevice > 1
    ? `up to ${ranksPerDevice} ranks share a GPU and meet over loopback sockets`
    : null;
}

async function main(): Promise<number> {
  const machine = describeMachine();
  const gpu = machine.gpus[0]?.name ?? 'none';
  const numGpus = visibleGpus(process.env['CUDA_VISIBLE_DEVICES'], machine.gpus.length) ?? 0;
  const settings = settingsOf(numGpus);
  // Of more GPUs than are used, no part sees the others.
  if (settings.device === 'cuda' && settings.numDevices < numGpus) {
    const visible = visibleDevices(process.env['CUDA_VISIBLE_DEVICES'], settings.numDevices);
    process.env['CUDA_VISIBLE_DEVICES'] = visible.join(',');
  }
  return runParts({
    benchmark: 'scaling',
    parts: scalingParts(settings),
    named: positionals,
    name: resultName(gpu, settings),
    facts: { gpu, machine, trial: trialOf(settings), ...settings, vllm: settings.vllm !== null },
    derive: (records) => ({ attribution: attributions(records) }),
    options: values,
  });
}

await runBenchmark('scaling', main);
