// Writes docs/metrics.md from the compiled metrics.
import './lib/require-node.mjs';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { repoRoot, runScript, setup } from './lib/setup.mjs';
import { renderMetricsDocs } from './lib/metrics-docs.mjs';

await runScript(async (reporter) => {
  await setup({ tests: false, reporter });
  const { Metrics } = await import('../dist/coordinator/observability/metrics.js');
  const page = renderMetricsDocs(new Metrics('').registry.getMetricsAsArray());
  writeFileSync(path.join(repoRoot, 'docs/metrics.md'), page);
});
