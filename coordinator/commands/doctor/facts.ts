// Reads meaning out of the kernel's files: instruction sets, cgroup limits, process limits, where a library lies.
import path from 'node:path';
import type { Machine } from './machine.js';

/** Flags of /proc/cpuinfo that make a class of instruction set, weakest first. */
const CLASSES: readonly (readonly [name: string, flags: readonly string[]])[] = [
  ['avx2', ['avx2', 'fma', 'f16c']],
  ['avx512', ['avx512f', 'avx512bw', 'avx512dq', 'avx512vl']],
  ['avx512_vnni', ['avx512_vnni']],
  ['avx512_bf16', ['avx512_bf16']],
  ['amx_bf16', ['amx_tile', 'amx_bf16']],
];

export function instructionClasses(cpuinfo: string): string[] {
  const flags = new Set((/^flags\s*:(.*)$/m.exec(cpuinfo)?.[1] ?? '').trim().split(/\s+/));
  return CLASSES.filter(([, needed]) => needed.every((flag) => flags.has(flag))).map(([name]) => name);
}

/** Cores after the quota of the control group (version 2, then 1); a fraction counts as what is whole, at least 1. */
export function allowedCores(machine: Machine): number {
  const [quota, period] = (machine.readFile('/sys/fs/cgroup/cpu.max') ?? '').trim().split(' ').map(Number);
  const quotaV1 = numberIn(machine, '/sys/fs/cgroup/cpu/cpu.cfs_quota_us');
  const periodV1 = numberIn(machine, '/sys/fs/cgroup/cpu/cpu.cfs_period_us');
  const shares = [ratio(quota, period), ratio(quotaV1, periodV1)].filter((share) => share !== null);
  return Math.max(1, Math.min(machine.numCores, ...shares.map(Math.floor)));
}

/** Memory after the limit of the control group. */
export function allowedMemoryBytes(machine: Machine): number {
  const limits = ['/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes']
    .map((file) => numberIn(machine, file))
    .filter((limit) => limit !== null && limit > 0);
  return Math.min(machine.totalMemoryBytes, ...(limits as number[]));
}

/** Soft limits of /proc/self/limits by name; unlimited is Infinity. */
export function parseLimits(text: string): Map<string, number> {
  const limits = new Map<string, number>();
  for (const match of text.matchAll(/^(Max [a-z ]+?)\s{2,}(\d+|unlimited)\s/gm)) {
    limits.set(match[1] ?? '', match[2] === 'unlimited' ? Infinity : Number(match[2]));
  }
  return limits;
}

/** The file of a shared library, versioned names included, in the folders that the loader searches; null: none. */
export function libraryPath(machine: Machine, library: string): string | null {
  const triplet = machine.architecture === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu';
  const folders = [
    '/usr/local/lib',
    `/usr/lib/${triplet}`,
    '/usr/lib64',
    '/usr/lib',
    '/usr/local/cuda/lib64',
  ];
  for (const folder of folders) {
    const file = machine.list(folder).find((name) => name === library || name.startsWith(`${library}.`));
    if (file !== undefined) return path.join(folder, file);
  }
  return null;
}

function numberIn(machine: Machine, file: string): number | null {
  const text = machine.readFile(file)?.trim() ?? '';
  return /^\d+$/.test(text) ? Number(text) : null;
}

function ratio(quota: number | null | undefined, period: number | null | undefined): number | null {
  if (quota === null || quota === undefined || period === null || period === undefined) return null;
  return quota > 0 && period > 0 ? quota / period : null;
}
