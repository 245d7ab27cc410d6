// The load test: runs the scenarios of deploy/ghz with ghz against a server that it starts, or against --target, and
// says how it went: a table, one HTML report, one JSON file, an exit code for the limits. See docs/load-testing.md.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { EXIT_CODES } from '../../common/exit-codes.js';
import { repoPath } from '../../test/support/paths.js';
import { connect, getCluster, getModel, type Client } from '../gpu/serving-client.js';
import { currentCommit, describeMachine } from '../machine.js';
import { withServed } from '../with-served.js';
import { Bystander } from './bystander.js';
import { judge, parseLimits, verdictLine, type Limit, type Verdict } from './limits.js';
import { measure, type ScenarioResult } from './measures.js';
import { renderReport, type ReportFacts } from './report.js';
import { runGhz } from './run-ghz.js';
import { readScenarios, type Scenario } from './scenario.js';
import { renderTable } from './table.js';

/** Alone, after ghz. */
const ALONE_MS = 3_000;

const HELP = `npm run load -- [flags] [-- flags of skein serve]

  --target HOST:PORT      load a server that runs (default: start one on the bundled model, two ranks)
  --scenario A,B          only these; all: ls deploy/ghz/scenarios
  --short                 fewer calls: under a minute on two cores
  --limits FILE           hold the run to these (default: deploy/ghz/limits.json); exit code 1 where one is broken
  --output FOLDER         report.html, results.json, ghz's own files (default: build/load)
  --ghz FILE              another ghz than the pinned one
`;

const FLAGS = {
  allowPositionals: true,
  options: {
    target: { type: 'string' },
    scenario: { type: 'string' },
    short: { type: 'boolean', default: false },
    limits: { type: 'string', default: repoPath('deploy', 'ghz', 'limits.json') },
    output: { type: 'string', default: repoPath('build', 'load') },
    ghz: { type: 'string', default: 'ghz' },
    help: { type: 'boolean', default: false },
  },
} as const;

type Flags = ReturnType<typeof parseFlags>['values'];

function parseFlags(args: readonly string[]) {
  return parseArgs({ ...FLAGS, args: [...args] });
}

function chosen(all: readonly Scenario[], names: string | undefined): Scenario[] {
  if (names === undefined) return [...all];
  return names.split(',').map((name) => {
    const found = all.find((scenario) => scenario.name === name);
    if (found === undefined)
      throw new Error(`--scenario ${name}: there are ${all.map((scenario) => scenario.name).join(', ')}`);
    return found;
  });
}

/** One run of the load test. */
export class LoadTest {
  readonly #flags: Flags;
  readonly #serveFlags: readonly string[];
  readonly #all: readonly Scenario[];
  readonly #scenarios: readonly Scenario[];
  readonly #limits: readonly Limit[];
  readonly #stopping = new AbortController();

  /** `args`: of the command line. Throws what is wrong with them, or with the limits: a mistake costs nothing. */
  constructor(args: readonly string[]) {
    const { values, positionals } = parseFlags(args);
    this.#flags = values;
    this.#serveFlags = positionals;
    this.#all = readScenarios({ short: values.short });
    this.#scenarios = chosen(this.#all, values.scenario);
    this.#limits = parseLimits(readFileSync(values.limits, 'utf8'), values.limits);
  }

