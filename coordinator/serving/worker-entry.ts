// How a worker is started from this installation: the arguments of process.execPath before those of `skein worker`.
import { fileURLToPath } from 'node:url';

export const installedWorkerEntry: readonly string[] = [
  fileURLToPath(new URL('../../../bin/skein.mjs', import.meta.url)),
  'worker',
];
