// Reads meaning out of the kernel's files: instruction sets, cgroup limits, process limits, where a library lies.
import path from 'node:path';
import { controlGroupCores, controlGroupMemoryBytes } from '../../../common/control-group.js';
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

/** Cores after the quota of the control group; a fraction counts as what is whole, at least 1. */
export function allowedCores(machine: Machine): number {
  const quota = Math.floor(controlGroupCores((path) => machine.readFile(path)));
  return Math.max(1, Math.min(machine.numCores, quota));
}

/** Memory after the limit of the control group. */
export function allowedMemoryBytes(machine: Machine): number {
  return Math.min(
    machine.totalMemoryBytes,
    controlGroupMemoryBytes((path) => machine.readFile(path)),
  );
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
