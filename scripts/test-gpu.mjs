// npm run test:gpu: builds the CUDA addon and its native tests, and runs what needs a GPU. Where there is none the tests skip with the
// reason; SKEIN_REQUIRE_GPU=1 turns that into failures.
import './lib/require-node.mjs';

// No top-level await: an old Node must get as far as the check of its version.
import('./lib/setup.mjs').then(({ runScript, setup, repoRoot }) =>
  runScript(async (reporter) => {
    await setup({ tests: true, reporter });
    const { buildCuda } = await import('./lib/cuda-build.mjs');
    await buildCuda({ repoRoot, tests: true, reporter });
    const { runTests } = await import('./lib/run-tests.mjs');
    return runTests({
      args: ['test/gpu/', ...process.argv.slice(2).filter((argument) => argument.startsWith('-'))],
    });
  }),
);
