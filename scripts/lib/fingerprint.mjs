// Tells cheaply whether a build step is up to date: a digest over (path, size, mtime) of its inputs and of its outputs,
// kept in a stamp file among the outputs. A step removes its stamp before it begins and writes it when it is done, so
// that an interrupted run, a deleted output and a switched branch all lead to running the step again.
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';

/**
 * Files below a folder, or the file itself, as paths from root with forward slashes, sorted; [] where there is none.
 */
export function listFiles(root, relative, accept = () => true) {
  const start = path.join(root, relative);
  const stat = statSync(start, { throwIfNoEntry: false });
  if (stat === undefined) return [];
  if (!stat.isDirectory()) return accept(relative) ? [relative] : [];
  const found = [];
  const visit = (folder) => {
    for (const entry of readdirSync(path.join(root, folder), { withFileTypes: true })) {
      const file = `${folder}/${entry.name}`;
      if (entry.isDirectory()) visit(file);
      else if (accept(file)) found.push(file);
    }
  };
  visit(relative);
  return found.sort();
}

/** Digest of names, sizes and times; a file that is missing counts as such. `extra` holds whatever else decides. */
export function fingerprint(root, files, extra = []) {
  const hash = createHash('sha256');
  for (const item of extra) hash.update(`${item}\0`);
  for (const file of files) {
    const stat = statSync(path.join(root, file), { throwIfNoEntry: false });
    hash.update(stat === undefined ? `${file}\0missing\0` : `${file}\0${stat.size}\0${stat.mtimeMs}\0`);
  }
  return hash.digest('hex');
}

/** {inputs, outputs} of the last run that finished, or null. */
export function readStamp(file) {
  try {
    const stamp = JSON.parse(readFileSync(file, 'utf8'));
    return typeof stamp.inputs === 'string' && typeof stamp.outputs === 'string' ? stamp : null;
  } catch {
    // None, or one that a crash cut short: the step runs again.
    return null;
  }
}

export function writeStamp(file, stamp) {
  mkdirSync(path.dirname(file), { recursive: true });
  const scratch = `${file}.${process.pid}`;
  writeFileSync(scratch, JSON.stringify(stamp));
  renameSync(scratch, file);
}

export function removeStamp(file) {
  if (existsSync(file)) rmSync(file);
}

/**
 * What to do about a step: 'nothing', 'update' (the outputs are as the last run left them, the inputs moved on), or
 * 'rebuild' (no finished run, or somebody touched the outputs).
 */
export function decideStep({ stamp, inputs, outputs }) {
  if (stamp === null || stamp.outputs !== outputs) return 'rebuild';
  return stamp.inputs === inputs ? 'nothing' : 'update';
}
