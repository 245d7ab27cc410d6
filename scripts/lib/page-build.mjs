// Bundles the page of the HTTP server into dist/page/site: scripts, style sheet and icon under names with a hash of
// what is in them, and the one document that names them. esbuild is started only when an input or an output changed.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { SetupError } from './console.mjs';
import { decideStep, fingerprint, listFiles, readStamp, removeStamp, writeStamp } from './fingerprint.mjs';

const SITE_FOLDER = 'dist/page/site';
const STAMP = 'dist/page/.skein-stamp';
/** What the page imports of ours; and what it is bundled from and by. */
const SOURCE_FOLDERS = ['page', 'common'];
const OTHER_INPUTS = ['scripts/lib/page-build.mjs', 'node_modules/.package-lock.json'];
/** As the document calls them. */
const ENTRIES = {
  'main.js': 'page/app/main.tsx',
  'theme.js': 'page/app/theme-entry.ts',
  'main.css': 'page/styles/main.css',
};
/** Bundled with it; their licences want to be where they are. */
const LIBRARIES = ['preact', 'temml'];
const LICENCES = 'licences.txt';
const COPIED = { 'icon.svg': 'page/icon.svg' };
const DOCUMENT = 'page/index.html';
/** Browsers of the last two years or so. */
const TARGETS = ['chrome123', 'firefox128', 'safari17.5'];

export async function ensurePageBuild({ repoRoot, reporter }) {
  const sources = SOURCE_FOLDERS.flatMap((folder) => listFiles(repoRoot, folder));
  const inputs = () => fingerprint(repoRoot, [...sources, ...OTHER_INPUTS]);
  const outputs = () => fingerprint(repoRoot, listFiles(repoRoot, SITE_FOLDER));
  const stampFile = path.join(repoRoot, STAMP);
  const before = inputs();
  const stamp = readStamp(stampFile);
  if (decideStep({ stamp, inputs: before, outputs: outputs() }) === 'nothing') return;
  removeStamp(stampFile);
  reporter.step('bundling the page');
  const site = path.join(repoRoot, SITE_FOLDER);
  rmSync(site, { recursive: true, force: true });
  mkdirSync(site, { recursive: true });
  for (const [name, contents] of await buildSite(repoRoot)) writeFileSync(path.join(site, name), contents);
  writeStamp(stampFile, { inputs: before, outputs: outputs() });
}

/** The files of the site by name. */
export async function buildSite(repoRoot) {
  const files = new Map();
  const names = new Map();
  const add = (name, contents) => {
    const hashed = hashedName(name, contents);
    names.set(name, hashed);
    files.set(hashed, contents);
  };
  for (const [name, entry] of Object.entries(ENTRIES)) add(name, await bundle(repoRoot, entry));
  for (const [name, file] of Object.entries(COPIED)) add(name, readFileSync(path.join(repoRoot, file)));
  files.set(LICENCES, licences(repoRoot));
  files.set('index.html', fillIn(readFileSync(path.join(repoRoot, DOCUMENT), 'utf8'), names));
  return files;
}

async function bundle(repoRoot, entry) {
  const { build } = await import('esbuild');
  const { outputFiles } = await build({
    absWorkingDir: repoRoot,
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    format: entry.endsWith('.css') ? undefined : 'iife',
    target: TARGETS,
    jsx: 'automatic',
    jsxImportSource: 'preact',
    charset: 'utf8',
    legalComments: 'none',
    banner: entry.endsWith('.css') ? {} : { js: `// Licences: ${LICENCES}` },
    logLevel: 'silent',
  }).catch((error) => {
    throw new SetupError(`the page cannot be bundled: ${error.message}`);
  });
  return Buffer.from(outputFiles[0].contents);
}

function licences(repoRoot) {
  const texts = LIBRARIES.map((name) => {
    const folder = path.join(repoRoot, 'node_modules', name);
    const { version } = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'));
    return `${name} ${version}\n\n${readFileSync(path.join(folder, 'LICENSE'), 'utf8').trim()}\n`;
  });
  return texts.join('\n\n');
}

/** main.js -> main-1f2e3d4c5b6a.js */
export function hashedName(name, contents) {
  const hash = createHash('sha256').update(contents).digest('hex').slice(0, 12);
  const { name: stem, ext } = path.parse(name);
  return `${stem}-${hash}${ext}`;
}

/** {{main.js}} -> assets/main-1f2e3d4c5b6a.js, relative to the document: a proxy may put it below a path. */
export function fillIn(document, names) {
  return document.replace(/\{\{([\w.]+)\}\}/g, (_, name) => {
    const hashed = names.get(name);
    if (hashed === undefined) throw new SetupError(`the page names ${name}, which is not built`);
    return `assets/${hashed}`;
  });
}
