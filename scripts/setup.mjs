// npm run setup: everything that a bare Debian or Ubuntu machine needs to run Skein. --tests adds what tests need.
import './lib/require-node.mjs';

// No top-level await: an old Node must get as far as the check of its version.
import('./lib/setup.mjs').then(({ runScript, setup }) =>
  runScript(async (reporter) => {
    await setup({ tests: process.argv.includes('--tests'), reporter });
    reporter.line('skein: ready; npm run demo asks it a question');
  }),
);
