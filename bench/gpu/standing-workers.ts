// Workers that outlive their coordinator, started one by one as on other hosts: where they listen, what they hold, what
// they have read.
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

import { localDevicePlan } from '../../coordinator/cluster/local-devices.js';
import { openGrpcRankTransport } from '../../coordinator/executor/grpc-rank-transport.js';
import { installedWorkerEntry } from '../../coordinator/serving/worker-entry.js';

const LISTEN_TIMEOUT_MS = 60_000;
const CALL_TIMEOUT_MS = 10_000;

export interface WorkerDevices {
  readonly device: 'cuda' | 'cpu';
  readonly worldSize: number;
  readonly ranksPerDevice: number;
}

export interface StandingWorker {
  readonly pid: number;
  readonly address: string;
  readonly child: ChildProcess;
}

/** Starts the worker of one rank; resolves when it listens. */
export function startWorker(devices: WorkerDevices, rank: number): Promise<StandingWorker> {
  const { device, environment } = localDevicePlan(
    { ...devices, tensorParallelSize: devices.worldSize },
    `skein-lost-${process.pid}`,
  )[rank]!;
  const threads = device === 'cpu' ? Math.max(Math.floor(availableParallelism() / devices.worldSize), 1) : 0;
  const child = spawn(
    process.execPath,
    [
      ...installedWorkerEntry,
      ...['--listen', '127.0.0.1:0', '--device', device, '--threads', String(threads)],
      ...['--orphan-policy', 'wait:600', '--log-level', 'info'],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, ...environment } },
  );
  return new Promise((resolve, reject) => {
    let text = '';
    const timer = setTimeout(
      () => reject(new Error(`the worker of rank ${rank} does not listen: ${text}`)),
      LISTEN_TIMEOUT_MS,
    );
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      process.stderr.write(chunk);
      text += chunk;
      const address = /"address":"([^"]+)"/.exec(text)?.[1];
      if (address === undefined) return;
      text = '';
      clearTimeout(timer);
      resolve({ pid: child.pid!, address, child });
    });
    child.once('exit', () => {
      clearTimeout(timer);
      reject(new Error(`the worker of rank ${rank} ended: ${text}`));
    });
  });
}

/** Of the weights that a worker holds; empty: none. */
export async function heldWeightsHash(address: string): Promise<string> {
  const transport = openGrpcRankTransport(address);
  try {
    await transport.connect(CALL_TIMEOUT_MS, () => undefined);
    return (await transport.describe(CALL_TIMEOUT_MS)).weightsHash;
  } finally {
    transport.close();
  }
}

/** All that a process has read so far, from files and sockets; null where the system does not tell. */
export function bytesRead(pid: number): number | null {
  try {
    const match = /^rchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'));
    return match === null ? null : Number(match[1]);
  } catch {
    return null;
  }
}
