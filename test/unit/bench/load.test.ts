// Goal: the load report says what ghz and the server measured: both kinds of files are read right, refusals and errors
// are told apart, limits break where they should, and the committed scenarios are ones that ghz and this runner
// understand.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { EXIT_CODES } from '../../../common/exit-codes.js';
import { parseLog, parseReport, parseServerTiming, type LoggedCall } from '../../../bench/load/ghz-log.js';
import { judge, parseLimits, verdictLine } from '../../../bench/load/limits.js';
import { measure, tpotWhileRefusing, type ScenarioResult } from '../../../bench/load/measures.js';
import { sharesPlot, timelinePlot } from '../../../bench-serve/report/plots.js';
import { renderReport } from '../../../bench/load/report.js';
import type { GhzRun } from '../../../bench/load/run-ghz.js';
import { parseScenario, readScenarios, type Scenario } from '../../../bench/load/scenario.js';
import { renderTable } from '../../../bench/load/table.js';
import { repoPath } from '../../support/paths.js';
import { documentFiles, readSource } from '../../support/source-files.js';

const MAIN = repoPath('dist', 'bench', 'load', 'main.js');
const TIMING =
  'queue;dur=1.500, ttft;dur=10.000, tpot;dur=2.000, total;dur=30.000, prompt;desc=7, completion;desc=11, cached;desc=0';
const BYSTANDER = { firstTokenMs: [5], gapsMs: [1, 2, 400], tokens: 4, refusals: 0, errors: [] };

function scenario(changes: Partial<Scenario> = {}): Scenario {
  return {
    name: 'some',
    config: { name: 'some', call: 'x', total: 4, tags: {} },
    asks: 'what <this> asks',
    expectedErrors: new Set(['ResourceExhausted']),
    compareWith: null,
    bystander: 'beside',
    order: 1,
    ...changes,
  };
}

function logLine(code: string, trailer: Record<string, string[]>, endTime: string): string {
  const stats = { BeginTime: endTime, EndTime: endTime, Trailer: trailer };
  return JSON.stringify({ level: 'debug', message: 'Received RPC Stats', code, duration: 0.0315, stats });
}

function logged(status: string, endMs: number, tpot: number | null): LoggedCall {
  const timing =
    tpot === null ? null : { queue: 1, ttft: 3, tpot, total: 20, prompt: 5, completion: 4, cached: 0 };
  return { endMs, latencyMs: 25, status, timing, retryAfterMs: status === 'OK' ? null : 1000 };
}

function run(calls: { status: string; endMs: number }[], lines: LoggedCall[]): GhzRun {
  const report = {
    count: calls.length,
    totalMs: 2000,
    callsPerSecond: calls.length / 2,
    endReason: 'normal',
    calls: calls.map((call) => ({ ...call, latencyMs: 25, error: '' })),
  };
  return { report, logged: lines, clientCores: 0.5 };
}

describe('what ghz leaves behind', () => {
  it('is read to the microsecond, with the trailers of each call', () => {
    const text = [
      '{"level":"debug","message":"Making request"}',
      logLine('OK', { 'server-timing': [TIMING] }, '2026-11-26T20:45:43.172381359Z'),
      logLine('ResourceExhausted', { 'grpc-retry-pushback-ms': ['1000'] }, '2026-11-26T20:45:43Z'),
      '{"message":"Received RPC Stats","code":"OK","dur',
    ].join('\n');
    const [ok, refused, ...others] = parseLog(text);
    assert.deepEqual(others, []);
    assert.ok(Math.abs(ok!.endMs - (Date.parse('2026-11-26T20:45:43Z') + 172.381359)) < 1e-3);
    assert.deepEqual(ok!.timing, {
      queue: 1.5,
      ttft: 10,
      tpot: 2,
      total: 30,
      prompt: 7,
      completion: 11,
      cached: 0,
    });
    assert.equal(ok!.latencyMs, 31.5);
    assert.deepEqual(
      [refused!.status, refused!.retryAfterMs, refused!.timing],
      ['ResourceExhausted', 1000, null],
    );
  });

  it('has no timing where the server tells another story', () => {
    assert.equal(parseServerTiming('queue;dur=1, db;dur=2'), null);
    assert.equal(parseServerTiming(undefined), null);
  });

  it('has a report in nanoseconds, and none of its calls where all were skipped', () => {
    const details = [{ timestamp: '2026-01-01T00:00:00Z', latency: 2_500_000, error: '', status: 'OK' }];
    const report = parseReport(JSON.stringify({ count: 1, total: 5e9, rps: 0.2, details }));
    assert.deepEqual([report.totalMs, report.calls[0]!.latencyMs], [5000, 2.5]);
    assert.deepEqual(parseReport('{"count":0,"total":1,"rps":0,"details":null}').calls, []);
  });
});

