// npm run test:gpu: builds the CUDA addon and its native tests, and runs what needs a GPU. Where there is none the
// tests skip with the reason; where there is one, or with SKEIN_REQUIRE_GPU=1, a test that skips has failed. Arguments
// that are no flags pick test files.
import './lib/require-node.mjs';

// No top-level await: an old Node must get as far as the check of its version.
import('./lib/setup.mjs').then(({ runScript, setup, repoRoot }) =>
  runScript(async (reporter) => {
    await setup({ tests: true, reporter });
    const { buildCuda } = await import('./lib/cuda-build.mjs');
    await buildCuda({ repoRoot, tests: true, reporter });
    const { expectsGpu } = await import('./lib/expects-gpu.mjs');
    const { runTests, splitArguments } = await import('./lib/run-tests.mjs');
    const failOnSkip = expectsGpu();
    if (failOnSkip) process.env['SKEIN_REQUIRE_GPU'] = '1';
    else reporter.line('skein: no NVIDIA GPU here: what needs one is skipped');
    const { filters, flags } = splitArguments(process.argv.slice(2));
    const files = filters.length === 0 ? ['test/gpu/'] : filters.map((filter) => `test/gpu/${filter}`);
    return runTests({ args: [...files, ...flags], failOnSkip });
  }),
);
