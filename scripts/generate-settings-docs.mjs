// Writes docs/settings.md from the compiled commands.
import './lib/require-node.mjs';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { repoRoot, runScript, setup } from './lib/setup.mjs';
import { renderSettingsDocs } from './lib/settings-docs.mjs';

await runScript(async (reporter) => {
  await setup({ tests: false, reporter });
  const { Command } = await import('commander');
  const settings = await import('../dist/common/settings.js');
  const { registerServe } = await import('../dist/coordinator/commands/serve.js');
  const { createWorkerCommand } = await import('../dist/worker/config.js');
  const program = new Command();
  registerServe(program, []);
  const page = renderSettingsDocs([program.commands[0], createWorkerCommand()], settings);
  writeFileSync(path.join(repoRoot, 'docs/settings.md'), page);
});
