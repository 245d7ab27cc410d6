// `skein worker` with the fake engine. SKEIN_FAKE_ENGINE holds its options as JSON, by rank under "ranks" where they
// differ.
import { existsSync, writeFileSync } from 'node:fs';
import { createWorkerCommand, toWorkerConfig, type ParsedWorkerOptions } from '../../worker/config.js';
import { runWorker } from '../../worker/run-worker.js';
import { FakeEngine, type FakeEngineOptions } from './fake-engine.js';

interface FakeSettings extends Partial<FakeEngineOptions> {
  readonly workers?: Readonly<Record<string, Partial<FakeEngineOptions>>>;
}

const command = createWorkerCommand();
command.parse(process.argv.slice(2), { from: 'user' });
const config = toWorkerConfig(command.opts<ParsedWorkerOptions>());
const settings = JSON.parse(process.env['SKEIN_FAKE_ENGINE'] ?? '{}') as FakeSettings;
const own = settings.workers?.[config.workerId] ?? {};
if (own.startsOnce !== undefined) {
  if (existsSync(own.startsOnce)) process.exit(1);
  writeFileSync(own.startsOnce, '');
}
await runWorker(
  config,
  ({ device }) => new FakeEngine(device, { ...settings, ...own }),
  (exitCode) => process.exit(exitCode),
);
