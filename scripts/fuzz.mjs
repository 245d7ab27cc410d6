// npm run fuzz: builds the native fuzz targets with clang and runs each over its corpus and on from there. Flags:
// --runs N inputs a target (default 100,000), --target NAME for one of them, --keep adds what reached new code to the
// corpus, minimised.
import './lib/require-node.mjs';
import { parseArgs } from 'node:util';

// No top-level await: an old Node must get as far as the check of its version.
import('./lib/setup.mjs').then(({ repoRoot, runScript }) =>
  runScript(async (reporter) => {
    const { values } = parseArgs({
      options: {
        runs: { type: 'string', default: '100000' },
        target: { type: 'string' },
        keep: { type: 'boolean', default: false },
      },
    });
    const { buildFuzzers, runFuzzer, FUZZ_TARGETS } = await import('./lib/fuzzing.mjs');
    await buildFuzzers({ repoRoot, reporter });
    reporter.endProgress();
    const targets = values.target === undefined ? FUZZ_TARGETS : [values.target];
    let failed = 0;
    for (const target of targets) {
      const isWhole = await runFuzzer({ repoRoot, target, runs: Number(values.runs), keep: values.keep });
      if (!isWhole) failed += 1;
    }
    return failed === 0 ? 0 : 1;
  }),
);
