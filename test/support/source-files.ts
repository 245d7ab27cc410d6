// The repository's own source files, for the tests in test/tidy: generated code, outputs and data are not among them.
import { readFileSync, readdirSync } from 'node:fs';
import { repoPath } from './paths.js';

const SOURCE_FOLDERS = [
  'bench',
  'bench-serve',
  'bin',
  'common',
  'coordinator',
  'deploy',
  'models',
  'native',
  'page',
  'proto',
  'scripts',
  'test',
  'worker',
];
const GENERATED = /^proto\/ts\//;
const SOURCE_FILE = /\.(tsx?|mjs|cjs|js|cc|h|cu|cuh|proto|py|sh)$/;
const TOP = readdirSync(repoPath('.'), { withFileTypes: true });
/** What a build makes and what a user has need not exist in a checkout. */
const NOT_OURS = new Set(['.cache', '.git', 'build', 'dist', 'node_modules']);

/** Folders of the repository's root that are ours, sorted. */
export const OUR_FOLDERS = TOP.filter((entry) => entry.isDirectory() && !NOT_OURS.has(entry.name))
  .map(({ name }) => name)
  .sort();

/** Paths from the repository's root with forward slashes, sorted. */
export function sourceFiles(accept: RegExp = SOURCE_FILE): string[] {
  return filesBelow(SOURCE_FOLDERS, (file) => SOURCE_FILE.test(file) && accept.test(file)).sort();
}

/** Every Markdown file of ours. */
export function documentFiles(): string[] {
  const atTop = TOP.filter(({ name }) => name.endsWith('.md')).map(({ name }) => name);
  const folders = OUR_FOLDERS.filter((name) => !name.startsWith('.'));
  return [...atTop, ...filesBelow(folders, (file) => file.endsWith('.md'))].sort();
}

/** Every file of ours that `accept` takes, those in the repository's root included. */
export function allFiles(accept: (file: string) => boolean): string[] {
  const atTop = TOP.filter((entry) => entry.isFile()).map(({ name }) => name);
  return [...atTop.filter(accept), ...filesBelow(OUR_FOLDERS, accept)].sort();
}

function filesBelow(folders: readonly string[], accept: (file: string) => boolean): string[] {
  const found: string[] = [];
  const visit = (folder: string): void => {
    for (const entry of readdirSync(repoPath(folder), { withFileTypes: true })) {
      const file = `${folder}/${entry.name}`;
      if (entry.isDirectory()) visit(file);
      else if (!GENERATED.test(file) && accept(file)) found.push(file);
    }
  };
  for (const folder of folders) if (OUR_FOLDERS.includes(folder)) visit(folder);
  return found;
}

export function readSource(file: string): string {
  return readFileSync(repoPath(file), 'utf8');
}
