// npm run build:cuda: the addon for NVIDIA GPUs, from an installed CUDA toolkit or from PyPI's packages of one. --tests
// adds the native tests.
import './lib/require-node.mjs';

// No top-level await: an old Node must get as far as the check of its version.
import('./lib/setup.mjs').then(({ runScript, setup, repoRoot }) =>
  runScript(async (reporter) => {
    const tests = process.argv.includes('--tests');
    await setup({ tests, reporter });
    const { buildCuda } = await import('./lib/cuda-build.mjs');
    await buildCuda({ repoRoot, tests, reporter });
  }),
);
