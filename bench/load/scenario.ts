// The scenarios of deploy/ghz/scenarios: files that ghz takes with --config as they are, and what their tags tell this
// runner.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { repoPath } from '../../test/support/paths.js';

const SCENARIO_FOLDER = repoPath('deploy', 'ghz', 'scenarios');

/** A configuration file of ghz; the fields that are looked at here. */
export interface GhzConfig {
  readonly name: string;
  readonly call: string;
  readonly total: number;
  readonly tags: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
}

export interface Scenario {
  readonly name: string;
  readonly config: GhzConfig;
  readonly asks: string;
  /** Status names of gRPC that are part of what the scenario asks. */
  readonly expectedErrors: ReadonlySet<string>;
  /** The scenario whose time per token is the quiet one. */
  readonly compareWith: string | null;
  /** When the stream of our own client runs: beside ghz, or alone after it. */
  readonly bystander: 'beside' | 'after';
  readonly order: number;
}

/** All scenarios, in the order of their tags; with `short`, as many calls as their tags say for a short run. */
export function readScenarios({ short }: { short: boolean }): Scenario[] {
  return readdirSync(SCENARIO_FOLDER)
    .filter((file) => file.endsWith('.json'))
    .map((file) => parseScenario(file, readFileSync(path.join(SCENARIO_FOLDER, file), 'utf8'), short))
    .sort((a, b) => a.order - b.order || a.name.localeCompare(b.name));
}

export function parseScenario(file: string, text: string, short: boolean): Scenario {
  const config = JSON.parse(text) as GhzConfig;
  const tag = (name: string): string | undefined => config.tags?.[name];
  const wrong = (field: string): Error =>
    new Error(`deploy/ghz/scenarios/${file}: ${field} is missing or wrong`);
  if (config.name !== path.basename(file, '.json')) throw wrong('name (it is that of the file)');
  if (typeof config.call !== 'string') throw wrong('call');
  const total = Number(short ? (tag('short-total') ?? config.total) : config.total);
  if (!Number.isSafeInteger(total) || total < 1) throw wrong(short ? 'tags.short-total' : 'total');
  const asks = tag('asks');
  if (asks === undefined) throw wrong('tags.asks');
  const bystander = tag('bystander') ?? 'beside';
  if (bystander !== 'beside' && bystander !== 'after') throw wrong('tags.bystander');
  return {
    name: config.name,
    config: { ...config, total },
    asks,
    expectedErrors: new Set((tag('expected-errors') ?? '').split(',').filter((name) => name !== '')),
    compareWith: tag('compare-with') ?? null,
    bystander,
    order: Number(tag('order') ?? Number.MAX_SAFE_INTEGER),
  };
}
