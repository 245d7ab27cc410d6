#!/usr/bin/env node
// Starts what is built: `skein worker` is the worker process, everything else the coordinator.
import { existsSync } from 'node:fs';

const [command, ...rest] = process.argv.slice(2);
const entry = new URL(
  command === 'worker' ? '../dist/worker/main.js' : '../dist/coordinator/main.js',
  import.meta.url,
);

if (!existsSync(entry)) {
  process.stderr.write('skein: SETUP_INCOMPLETE: Skein is not built on this machine; run: npm run setup\n');
  process.exit(1);
}
const { main } = await import(entry.href);
await main(command === 'worker' ? rest : process.argv.slice(2));
