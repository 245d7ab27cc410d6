// npm run lint: ESLint, Prettier, tsc and clang-format over the whole tree; --fix mends what can be mended.
import './lib/require-node.mjs';

// No top-level await: an old Node must get as far as the check of its version.
import('./lib/setup.mjs').then(({ runScript }) =>
  runScript(async (reporter) => {
    const { runLint } = await import('./lib/run-lint.mjs');
    return runLint({ fix: process.argv.includes('--fix'), reporter });
  }),
);