  /** Sets the process's exit code. */
  async run(): Promise<void> {
    if (this.#flags.help) {
      process.stdout.write(HELP);
      return;
    }
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => this.#stopping.abort());
    try {
      mkdirSync(this.#flags.output, { recursive: true });
      await this.#withServer((address) => this.#runAll(address));
    } catch (error) {
      process.stderr.write(`skein: ${error instanceof Error ? error.message : String(error)}\n`);
      process.exitCode = this.#stopping.signal.aborted ? EXIT_CODES.interrupted.code : EXIT_CODES.failed.code;
    }
  }

  async #runScenario(
    scenario: Scenario,
    address: string,
    client: Client,
    before: readonly ScenarioResult[],
  ): Promise<ScenarioResult> {
    const bystander = new Bystander(client);
    if (scenario.bystander === 'beside') await bystander.start();
    try {
      const run = await runGhz(this.#flags.ghz, scenario, {
        address,
        folder: this.#flags.output,
        besideServer: this.#flags.target === undefined,
        signal: this.#stopping.signal,
      });
      if (scenario.bystander === 'after') {
        await bystander.start();
        await new Promise((resolve) => setTimeout(resolve, ALONE_MS));
      }
      const quiet = before.find((result) => result.scenario.name === scenario.compareWith) ?? null;
      return measure(scenario, run, await bystander.stop(), quiet);
    } finally {
      await bystander.stop();
    }
  }

  async #runAll(address: string): Promise<ScenarioResult[]> {
    const client = connect(address);
    const results: ScenarioResult[] = [];
    try {
      for (const scenario of this.#scenarios) {
        process.stderr.write(`skein: ${scenario.name}: ${scenario.config.total} calls\n`);
        results.push(await this.#runScenario(scenario, address, client, results));
      }
      await this.#writeResults(results, address, client);
      return results;
    } finally {
      client.close();
    }
  }

  async #writeResults(results: readonly ScenarioResult[], address: string, client: Client): Promise<void> {
    const verdicts = this.#judgeAll(results);
    const [model, cluster, machine] = [await getModel(client), await getCluster(client), describeMachine()];
    const started =
      this.#flags.target === undefined
        ? `started for this run: skein serve ${this.#serveArgs().join(' ')}`
        : 'ran already';
    const gpus = machine.gpus.map(({ name }) => name);
    const facts: ReportFacts = {
      title: `Load test of ${model.model}`,
      facts: [
        ['date', new Date().toISOString()],
        ['server', `${address}, ${started}`],
        [
          'model',
          [
            model.model,
            model.computeType,
            ...(model.quantization === '' ? [] : [model.quantization]),
            `${cluster.worldSize} ranks over ${cluster.collective}`,
          ].join(', '),
        ],
        [
          'client and, where started here, server',
          [machine.cpu, `${machine.cores} cores`, ...gpus, `Node ${machine.node}`].join(', '),
        ],
        ['commit', currentCommit()],
        ['calls', this.#flags.short ? 'a short run' : 'a whole run'],
      ],
    };
    writeFileSync(path.join(this.#flags.output, 'report.html'), renderReport(facts, results, verdicts));
    const rows = results.map(({ scenario, measures }) => ({
      scenario: scenario.name,
      asks: scenario.asks,
      measures,
    }));
    const json = {
      ...Object.fromEntries(facts.facts),
      machine,
      limits: verdicts.map(verdictLine),
      scenarios: rows,
    };
    writeFileSync(path.join(this.#flags.output, 'results.json'), `${JSON.stringify(json, null, 1)}\n`);
    process.stdout.write(renderTable(results));
    for (const verdict of verdicts) process.stdout.write(`${verdictLine(verdict)}\n`);
    for (const { scenario, run } of results) {
      const unexpected = run.report.calls.find(
        ({ status }) => status !== 'OK' && !scenario.expectedErrors.has(status),
      );
      if (unexpected !== undefined) process.stdout.write(`${scenario.name}: for one, ${unexpected.error}\n`);
    }
    process.stdout.write(`report: ${path.join(this.#flags.output, 'report.html')}\n`);
    if (verdicts.some(({ isKept }) => !isKept)) process.exitCode = 1;
  }

  #judgeAll(results: readonly ScenarioResult[]): Verdict[] {
    const names = this.#all.map((scenario) => scenario.name);
    // A ratio needs the scenario that it is a ratio to.
    const limits = this.#limits.filter(({ scenario, measure: name }) => {
      const compared = this.#all.find((each) => each.name === scenario)?.compareWith;
      return name !== 'server_tpot_ratio' || results.some((result) => result.scenario.name === compared);
    });
    return judge(limits, results, names);
  }

  #serveArgs(): string[] {
    const own = ['--grpc-address', '127.0.0.1:0', '--log-level', 'warn'];
    const model = ['--model', repoPath('models', 'r1v-nano'), '--tensor-parallel-size', '2'];
    return [
      ...own,
      ...(this.#serveFlags.some((flag) => flag.startsWith('--model')) ? [] : model),
      ...this.#serveFlags,
    ];
  }

  async #withServer<T>(use: (address: string) => Promise<T>): Promise<T> {
    if (this.#flags.target !== undefined) return use(this.#flags.target);
    return withServed(this.#serveArgs(), ({ grpc }) => use(grpc));
  }
}
