#!/usr/bin/env node
// Starts what is built: `skein worker` is the worker process, `skein health` a probe, `skein bench` a client that
// measures, everything else the coordinator.
import { existsSync } from 'node:fs';

const [command, ...rest] = process.argv.slice(2);
// Probes run often: theirs loads nothing of the rest. A client that measures has its event loop to itself.
const entries = {
  worker: '../dist/worker/main.js',
  health: '../dist/coordinator/commands/health.js',
  bench: '../dist/coordinator/commands/bench.js',
};
const hasOwnEntry = Object.hasOwn(entries, command ?? '');
const entry = new URL(hasOwnEntry ? entries[command] : '../dist/coordinator/main.js', import.meta.url);

if (!existsSync(entry)) {
  process.stderr.write('skein: SETUP_INCOMPLETE: Skein is not built on this machine; run: npm run setup\n');
  // EXIT_CODES.unservable of what is not built.
  process.exit(3);
}
const { main } = await import(entry.href);
await main(hasOwnEntry ? rest : process.argv.slice(2));
