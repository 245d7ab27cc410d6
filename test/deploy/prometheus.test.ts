// Goal: what watches Skein fits it. Every metric that the dashboard, the alerts and the autoscaler name exists, with
// the labels they ask for; every alert has a runbook; promtool accepts the alerts and they fire where they should; and
// Debian's Prometheus scrapes a served model and answers the dashboard's queries.
import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parse } from 'yaml';
import { ERROR_CATALOGUE } from '../../common/errors.js';
import { Metrics } from '../../coordinator/observability/metrics.js';
import { goldenPath, repoPath } from '../support/paths.js';
import { loadScript } from '../support/scripts.js';
import { SkeinProcess } from '../support/skein-process.js';

const RULES = repoPath('deploy', 'helm', 'skein', 'files', 'rules.yaml');
const DASHBOARD = repoPath('deploy', 'grafana', 'skein.json');

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: Readonly<Record<string, string>>;
}
interface Panel {
  readonly type: string;
  readonly title: string;
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
}

function rules(): Rule[] {
  const { groups } = parse(readFileSync(RULES, 'utf8')) as { groups: { rules: Rule[] }[] };
  return groups.flatMap((group) => group.rules);
}

function queries(): { title: string; expr: string; legendFormat: string }[] {
  const { panels } = JSON.parse(readFileSync(DASHBOARD, 'utf8')) as { panels: Panel[] };
  return panels.flatMap(({ title, targets = [] }) => targets.map((target) => ({ title, ...target })));
}

/** As it is asked for in one minute of one model. */
function filledIn(expr: string): string {
  return expr.replaceAll('$__rate_interval', '1m').replaceAll(/\$(model_name|instance)/g, '.*');
}

/** What a scrape has: histograms as their parts. */
function exposed(): Map<string, readonly string[]> {
  const names = new Map<string, readonly string[]>();
  for (const metric of new Metrics('').registry.getMetricsAsArray()) {
    const { name, type, labelNames } = metric as unknown as {
      name: string;
      type: string;
      labelNames: string[];
    };
    if (type !== 'histogram') names.set(name, labelNames);
    else for (const part of ['bucket', 'sum', 'count']) names.set(`${name}_${part}`, [...labelNames, 'le']);
  }
  return names;
}

const namesIn = (text: string): string[] => [...text.matchAll(/\bskein_[a-z0-9_]+/g)].map(([name]) => name);

describe('what watches Skein', () => {
  const metrics = exposed();
  const EVERYWHERE = ['job', 'instance', 'model_name', 'alertname'];

  it('asks for metrics that exist: dashboard, alerts, autoscaler', () => {
    const chart = readFileSync(repoPath('deploy', 'helm', 'skein', 'templates', 'autoscaling.yaml'), 'utf8');
    const asked = [chart, ...rules().map(({ expr }) => expr), ...queries().map(({ expr }) => expr)];
    assert.ok(asked.length > 50);
    for (const text of asked)
      for (const name of namesIn(text)) assert.ok(metrics.has(name), `${name} does not exist: ${text}`);
    // Most of what there is can be seen.
    const shown = new Set(queries().flatMap(({ expr }) => namesIn(expr)));
    for (const name of ['skein_time_to_first_token_seconds_bucket', 'skein_rank_step_seconds_total'])
      assert.ok(shown.has(name), name);
  });

  it('groups by labels that they have, and shows those', () => {
    for (const { expr, legendFormat = '' } of [
      ...queries(),
      ...rules().map(({ expr }) => ({ expr, legendFormat: '' })),
    ]) {
      const known = new Set([...EVERYWHERE, ...namesIn(expr).flatMap((name) => metrics.get(name) ?? [])]);
      const grouped = [...expr.matchAll(/\b(?:by|on|ignoring) \(([^)]*)\)/g)].flatMap(([, list]) =>
        list!.split(',').map((label) => label.trim()),
      );
      const shown = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label]) => label!);
      for (const label of [...grouped, ...shown].filter((each) => each !== ''))
        assert.ok(known.has(label), `${label} in ${expr}`);
    }
    for (const { expr } of rules())
      for (const [, codes] of expr.matchAll(/code=~?"([^"]+)"/g))
        for (const code of codes!.split('|')) assert.ok(Object.hasOwn(ERROR_CATALOGUE, code), code);
  });

  it('has a runbook for each alert, and no other', () => {
    const page = readFileSync(repoPath('docs', 'runbooks.md'), 'utf8');
    const headings = [...page.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading!);
    assert.deepEqual(
      headings,
      rules().map(({ alert }) => alert),
    );
    for (const { alert, annotations, labels } of rules()) {
      assert.equal(annotations['runbook_url'], `docs/runbooks.md#${alert.toLowerCase()}`);
      assert.match(labels.severity, /^(critical|warning)$/);
    }
  });

  it('is generated: the dashboard', async () => {
    const { renderDashboard } = await loadScript<{ renderDashboard: () => string }>('dashboard.mjs');
    const isFresh = readFileSync(DASHBOARD, 'utf8') === renderDashboard();
    assert.ok(isFresh, 'run: node scripts/generate-dashboard.mjs');
  });
});

