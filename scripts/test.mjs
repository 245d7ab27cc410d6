// npm test: sets up what is missing, then runs the tests. Arguments that are no flags pick test files by a part of
// their path (npm test -- unit/sharding); flags go to mocha.
import './lib/require-node.mjs';

// No top-level await: an old Node must get as far as the check of its version.
import('./lib/setup.mjs').then(({ runScript, setup }) =>
  runScript(async (reporter) => {
    await setup({ tests: true, reporter });
    const { runTests } = await import('./lib/run-tests.mjs');
    return runTests({ args: process.argv.slice(2) });
  }),
);
