// The limits that control groups put on this process, under version 2 and version 1 of the kernel's interface: the
// least of its own group's and its parents'. Pure over the reading of files, but for usableCores.
// native/cpu/host_memory.cc reads memory the same way.
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** The text of a file, or null. */
export type ReadFile = (path: string) => string | null;

const MOUNT = '/sys/fs/cgroup';

/**
 * Bytes; Infinity where nothing limits them. Beyond memory.high processes are slowed down until they are below it
 * again.
 */
export function controlGroupMemoryBytes(readFile: ReadFile): number {
  const limits: number[] = [];
  for (const folder of groupFolders(readFile, MOUNT, ''))
    for (const name of ['memory.max', 'memory.high']) limits.push(numberIn(readFile(`${folder}/${name}`)));
  for (const folder of groupFolders(readFile, `${MOUNT}/memory`, 'memory')) {
    limits.push(numberIn(readFile(`${folder}/memory.limit_in_bytes`)));
    // The least limit of all parents, those out of sight too.
    const stat = /^hierarchical_memory_limit (\d+)$/m.exec(readFile(`${folder}/memory.stat`) ?? '');
    limits.push(numberIn(stat?.[1] ?? null));
  }
  return Math.min(...limits.filter((limit) => limit > 0));
}

/** Cores' worth of processor time; Infinity where nothing limits it. */
export function controlGroupCores(readFile: ReadFile): number {
  const shares: number[] = [];
  for (const folder of groupFolders(readFile, MOUNT, '')) {
    const [quota = '', period = ''] = (readFile(`${folder}/cpu.max`) ?? '').trim().split(' ');
    shares.push(numberIn(quota) / numberIn(period));
  }
  for (const mount of [`${MOUNT}/cpu`, `${MOUNT}/cpu,cpuacct`]) {
    for (const folder of groupFolders(readFile, mount, 'cpu')) {
      const quota = numberIn(readFile(`${folder}/cpu.cfs_quota_us`));
      shares.push(quota / numberIn(readFile(`${folder}/cpu.cfs_period_us`)));
    }
  }
  return Math.min(...shares.filter((share) => share > 0));
}

/**
 * Cores that this process may keep busy, a fraction of one not counted; at least 1. More threads would wait for each
 * other's time.
 */
export function usableCores(): number {
  const quota = controlGroupCores((path) => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return null;
    }
  });
  return Math.max(1, Math.min(availableParallelism(), Math.floor(quota)));
}

/**
 * The group's folder and those of its parents, up to the mount. In a container the path may be the host's, of which
 * only the mount itself is to be seen.
 */
function groupFolders(readFile: ReadFile, mount: string, controller: string): string[] {
  const folders = [mount];
  let folder = mount;
  for (const name of groupPath(readFile, controller).split('/')) {
    if (name === '') continue;
    folder += `/${name}`;
    folders.push(folder);
  }
  return folders;
}

/**
 * From "…:CONTROLLERS:PATH" of /proc/self/cgroup; version 2 names no controller. "" where the path leads out of sight.
 */
function groupPath(readFile: ReadFile, controller: string): string {
  for (const line of (readFile('/proc/self/cgroup') ?? '').split('\n')) {
    const [, controllers = '', path = ''] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    const isIt = controller === '' ? line.startsWith('0::') : controllers.split(',').includes(controller);
    if (isIt) return path.includes('/..') ? '' : path;
  }
  return '';
}

/** NaN for "max", for -1 and for what is not there: compares as no limit. */
function numberIn(text: string | null): number {
  return text !== null && /^\d+$/.test(text.trim()) ? Number(text) : NaN;
}