describe('Prometheus', function () {
  this.timeout(90_000);
  let folder: string;
  let skein: SkeinProcess | null = null;
  let prometheus: ChildProcess | null = null;

  before(function () {
    if (spawnSync('promtool', ['--version']).status !== 0) {
      process.stdout.write('      skipped: promtool is of the Debian package prometheus\n');
      this.skip();
    }
    folder = mkdtempSync(path.join(tmpdir(), 'skein-prometheus-'));
  });
  afterEach(async () => {
    if (prometheus !== null) {
      const ended = new Promise((resolve) => prometheus!.once('exit', resolve));
      prometheus.kill('SIGTERM');
      await ended;
      prometheus = null;
    }
    await skein?.killed();
    skein = null;
  });
  after(() => {
    if (folder !== undefined) rmSync(folder, { recursive: true });
  });

  function promtool(...args: string[]): { status: number | null; says: string } {
    const cwd = repoPath('deploy', 'prometheus');
    const { status, stdout, stderr } = spawnSync('promtool', args, { encoding: 'utf8', cwd });
    return { status, says: stdout + stderr };
  }

  it('accepts the alerts and the configuration, and the alerts fire where they should', () => {
    for (const args of [
      ['check', 'rules', RULES],
      ['check', 'config', 'prometheus.yaml'],
      ['test', 'rules', 'rules.test.yaml'],
    ]) {
      const { status, says } = promtool(...args);
      assert.equal(status, 0, says);
    }
    // The tests can fail.
    const tests = readFileSync(repoPath('deploy', 'prometheus', 'rules.test.yaml'), 'utf8');
    const wrong = path.join(folder, 'wrong.test.yaml');
    writeFileSync(
      wrong,
      tests.replace('../helm/skein/files/rules.yaml', RULES).replaceAll("'4x40'", "'0x40'"),
    );
    const { status, says } = promtool('test', 'rules', wrong);
    assert.notEqual(status, 0);
    assert.match(says, /SkeinStalled/);
  });

  it('takes every query of the dashboard', () => {
    const records = queries().map(({ expr }, index) => ({ record: `query:${index}`, expr: filledIn(expr) }));
    const file = path.join(folder, 'queries.yaml');
    writeFileSync(file, JSON.stringify({ groups: [{ name: 'dashboard', rules: records }] }));
    const { status, says } = promtool('check', 'rules', file);
    assert.equal(status, 0, says);
    assert.match(says, new RegExp(`${records.length} rules found`));
  });

  it('scrapes a served model, and the queries of the dashboard have answers', async () => {
    skein = SkeinProcess.real([
      ...['serve', '--model', goldenPath('tiny-text'), '--dtype', 'float32', '--tensor-parallel-size', '2'],
      ...[
        '--grpc-address',
        '127.0.0.1:0',
        '--http-address',
        '127.0.0.1:0',
        '--metrics-address',
        '127.0.0.1:0',
      ],
      ...['--log-level', 'info'],
    ]);
    const [, http] = await skein.outputMatches(/^serving tiny-text on \S+ and http:\/\/(\S+)$/m);
    const [, target] = /"address":"http:\/\/([^"]+)","msg":"listening for metrics"/.exec(skein.stderr)!;
    const port = await freePort();
    writeFileSync(
      path.join(folder, 'prometheus.yaml'),
      JSON.stringify({
        global: { scrape_interval: '1s' },
        rule_files: [RULES],
        scrape_configs: [{ job_name: 'skein', static_configs: [{ targets: [target] }] }],
      }),
    );
    const flags = {
      'config.file': path.join(folder, 'prometheus.yaml'),
      'storage.tsdb.path': path.join(folder, 'data'),
      'web.listen-address': `127.0.0.1:${port}`,
    };
    const args = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
    prometheus = spawn('prometheus', args, { stdio: 'ignore' });
    const numRequests = 6;
    for (let index = 0; index < numRequests; index += 1) {
      const body = { prompt: [5, 6, 7, 8 + index], max_tokens: 12, ignore_eos: true };
      const response = await fetch(`http://${http}/v1/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      assert.equal(response.status, 200, await response.text());
    }
    const ask = async (expr: string): Promise<number[]> => {
      const url = `http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(expr)}`;
      const response = await fetch(url).catch(() => null);
      if (response === null || !response.ok) return [];
      const { data } = (await response.json()) as { data: { result: { value: [number, string] }[] } };
      return data.result.map(({ value }) => Number(value[1]));
    };
    const deadline = Date.now() + 60_000;
    const until = async (expr: string, isRight: (values: number[]) => boolean): Promise<void> => {
      for (;;) {
        const values = await ask(expr);
        if (isRight(values)) return;
        assert.ok(Date.now() < deadline, `${expr} is ${JSON.stringify(values)}`);
        await new Promise((resolve) => setTimeout(resolve, 250));
      }
    };
    await until('sum(skein_request_success_total)', ([value]) => value === numRequests);
    await until('sum(skein_generation_tokens_total)', ([value]) => value === 12 * numRequests);
    await until('up', ([value]) => value === 1);
    // Of every rank each phase was measured; computing is what tiny steps are made of.
    await until('count(skein_rank_step_seconds_total)', ([value]) => value === 2 * 4);
    await until(
      'min(skein_rank_step_seconds_total{phase=~"compute|sampling|all_reduce_wait"}) > 0',
      (found) => found.length > 0,
    );
    // A rate needs two scrapes.
    await until('count_over_time(up[1m])', ([value]) => (value ?? 0) >= 3);
    const silent: string[] = [];
    for (const { title, expr } of queries()) if ((await ask(filledIn(expr))).length === 0) silent.push(title);
    // Nothing has failed.
    assert.deepEqual([...new Set(silent)].sort(), ['Lost groups', 'Requests that end']);
    assert.deepEqual(await ask('ALERTS{alertstate="firing"}'), []);
  });
});

async function freePort(): Promise<number> {
  const { createServer } = await import('node:net');
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
