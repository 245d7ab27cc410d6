// Mocha's spec reporter that also writes its counts to the file named by SKEIN_TEST_SUMMARY, for the last line of npm
// test. CommonJS, because mocha loads reporters with require.
const { writeFileSync } = require('node:fs');
const { Spec } = require('mocha').reporters;

module.exports = class SummaryReporter extends Spec {
  constructor(runner, options) {
    super(runner, options);
    runner.once('end', () => {
      const { passes, failures, pending } = this.stats;
      writeFileSync(process.env.SKEIN_TEST_SUMMARY, JSON.stringify({ passes, failures, pending }));
    });
  }
};
