// One set-up at a time in a working tree: two that compile into the same folders would break each other's outputs.
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs';
import path from 'node:path';

const RETRY_MS = 200;
const GRACE_MS = 2000;

/** Runs `action` while holding the lock file; waits for a holder that lives, takes over from one that died. */
export async function withLock(file, reporter, action) {
  mkdirSync(path.dirname(file), { recursive: true });
  let hasSaidSo = false;
  while (!tryAcquire(file)) {
    if (!hasSaidSo) reporter.line('skein: waiting for another set-up of this folder to finish');
    hasSaidSo = true;
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
  const release = () => rmSync(file, { force: true });
  process.on('exit', release);
  try {
    return await action();
  } finally {
    process.off('exit', release);
    release();
  }
}

function tryAcquire(file) {
  try {
    const handle = openSync(file, 'wx');
    writeSync(handle, String(process.pid));
    closeSync(handle);
    return true;
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
  }
  if (!holderLives(file)) rmSync(file, { force: true });
  return false;
}

function holderLives(file) {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat === undefined) return true;
  const pid = Number(readFileSync(file, 'utf8'));
  if (!Number.isSafeInteger(pid) || pid <= 0) {
    // Just created and not yet written, unless its creator died in between.
    return Date.now() - stat.mtimeMs < GRACE_MS;
  }
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}
