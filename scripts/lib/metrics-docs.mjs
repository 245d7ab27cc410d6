// Renders docs/metrics.md from the metrics that the coordinator declares, so that the page cannot miss one.

/** `metrics`: of a registry of prom-client's, in the order of their declaration. */
export function renderMetricsDocs(metrics) {
  const rows = metrics.map(({ name, type, labelNames, help }) => {
    const labels = labelNames.map((label) => `\`${label}\``).join(', ');
    return `| \`${name}\` | ${type} | ${unitOf(name, type)} | ${labels} | ${help.replaceAll('|', '\\|')} |`;
  });
  return `# Metrics

Generated from \`coordinator/observability/metrics.ts\` by \`node scripts/generate-metrics-docs.mjs\`; a test fails when
they differ.

\`skein serve\` has \`/metrics\` for Prometheus on \`--http-address\`, or on \`--metrics-address\` alone where that is
given, which keeps them from clients; that address has \`/ready\`, \`/health\` and \`/live\` too. Without either address
nothing is counted.

- Suffixes are vLLM's where it has the same thing, so dashboards and autoscalers for it need another prefix and no
  more. Its \`kv_block_*\` are not there.
- Every series has the label \`model_name\`. No label has values that a client chooses: error codes are those of
  [errors](errors.md), ranks are numbered, routes are the calls that exist.
- Counters begin at 0 with the process. Requests of a call for several answers count each by itself.
- \`skein_num_requests_waiting\` counts every request in the server that is not computed, those whose pictures are being
  decoded too: it is what to scale on. Requests that are [paused](operations.md#clients-that-read-slowly) for their
  clients are neither running nor waiting.
- What comes with every token or step is counted in plain numbers, and made into metrics when they are asked for.
  Measured on two cores of a Xeon with Node 20, beside other work, in processor time: counting takes 2 to 4 µs a step of
  64 to 256 tokens on one to eight ranks, a scrape 1.1 ms. Through the whole service with 64 sequences running
  (\`bench/coordinator/request-path.ts\`, four rounds in turns) a step took 0.83 ms of the coordinator's processor with
  metrics and 0.76 without, in rounds that lay between 0.70 and 0.91; a request 2.3 to 3.2 ms with and 2.2 to 3.2
  without.
- \`skein_rank_step_seconds_total\` cuts a rank's time into \`plan_wait\` (between two steps where the coordinator had
  work for it; time without work is not counted), \`compute\`, \`all_reduce_wait\` and \`sampling\` (without its
  collectives). Ranks on CPUs measure all four, over shared memory and Gloo alike. On GPUs kernels tell, by the
  device's clock, how long they waited for words of other ranks of the host, and how long sampling took, there with its
  gathers; the host sees the length of the step and the wait for its plan, and \`compute\` is what is left. Waiting in
  NCCL, between hosts or where GPUs cannot reach each other's memory, is not seen: it counts as \`compute\`.
- Beside these there are prom-client's own for the process: \`process_*\` (processor time, memory, open files) and
  \`nodejs_*\` (event loop, heap, garbage collection).

| metric | type | unit | labels | meaning |
|---|---|---|---|---|
${rows.join('\n')}
`;
}

function unitOf(name, type) {
  const counted = name.replace(/_total$/, '');
  for (const unit of ['seconds', 'bytes', 'tokens']) if (counted.endsWith(`_${unit}`)) return unit;
  if (name.endsWith('_perc')) return '0 to 1';
  if (type === 'histogram') return 'tokens';
  if (/_(tokens_|prefix_cache|wasted)/.test(name)) return 'tokens';
  return '';
}
