// What a part of a GPU benchmark is: the command, its limit, and how its result is read; and what is kept of it. Runs
// nothing.
import { readFileSync } from 'node:fs';

export interface PartRun {
  readonly command: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Of the environment of this process, what the command must not see. */
  readonly without?: readonly string[];
  readonly limitS: number;
  /** GoogleTest's shards, run at once: a checker spends its time on one core each. */
  readonly shards?: number;
  /** Ranks that share the GPU need MPS to be more than a trial. */
  readonly needsMps?: boolean;
  /** Reads what the command left: its result file, or what it printed. Throws when that shows a failure. */
  readonly readResult: (output: string) => unknown;
}

export interface PartRecord {
  readonly state: 'passed' | 'failed' | 'timed out';
  readonly commit: string;
  readonly date: string;
  readonly seconds: number;
  readonly command: string;
  readonly mps: boolean;
  /** How it ended, where it failed. */
  readonly reason?: string;
  readonly result?: unknown;
}

export type PartRecords = Readonly<Record<string, PartRecord>>;

export interface PartContext {
  /** A file of the part's own. */
  readonly file: string;
  /** What the result file holds so far: of this run, and of earlier ones. */
  readonly records: PartRecords;
  readonly extra: readonly string[];
}

export type Part = (context: PartContext) => PartRun;
export type Parts = Readonly<Record<string, Part>>;

/** The command ended well, and what it left shows a failure. */
export class PartFailure extends Error {
  constructor(readonly result: unknown) {
    super('the part ran and shows failures');
  }
}

export function readJson(file: string): unknown {
  return JSON.parse(readFileSync(file, 'utf8'));
}

/** The JSON object that a program printed last. */
export function lastJsonLine(output: string): unknown {
  return JSON.parse(output.trim().split('\n').at(-1) ?? '');
}
