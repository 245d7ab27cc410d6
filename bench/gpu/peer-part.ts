// vLLM over the same GPUs, in the same call: a program that is not part of the project, in a folder that the caller
// names. The folder holds a bench.py that is run as `python3 bench.py bf16|awq|fp8 WORLD_SIZE`, serves the 38 B shape
// in process and prints a line that begins with RESULT for each case; and, where python3 finds no vLLM by itself,
// `site`, a folder for PYTHONPATH.
import { existsSync } from 'node:fs';
import path from 'node:path';

import { PartFailure, type Part } from './part.js';

/** What bench.py can serve. */
export const PEER_KINDS: readonly string[] = ['bf16', 'awq', 'fp8'];

/** The option of benchmarks that can have the peer beside them, for node:util's parseArgs. */
export const PEER_OPTIONS = { 'with-vllm': { type: 'string' } } as const;

/** The folder that the option names; null: without the peer. Throws where it is no such folder. */
export function peerFolder(folder: string | undefined): string | null {
  if (folder === undefined) return null;
  if (!existsSync(path.join(folder, 'bench.py'))) throw new Error(`--with-vllm ${folder}: no bench.py in it`);
  return path.resolve(folder);
}

/** Start included: without compiled kernels in its cache vLLM takes minutes. */
const LIMIT_S = 540;

export interface PeerCase {
  readonly batch: number;
  readonly promptTokens: number;
  readonly newTokens: number;
  /** Of the whole batch, to one token each. */
  readonly firstTokenMs: number;
  readonly tokenMs: number | null;
}

export interface PeerResult {
  readonly cases: readonly PeerCase[];
  /** First tokens of one picture of 896 x 896, a run each; empty where it was not asked. */
  readonly pictureFirstTokenMs: readonly number[];
  /** As printed. */
  readonly lines: readonly string[];
}

/** Throws PartFailure where no case was measured. */
export function readPeerResults(output: string): PeerResult {
  const lines = output
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line.startsWith('RESULT'));
  const cases = lines.flatMap((line): PeerCase[] => {
    const step = /\bB=(\d+) P=(\d+) N=(\d+) first ([\d.]+) ms\b.*\bms\/step ([\d.]+)/.exec(line);
    if (step !== null) {
      const [batch = 0, promptTokens = 0, newTokens = 0, firstTokenMs = 0, tokenMs = 0] = step
        .slice(1)
        .map(Number);
      return [{ batch, promptTokens, newTokens, firstTokenMs, tokenMs }];
    }
    const first = /\b(\d+)-token first ([\d.]+) ms\b/.exec(line);
    if (first === null) return [];
    const [promptTokens = 0, firstTokenMs = 0] = first.slice(1).map(Number);
    return [{ batch: 1, promptTokens, newTokens: 1, firstTokenMs, tokenMs: null }];
  });
  const pictures = lines.map((line) => /\bimage 896x896\b.* first ms \[([\d., ]+)\]/.exec(line)?.[1]);
  const pictureFirstTokenMs = (pictures.find((list) => list !== undefined)?.split(',') ?? []).map(Number);
  const result = { cases, pictureFirstTokenMs, lines };
  if (cases.length === 0) throw new PartFailure(result);
  return result;
}

export function peerPart(folder: string, kind: string, worldSize: number): Part {
  const site = path.join(folder, 'site');
  return ({ extra }) => ({
    command: ['python3', path.join(folder, 'bench.py'), kind, String(worldSize), ...extra],
    ...(existsSync(site) ? { environment: { PYTHONPATH: site } } : {}),
    without: ['LD_LIBRARY_PATH'],
    limitS: LIMIT_S,
    readResult: readPeerResults,
  });
}
