// npm run load: sets up what is missing, brings ghz, then runs the scenarios of deploy/ghz against a server that it
// starts, or against --target ADDRESS. npm run load -- --help lists the flags.
import './lib/require-node.mjs';
import { spawn } from 'node:child_process';
import path from 'node:path';

// No top-level await: an old Node must get as far as the check of its version.
import('./lib/setup.mjs').then(({ repoRoot, runScript, setup }) =>
  runScript(async (reporter) => {
    await setup({ tests: false, reporter });
    const args = process.argv.slice(2);
    const { ensureGoTool } = await import('./lib/go-tools.mjs');
    const ghz = args.includes('--help') ? 'ghz' : await ensureGoTool({ name: 'ghz', repoRoot, reporter });
    reporter.endProgress();
    const main = path.join(repoRoot, 'dist/bench/load/main.js');
    const child = spawn(process.execPath, [main, '--ghz', ghz, ...args], { stdio: 'inherit' });
    // The terminal's Ctrl-C reaches the child by itself; this process only has to outlive it.
    process.on('SIGINT', () => undefined);
    process.on('SIGTERM', () => child.kill('SIGTERM'));
    return new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code) => resolve(code ?? 1));
    });
  }),
);
