// Writes docs/errors.md from the compiled error catalogue (dist/common/errors.js).
import './lib/require-node.mjs';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { renderErrorDocs } from './lib/error-docs.mjs';
import { repoRoot, runScript, setup } from './lib/setup.mjs';

await runScript(async (reporter) => {
  await setup({ tests: false, reporter });
  const { ERROR_CATALOGUE } = await import('../dist/common/errors.js');
  writeFileSync(path.join(repoRoot, 'docs/errors.md'), renderErrorDocs(ERROR_CATALOGUE));
});
