// Which device each rank that is started on this host computes on, and what its process must be told so that ranks can
// share one. Looks at the machine only in probeGpus; starts nothing.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { AppError } from '../../common/errors.js';
import { NVIDIA_SMI_TIMEOUT_MS } from '../../common/limits.js';

export interface LocalDevice {
  /** "cpu" or "cuda:N". */
  readonly device: string;
  /** Added to the worker's environment. */
  readonly environment: Readonly<Record<string, string>>;
}

export interface DeviceSettings {
  readonly device: 'cpu' | 'cuda';
  readonly tensorParallelSize: number;
  readonly ranksPerDevice: number;
}

/**
 * Rank r computes on GPU r / ranksPerDevice. NCCL refuses two ranks of one host on one GPU; ranks that claim to be
 * hosts of their own it connects over sockets. `groupName` keeps the claims of two groups apart.
 */
export function localDevicePlan(settings: DeviceSettings, groupName: string): LocalDevice[] {
  const { device, tensorParallelSize, ranksPerDevice } = settings;
  return Array.from({ length: tensorParallelSize }, (_, rank) => {
    if (device === 'cpu') return { device, environment: {} };
    const environment =
      ranksPerDevice === 1 ? {} : { NCCL_HOSTID: `${groupName}-${rank}`, NCCL_SOCKET_IFNAME: 'lo' };
    return { device: `cuda:${Math.floor(rank / ranksPerDevice)}`, environment };
  });
}

/** Refuses more GPUs than there are, before anything is started. `numGpus` null: not known; the workers will say. */
export function checkNumGpus(settings: DeviceSettings, numGpus: number | null): void {
  const { device, tensorParallelSize, ranksPerDevice } = settings;
  const needed = Math.ceil(tensorParallelSize / ranksPerDevice);
  if (device === 'cpu' || numGpus === null || needed <= numGpus) return;
  const ranks = `${tensorParallelSize} rank${tensorParallelSize === 1 ? '' : 's'}`;
  const sharing = ranksPerDevice === 1 ? '' : `, ${ranksPerDevice} to a GPU,`;
  const remedy =
    numGpus === 0
      ? 'skein doctor says what is missing'
      : `--ranks-per-device ${Math.ceil(tensorParallelSize / numGpus)} shares ` +
        `${numGpus === 1 ? 'it' : 'them'} (for tests and small machines: slower)`;
  throw new AppError(
    'INVALID_REQUEST',
    `${ranks}${sharing} need${tensorParallelSize === 1 ? 's' : ''} ${needed} GPU${needed === 1 ? '' : 's'}, ` +
      `this machine has ${numGpus}; ${remedy}`,
    { details: { param: 'ranks-per-device', needed, found: numGpus } },
  );
}

export interface GpuProbe {
  /** What a worker would find; null: this machine does not tell. */
  readonly numGpus: number | null;
  /** The daemon that lets processes share a GPU without taking turns. */
  readonly hasMps: boolean;
}

const PROC_FOLDER = '/proc/driver/nvidia/gpus';

export function probeGpus(env: NodeJS.ProcessEnv): GpuProbe {
  return {
    numGpus: visibleGpus(env['CUDA_VISIBLE_DEVICES'], installedGpus()),
    hasMps: existsSync(mpsControl(env['CUDA_MPS_PIPE_DIRECTORY'])),
  };
}

/** What exists while the daemon runs, given CUDA_MPS_PIPE_DIRECTORY. */
export function mpsControl(folder: string | null | undefined): string {
  const isSet = folder !== null && folder !== undefined && folder !== '';
  return path.join(isSet ? folder : '/tmp/nvidia-mps', 'control');
}

/** CUDA counts the listed devices up to the first that does not exist. */
export function visibleGpus(list: string | undefined, numInstalled: number | null): number | null {
  if (list === undefined || numInstalled === null) return numInstalled;
  const names = list.split(',').map((name) => name.trim());
  const end = names.findIndex(
    (name) => name === '' || (/^-?\d+$/.test(name) && !(Number(name) >= 0 && Number(name) < numInstalled)),
  );
  return end < 0 ? names.length : end;
}

function installedGpus(): number | null {
  if (existsSync(PROC_FOLDER)) return readdirSync(PROC_FOLDER).length;
  const result = spawnSync('nvidia-smi', ['-L'], { encoding: 'utf8', timeout: NVIDIA_SMI_TIMEOUT_MS });
  if (result.status !== 0) return null;
  return result.stdout.split('\n').filter((line) => /^GPU \d+:/.test(line)).length;
}
