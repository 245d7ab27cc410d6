// Holds a run to a file of limits: [{scenario, measure, max | min}], `*` for every scenario. A limit that names what
// does not exist is a mistake in the file, not one that is kept.
import type { ScenarioResult } from './measures.js';

export interface Limit {
  readonly scenario: string;
  readonly measure: string;
  readonly max?: number;
  readonly min?: number;
}

export interface Verdict {
  readonly limit: Limit;
  readonly scenario: string;
  /** Null: the run has no such number. */
  readonly value: number | null;
  readonly isKept: boolean;
}

export function parseLimits(text: string, file: string): Limit[] {
  const limits = parseJson(text, file);
  if (!Array.isArray(limits))
    throw new Error(`${file}: a list of {scenario, measure, max or min} is expected`);
  return limits.map((item: unknown, index) => {
    const { scenario, measure, max, min, ...rest } = (item ?? {}) as Record<string, unknown>;
    const bounds = [max, min].filter((bound) => bound !== undefined);
    const isRight =
      typeof scenario === 'string' &&
      typeof measure === 'string' &&
      bounds.length === 1 &&
      bounds.every((bound) => typeof bound === 'number') &&
      Object.keys(rest).length === 0;
    if (!isRight) throw new Error(`${file}: limit ${index + 1} is not {scenario, measure, max or min}`);
    return item as Limit;
  });
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${file}: ${(error as Error).message}`, { cause: error });
  }
}

/** Limits of scenarios that exist and were not run are left out; `known`: names of all scenarios. */
export function judge(
  limits: readonly Limit[],
  results: readonly ScenarioResult[],
  known: readonly string[],
): Verdict[] {
  return limits.flatMap((limit) => {
    if (limit.scenario !== '*' && !known.includes(limit.scenario))
      throw new Error(`a limit names the scenario ${limit.scenario}; there are ${known.join(', ')}`);
    return results
      .filter(({ scenario }) => limit.scenario === '*' || scenario.name === limit.scenario)
      .map(({ scenario, measures }) => {
        const value = measures[limit.measure] ?? null;
        const isKept =
          value !== null && value <= (limit.max ?? Infinity) && value >= (limit.min ?? -Infinity);
        return { limit, scenario: scenario.name, value, isKept };
      });
  });
}

export function verdictLine({ limit, scenario, value, isKept }: Verdict): string {
  const bound = limit.max !== undefined ? `at most ${limit.max}` : `at least ${limit.min}`;
  const given = value === null ? 'the run has no such number' : String(value);
  return `${isKept ? 'kept' : 'BROKEN'}  ${scenario} ${limit.measure}: ${given} (${bound})`;
}
