// The repository's own source files, for the tests in test/tidy: generated code, outputs and data are not among them.
import { readFileSync, readdirSync } from 'node:fs';
import { repoPath } from './paths.js';

const SOURCE_FOLDERS = [
  'bench',
  'bin',
  'common',
  'coordinator',
  'deploy',
  'models',
  'native',
  'proto',
  'scripts',
  'test',
  'worker',
];
const GENERATED = /^proto\/ts\//;
const SOURCE_FILE = /\.(ts|mjs|cjs|js|cc|h|cu|cuh|proto|py|sh)$/;

/** Paths from the repository's root with forward slashes, sorted. */
export function sourceFiles(accept: RegExp = SOURCE_FILE): string[] {
  const found: string[] = [];
  const visit = (folder: string): void => {
    for (const entry of readdirSync(repoPath(folder), { withFileTypes: true })) {
      const file = `${folder}/${entry.name}`;
      if (entry.isDirectory()) visit(file);
      else if (SOURCE_FILE.test(file) && !GENERATED.test(file) && accept.test(file)) found.push(file);
    }
  };
  const present = new Set(readdirSync(repoPath('.')));
  for (const folder of SOURCE_FOLDERS) if (present.has(folder)) visit(folder);
  return found.sort();
}

export function readSource(file: string): string {
  return readFileSync(repoPath(file), 'utf8');
}
