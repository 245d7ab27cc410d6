// Where the repository's files are, seen from the compiled tests in dist/test/support.
import { fileURLToPath } from 'node:url';
import path from 'node:path';

export const repoRoot = fileURLToPath(new URL('../../../', import.meta.url));

export function repoPath(...segments: readonly string[]): string {
  return path.join(repoRoot, ...segments);
}

export function goldenPath(...segments: readonly string[]): string {
  return repoPath('test', 'golden', ...segments);
}
