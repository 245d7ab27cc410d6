// Compiles the TypeScript into dist/ and keeps dist/ exact: no output of a deleted source stays, none is missing.
// tsc is started only when an input or an output changed since the last build that finished.
import { existsSync, readdirSync, rmSync, rmdirSync } from 'node:fs';
import path from 'node:path';
import { decideStep, fingerprint, listFiles, readStamp, removeStamp, writeStamp } from './fingerprint.mjs';
import { runLogged } from './run-command.mjs';

/** As in tsconfig.json's include. */
export const SOURCE_FOLDERS = [
  'common',
  'proto',
  'coordinator',
  'worker',
  'bench-serve',
  'page/logic',
  'test',
  'bench',
];
/** What page-build.mjs makes. */
const BUNDLES = 'dist/page/site/';
const OTHER_INPUTS = ['tsconfig.json', 'node_modules/.package-lock.json'];
const STAMP = 'dist/.skein-stamp';
const BUILD_INFO = 'dist/.tsbuildinfo';

function typescriptSources(repoRoot) {
  const isSource = (file) => file.endsWith('.ts') && !file.endsWith('.d.ts');
  return SOURCE_FOLDERS.flatMap((folder) => listFiles(repoRoot, folder, isSource));
}

/** What tsc writes for the sources: a module and its source map each. */
export function expectedOutputs(sources) {
  return sources.flatMap((file) => {
    const module = `dist/${file.slice(0, -'.ts'.length)}.js`;
    return [module, `${module}.map`];
  });
}

/** Compiled files with no source any more: a deleted test among them would still run. */
export function staleOutputs(found, expected) {
  const wanted = new Set(expected);
  return found.filter((file) => !wanted.has(file));
}

export async function ensureTypescriptBuild({ repoRoot, logFile, reporter }) {
  const sources = typescriptSources(repoRoot);
  const outputFiles = expectedOutputs(sources);
  const inputs = () => fingerprint(repoRoot, [...sources, ...OTHER_INPUTS]);
  const outputs = () => fingerprint(repoRoot, outputFiles);
  prune(repoRoot, outputFiles);
  const before = inputs();
  const stampFile = path.join(repoRoot, STAMP);
  const decision = decideStep({ stamp: readStamp(stampFile), inputs: before, outputs: outputs() });
  if (decision === 'nothing') return;
  removeStamp(stampFile);
  // tsc trusts its own record over the files in dist; without the record it writes them all.
  if (decision === 'rebuild') rmSync(path.join(repoRoot, BUILD_INFO), { force: true });
  reporter.step('compiling TypeScript');
  await runLogged({
    what: 'tsc',
    command: process.execPath,
    args: ['node_modules/typescript/bin/tsc', '-p', '.'],
    cwd: repoRoot,
    logFile,
  });
  writeStamp(stampFile, { inputs: before, outputs: outputs() });
}

function prune(repoRoot, expected) {
  const compiled = listFiles(
    repoRoot,
    'dist',
    (file) => /\.js(\.map)?$/.test(file) && !file.startsWith(BUNDLES),
  );
  for (const file of staleOutputs(compiled, expected)) rmSync(path.join(repoRoot, file));
  removeEmptyFolders(path.join(repoRoot, 'dist'));
}

function removeEmptyFolders(folder) {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeEmptyFolders(path.join(folder, entry.name));
  }
  if (readdirSync(folder).length === 0) rmdirSync(folder);
}