describe('the measures of a scenario', () => {
  it('tell refusals that are expected from other errors', () => {
    const calls = ['OK', 'OK', 'ResourceExhausted', 'Unavailable'].map((status, endMs) => ({
      status,
      endMs,
    }));
    const lines = [logged('OK', 0, 2), logged('ResourceExhausted', 2, null)];
    const { measures } = measure(scenario(), run(calls, lines), BYSTANDER, null);
    assert.equal(measures['ok'], 2);
    assert.equal(measures['refused'], 1);
    assert.equal(measures['unexpected_errors'], 1);
    assert.equal(measures['refused_without_hint'], 0);
    assert.equal(measures['server_tpot_ms_p50'], 2);
    assert.equal(measures['outside_server_ms_p50'], 5);
    assert.equal(measures['tokens_per_second'], 4);
    assert.equal(measures['bystander_longest_gap_ms'], 400);
    const strict = measure(scenario({ expectedErrors: new Set() }), run(calls, lines), BYSTANDER, null);
    assert.equal(strict.measures['unexpected_errors'], 2);
  });

  it('compare the time per token of calls that ended while others were refused', () => {
    const quiet = measure(
      scenario(),
      run([{ status: 'OK', endMs: 0 }], [logged('OK', 0, 2)]),
      BYSTANDER,
      null,
    );
    const refusals = [100, 200].map((endMs) => ({ status: 'ResourceExhausted', endMs }));
    const during = Array.from({ length: 20 }, (_, index) => logged('OK', 100 + index, 3));
    const after = Array.from({ length: 90 }, () => logged('OK', 300, 2));
    const overloaded = run(refusals, [...during, ...after]);
    assert.ok(tpotWhileRefusing(overloaded).every((tpot) => tpot === 3));
    assert.equal(measure(scenario(), overloaded, BYSTANDER, quiet).measures['server_tpot_ratio'], 1.5);
    // Too few of them: all count.
    assert.equal(tpotWhileRefusing(run(refusals, [...during.slice(1), ...after])).length, 109);
  });
});

describe('limits', () => {
  const results = [{ scenario: scenario(), measures: { a: 1 } }] as unknown as ScenarioResult[];

  it('are kept or broken, and broken by a number that the run lacks', () => {
    const text = JSON.stringify([
      { scenario: '*', measure: 'a', max: 1 },
      { scenario: 'some', measure: 'a', max: 0.5 },
      { scenario: 'some', measure: 'a', min: 2 },
      { scenario: 'some', measure: 'missing', max: 9 },
    ]);
    const verdicts = judge(parseLimits(text, 'f'), results, ['some', 'other']);
    assert.deepEqual(
      verdicts.map(({ isKept }) => isKept),
      [true, false, false, false],
    );
    assert.equal(verdictLine(verdicts[1]!), 'BROKEN  some a: 1 (at most 0.5)');
    assert.match(verdictLine(verdicts[3]!), /no such number/);
  });

  it('of scenarios that were not run say nothing, of unknown ones are refused', () => {
    assert.deepEqual(judge([{ scenario: 'other', measure: 'a', max: 0 }], results, ['some', 'other']), []);
    assert.throws(
      () => judge([{ scenario: 'typo', measure: 'a', max: 0 }], results, ['some']),
      /typo; there are some/,
    );
  });

  it('that cannot be understood name the line', () => {
    for (const text of [
      '{}',
      '[{"scenario":"a","measure":"b"}]',
      '[{"scenario":"a","measure":"b","max":1,"min":0}]',
      '[null]',
      '[{"scenario":"a","measure":"b","max":"1"}]',
      '[{"scenario":"a","measure":"b","max":1,"maks":1}]',
    ]) {
      assert.throws(() => parseLimits(text, 'f'), /^Error: f: /);
    }
  });

  it('as committed name scenarios that exist', () => {
    const limits = parseLimits(readFileSync(repoPath('deploy/ghz/limits.json'), 'utf8'), 'limits.json');
    const names = readScenarios({ short: false }).map(({ name }) => name);
    judge(limits, [], names);
    assert.ok(limits.length > 0);
  });
});

