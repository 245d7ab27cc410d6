// What is generated and committed is what its generator gives now.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Command } from 'commander';
import protobuf from 'protobufjs';
import { ERROR_CATALOGUE } from '../../common/errors.js';
import { rangeText, SAMPLING_RANGES } from '../../common/sampling.js';
import * as settings from '../../common/settings.js';
import { registerServe } from '../../coordinator/commands/serve.js';
import { Metrics } from '../../coordinator/observability/metrics.js';
import { createWorkerCommand } from '../../worker/config.js';
import { repoPath } from '../support/paths.js';
import { loadScript } from '../support/scripts.js';

function checkProtoTypes(root: string): { status: number | null; stderr: string } {
  const script = path.join(root, 'scripts/generate-proto-types.mjs');
  return spawnSync(process.execPath, [script, '--check'], { encoding: 'utf8' });
}

describe('generated files', () => {
  it('proto/ts is fresh', () => {
    const { status, stderr } = checkProtoTypes(repoPath('.'));
    assert.equal(stderr, '');
    assert.equal(status, 0);
  });

  it('proto/ts that is stale is noticed', () => {
    const root = mkdtempSync(path.join(tmpdir(), 'skein-proto-test-'));
    try {
      for (const folder of ['proto', 'scripts'])
        cpSync(repoPath(folder), path.join(root, folder), { recursive: true });
      symlinkSync(repoPath('node_modules'), path.join(root, 'node_modules'));
      const file = path.join(root, 'proto/skein/cluster/v1/cluster.proto');
      const changed = readFileSync(file, 'utf8').replace('string lease_id = 1;', 'string renamed_id = 1;');
      writeFileSync(file, changed);
      const { status, stderr } = checkProtoTypes(root);
      assert.equal(status, 1);
      assert.match(stderr, /proto\/ts is stale .*RegisterResponse\.ts.*npm run proto/);
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  });

  it('docs/errors.md is the catalogue', async () => {
    const { renderErrorDocs } = await loadScript<{ renderErrorDocs: (catalogue: object) => string }>(
      'error-docs.mjs',
    );
    const page = readFileSync(repoPath('docs/errors.md'), 'utf8');
    assert.equal(page, renderErrorDocs(ERROR_CATALOGUE), 'run: node scripts/generate-error-docs.mjs');
    for (const code of Object.keys(ERROR_CATALOGUE)) assert.ok(page.includes(`| \`${code}\` |`), code);
  });

  it('docs/sampling.md has the ranges of all fields, and names every field of the protocol', () => {
    const page = readFileSync(repoPath('docs/sampling.md'), 'utf8');
    for (const range of Object.values(SAMPLING_RANGES)) {
      const row = `| \`${range.name}\` | ${rangeText(range)} | ${range.neutral} |`;
      assert.ok(page.includes(row), `docs/sampling.md: expected the row ${row}`);
    }
    const proto = protobuf.parse(readFileSync(repoPath('proto/skein/inference/v1/inference.proto'), 'utf8'), {
      keepCase: true,
    });
    const fields = Object.keys(proto.root.lookupType('SamplingOptions').fields);
    assert.ok(fields.length >= 16);
    assert.deepEqual(
      fields.filter((name) => !page.includes(`\`${name}\``)),
      [],
    );
  });

  it('docs/metrics.md is the metrics', async () => {
    const { renderMetricsDocs } = await loadScript<{ renderMetricsDocs: (metrics: object[]) => string }>(
      'metrics-docs.mjs',
    );
    const metrics = new Metrics('').registry.getMetricsAsArray();
    const committed = readFileSync(repoPath('docs/metrics.md'), 'utf8');
    assert.equal(committed, renderMetricsDocs(metrics), 'run: node scripts/generate-metrics-docs.mjs');
    assert.ok(metrics.length > 30);
    for (const { name } of metrics) assert.match(name, /^skein_[a-z0-9_]+$/);
    assert.match(
      committed,
      /\| `skein_time_to_first_token_seconds` \| histogram \| seconds \| {2}\| From the arrival of a request/,
    );
  });

  it('docs/settings.md is the flags', async () => {
    const { renderSettingsDocs } = await loadScript<{
      renderSettingsDocs: (commands: readonly Command[], names: object) => string;
    }>('settings-docs.mjs');
    const program = new Command();
    registerServe(program, []);
    const page = renderSettingsDocs([program.commands[0]!, createWorkerCommand()], settings);
    const committed = readFileSync(repoPath('docs/settings.md'), 'utf8');
    assert.equal(committed, page, 'run: node scripts/generate-settings-docs.mjs');
    assert.match(page, /\| `cuda-graphs` \| `SKEIN_CUDA_GRAPHS` \| true or false \| true \|/);
    assert.match(page, /\| `step-timeout` \| `SKEIN_STEP_TIMEOUT` \| integer of 1 to 86400 \| 300 \|/);
  });
});
