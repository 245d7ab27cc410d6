// A machine for `skein doctor` that lacks nothing but a GPU, with whatever a test gives it or takes away.
import type { Machine } from '../../coordinator/commands/doctor/machine.js';

const GIB = 1024 ** 3;
export const AVX2 = 'processor : 0\nflags\t\t: fpu sse2 avx avx2 fma f16c\nbugs\t: x\n';
export const LIMITS = [
  'Limit                     Soft Limit           Hard Limit           Units     ',
  'Max cpu time              unlimited            unlimited            seconds   ',
  'Max open files            1048576              1048576              files     ',
].join('\n');

export interface Facts extends Partial<Omit<Machine, 'readFile' | 'list' | 'exists' | 'hasTool'>> {
  files?: Record<string, string>;
  folders?: Record<string, string[]>;
  tools?: string[];
}

/** A machine that lacks nothing, but for what a test takes away. */
export function machine(facts: Facts = {}): Machine {
  const files: Record<string, string> = {
    '/proc/cpuinfo': AVX2,
    '/proc/self/limits': LIMITS,
    '/skein/build/native/skein_cpu.node': '',
    '/skein/build/native/skein_picture.node': '',
    '/skein/models/r1v-nano/config.json': '',
    '/skein/models/r1v-nano/tokenizer.json': '',
    '/skein/models/r1v-nano/examples/examples.json': '',
    ...facts.files,
  };
  const folders: Record<string, string[]> = {
    '/usr/lib/x86_64-linux-gnu': ['libz.so.1', 'libgloo.so.0'],
    '/skein/models/r1v-nano': ['model.safetensors'],
    ...facts.folders,
  };
  const tools = facts.tools ?? ['g++', 'cmake', 'ninja'];
  return {
    platform: 'linux',
    architecture: 'x64',
    nodeVersion: '20.19.0',
    numCores: 8,
    totalMemoryBytes: 32 * GIB,
    freeMemoryBytes: 16 * GIB,
    fileSystem: () => ({ totalBytes: GIB, freeBytes: GIB }),
    run: () => ({ ok: true, output: '1' }),
    env: () => null,
    inRepository: (...segments) => ['/skein', ...segments].join('/'),
    ...facts,
    readFile: (file) => files[file] ?? null,
    exists: (file) => files[file] !== undefined,
    list: (folder) => folders[folder] ?? [],
    hasTool: (name) => tools.includes(name),
  };
}