describe('the committed scenarios', () => {
  const scenarios = readScenarios({ short: false });

  it('are what the documentation lists, the quiet one before what is compared with it', () => {
    const names = scenarios.map(({ name }) => name);
    const page = readFileSync(repoPath('docs/load-testing.md'), 'utf8');
    for (const name of names)
      assert.ok(page.includes(`| \`${name}\` |`), `docs/load-testing.md has no row for ${name}`);
    for (const { name, compareWith } of scenarios) {
      if (compareWith !== null) assert.ok(names.indexOf(compareWith) < names.indexOf(name), name);
    }
  });

  it('are given to ghz in documents as it takes them: the address is its argument, of which it has one', () => {
    const shown = documentFiles().flatMap((file) => readSource(file).match(/^ghz .*$/gm) ?? []);
    assert.ok(shown.length >= 2);
    for (const line of shown) {
      assert.match(line, / \d+\.\d+\.\d+\.\d+:\d+$/);
      assert.doesNotMatch(line, / --host /);
    }
  });

  it('hold data files that exist, and shorter runs that are shorter', () => {
    const short = readScenarios({ short: true });
    for (const [index, { name, config }] of scenarios.entries()) {
      const file = config['data-file'];
      if (typeof file === 'string') assert.ok(existsSync(repoPath(file)), `${name}: ${file}`);
      assert.ok(short[index]!.config.total < config.total, name);
    }
  });

  it('are refused with the field that is wrong', () => {
    const right = { name: 'a', call: 'x/y', total: 5, tags: { asks: 'why' } };
    assert.equal(parseScenario('a.json', JSON.stringify(right), false).config.total, 5);
    const cases: [object, RegExp][] = [
      [{ name: 'b' }, /name/],
      [{ call: 3 }, /call/],
      [{ total: 0 }, /total/],
      [{ tags: {} }, /tags\.asks/],
      [{ tags: { asks: 'why', bystander: 'never' } }, /tags\.bystander/],
    ];
    for (const [change, message] of cases)
      assert.throws(() => parseScenario('a.json', JSON.stringify({ ...right, ...change }), false), message);
  });
});

describe('the report', () => {
  const calls = [
    { status: 'OK', endMs: 1000 },
    { status: 'ResourceExhausted', endMs: 1500 },
  ];
  const result = measure(scenario(), run(calls, [logged('OK', 1000, 2)]), BYSTANDER, null);

  it('asks nobody for anything, escapes what it shows and has both plots', () => {
    const page = renderReport({ title: 'T & U', facts: [['model', '<m>']] }, [result], []);
    assert.ok(!/(src|href)="(?!#)/.test(page) && !page.includes('http'), 'nothing is loaded');
    assert.ok(page.includes('what &#60;this&#62; asks') && page.includes('T &#38; U'));
    assert.equal(page.match(/<svg /g)?.length, 2);
    assert.ok(page.includes('prefers-color-scheme: dark'));
  });

  it('has plots whose coordinates are numbers inside the frame', () => {
    const curve = sharesPlot([{ label: 'a', style: 'call', values: [1, 5, 30, 0, 1000] }]);
    const dots = timelinePlot([
      {
        label: 'a',
        style: 'call',
        points: [
          { x: 0, y: 1 },
          { x: 3, y: 80 },
        ],
      },
    ]);
    for (const svg of [curve, dots]) assert.ok(!/NaN|Infinity/.test(svg));
    const line = /polyline[^>]* points="([^"]*)"/.exec(curve)?.[1] ?? '';
    const places = [...line.matchAll(/([\d.]+),([\d.]+)/g)].map(([, x, y]) => [Number(x), Number(y)]);
    assert.ok(
      places.length === 5 && places.every(([x, y]) => x! >= 52 && x! <= 548 && y! >= 12 && y! <= 210),
    );
    assert.equal(sharesPlot([{ label: 'none', style: 'call', values: [] }]), '');
  });

  it('has the rows of the printed table', () => {
    const table = renderTable([result]);
    assert.match(table, /^some +1 +1 +0 +0\.5 /m);
  });
});

describe('mistakes on the command line of the load test', function () {
  this.timeout(30_000);

  for (const [args, said] of [
    [['--unknown'], /^skein: Unknown option '--unknown'/],
    [['--scenario', 'nowhere'], /^skein: --scenario nowhere: there are .*\n$/],
    [['--limits', '/nowhere.json'], /^skein: ENOENT: no such file or directory, open '\/nowhere\.json'\n$/],
    [['--limits', repoPath('LICENSE')], /^skein: \S+LICENSE: Unexpected token .*\n$/],
  ] as const) {
    it(`are one line and exit code 2: ${args[0]}`, () => {
      const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8' });
      assert.deepEqual([status, stdout, stderr.split('\n').length], [EXIT_CODES.usage.code, '', 2], stderr);
      assert.match(stderr, said);
    });
  }

  it('of what the server is given are told by the server alone', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'skein-load-'));
    try {
      const args = ['--short', '--scenario', 'one-stream', '--output', folder, '--', '--model', '/nowhere'];
      const { status, stderr } = spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8' });
      assert.equal(status, EXIT_CODES.failed.code);
      assert.match(
        stderr,
        /^skein: MODEL_NOT_FOUND: .*\nskein: skein serve ended with 3 before it served\n$/,
      );
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
