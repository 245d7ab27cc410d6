// Loaded by mocha before any test file (.mocharc.json): marks the process and its children as tests, so that logs are
// silent unless SKEIN_LOG asks for them, and sees to it that the run ends.
process.env['NODE_ENV'] ??= 'test';

/** Deadlines of calls that were given up end by themselves within it. */
const LEFT_OPEN_MS = 60_000;

export const mochaHooks = {
  /** What a test leaves open (a server, a timer) keeps the process: it is named, and the run ends all the same. */
  afterAll(): void {
    // One of several that run files side by side goes on to the next file, and is ended by mocha.
    if (process.env['MOCHA_WORKER_ID'] !== undefined) return;
    setTimeout(() => {
      const left = process.getActiveResourcesInfo().join(', ');
      process.stderr.write(`the tests have left open: ${left}\n`);
      process.exit();
    }, LEFT_OPEN_MS).unref();
  },
};
