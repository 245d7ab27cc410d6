// Where the repository's files are, seen from the compiled tests.
import { fileURLToPath } from 'node:url';

/** dist/test/support is three levels below the repository root. */
export const repoRoot = fileURLToPath(new URL('../../../', import.meta.url));
