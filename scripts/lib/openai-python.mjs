// Brings OpenAI's Python client for the tests that use it: pinned wheels from PyPI, checked against the hashes of
// test/http/python/requirements.txt, in a folder of their own below .cache/tools. Where it cannot be had, those tests
// are skipped with the reason.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { SetupError } from './console.mjs';
import { runLogged } from './run-command.mjs';

const REQUIREMENTS = path.join('test', 'http', 'python', 'requirements.txt');
/** What the wheels were locked for. */
const VERSIONS = { oldest: [3, 11], newest: [3, 13] };
const PROBE = 'import sys; print(sys.implementation.name, *sys.version_info[:2])';

/** [major, minor] of what PROBE prints, or the reason why the wheels are not for that interpreter. */
export function supportedPython(text) {
  const [name, major, minor] = text.trim().split(' ');
  const { oldest, newest } = VERSIONS;
  const isSupported =
    name === 'cpython' && Number(major) === 3 && Number(minor) >= oldest[1] && Number(minor) <= newest[1];
  if (isSupported) return { version: [Number(major), Number(minor)] };
  const wanted = `CPython ${oldest.join('.')} to ${newest.join('.')}`;
  return { reason: `the client's wheels are locked for ${wanted}; python3 is ${name} ${major}.${minor}` };
}

function findPython() {
  const { status, stdout } = spawnSync('python3', ['-c', PROBE], { encoding: 'utf8' });
  return status === 0 ? supportedPython(stdout) : { reason: 'there is no python3' };
}

function siteFolder(repoRoot, [major, minor]) {
  const digest = createHash('sha256')
    .update(readFileSync(path.join(repoRoot, REQUIREMENTS)))
    .digest('hex');
  return path.join(repoRoot, '.cache', 'tools', `openai-python-${digest.slice(0, 12)}-py${major}.${minor}`);
}

/** {site}: the folder for PYTHONPATH, or {reason}: why there is none. */
export function findOpenaiPython(repoRoot) {
  const python = findPython();
  if (python.reason !== undefined) return python;
  const site = siteFolder(repoRoot, python.version);
  return existsSync(site)
    ? { site }
    : { reason: "OpenAI's Python client is not installed: npm run setup -- --tests" };
}

/** Installs it where it is not there; a failure is told, and costs only the tests that use it. */
export async function tryOpenaiPython({ repoRoot, logFile, reporter }) {
  const python = findPython();
  if (python.reason !== undefined) return;
  const site = siteFolder(repoRoot, python.version);
  if (existsSync(site)) return;
  reporter.step("installing OpenAI's Python client from PyPI, for tests");
  const workshop = `${site}-${process.pid}`;
  const flags = ['--no-deps', '--only-binary=:all:', '--require-hashes', '--no-compile', '--retries', '1'];
  try {
    mkdirSync(workshop, { recursive: true });
    await runLogged({
      what: 'pip',
      command: 'python3',
      args: ['-m', 'pip', 'install', ...flags, '--timeout', '15', '--target', workshop, '-r', REQUIREMENTS],
      cwd: repoRoot,
      logFile,
    });
    // An import that works, so that what is found later is whole.
    const env = { ...process.env, PYTHONPATH: workshop, PYTHONDONTWRITEBYTECODE: '1' };
    const { status, stderr } = spawnSync('python3', ['-c', 'import openai'], { env, encoding: 'utf8' });
    if (status !== 0)
      throw new SetupError('the installed client cannot be imported', stderr.trim().split('\n'));
    renameSync(workshop, site);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    reporter.line(`skein: OpenAI's Python client cannot be had (${error.message}); its tests are skipped`);
  } finally {
    rmSync(workshop, { recursive: true, force: true });
  }
}
