// npm run demo: sets up what is missing, then asks the bundled model about a bundled picture with two workers and
// checks the answer. Arguments after -- go to `skein run`.
import './lib/require-node.mjs';

// No top-level await: an old Node must get as far as the check of its version.
import('./lib/setup.mjs').then(({ runScript, setup }) =>
  runScript(async (reporter) => {
    await setup({ tests: false, reporter });
    const { runDemo } = await import('./lib/demo.mjs');
    return runDemo({ extraArgs: process.argv.slice(2), reporter });
  }),
);
