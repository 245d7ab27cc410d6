// Brings node_modules to what package-lock.json says, with no install scripts. Whether it agrees already is told from
// the lock file that npm writes as the last act of an installation (node_modules/.package-lock.json).
import { existsSync, lstatSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { SetupError } from './console.mjs';
import { runLogged } from './run-command.mjs';

/**
 * Names of packages that are missing or differ. `locked` and `installed` are the `packages` maps of the two lock files;
 * `platform`: {os, cpu, libc} of this machine; optional packages for other platforms need not be there.
 */
export function differingPackages({ locked, installed, platform, hasFolder }) {
  const differing = [];
  for (const [location, wanted] of Object.entries(locked)) {
    if (location === '' || wanted.link === true) continue;
    const found = installed[location];
    if (found === undefined) {
      if (wanted.optional !== true || isMadeFor(wanted, platform)) differing.push(location);
    } else if (
      found.version !== wanted.version ||
      found.integrity !== wanted.integrity ||
      !hasFolder(location)
    ) {
      differing.push(location);
    }
  }
  return differing;
}

/** Whether an optional package names this very platform: those without a processor are fallbacks that npm may skip. */
function isMadeFor(entry, platform) {
  if (entry.cpu === undefined) return false;
  return (
    allows(entry.os, platform.os) && allows(entry.cpu, platform.cpu) && allows(entry.libc, platform.libc)
  );
}

function allows(list, value) {
  if (list === undefined) return true;
  return list.includes(value) || (list.every((item) => item.startsWith('!')) && !list.includes(`!${value}`));
}

export async function ensureNpmPackages({ repoRoot, logFile, reporter }) {
  const modules = path.join(repoRoot, 'node_modules');
  const lockText = readFileSync(path.join(repoRoot, 'package-lock.json'), 'utf8');
  const locked = JSON.parse(lockText).packages;
  const differing = () => {
    const hidden = path.join(modules, '.package-lock.json');
    if (!existsSync(hidden)) return ['node_modules'];
    const installed = JSON.parse(readFileSync(hidden, 'utf8')).packages;
    const hasFolder = (location) => existsSync(path.join(repoRoot, location, 'package.json'));
    return differingPackages({ locked, installed, platform: thisPlatform(), hasFolder });
  };
  if (differing().length === 0) return;
  if (isLink(modules)) {
    throw new SetupError(
      `node_modules is a link and does not match package-lock.json; update what it points to: npm ci`,
    );
  }
  reporter.step(`installing npm packages (${Object.keys(locked).length - 1} in the lock file)`);
  const { command, args } = npmCommand();
  await runLogged({
    what: 'npm ci',
    command,
    args: [...args, 'ci', '--ignore-scripts', '--no-audit', '--no-fund'],
    cwd: repoRoot,
    logFile,
  });
  const still = differing();
  if (still.length > 0)
    throw new SetupError(`npm ci ended well but these differ from package-lock.json: ${still.join(', ')}`);
}

function isLink(file) {
  return lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink() === true;
}

function thisPlatform() {
  return {
    os: process.platform,
    cpu: process.arch,
    libc: existsSync('/etc/alpine-release') ? 'musl' : 'glibc',
  };
}

/** The npm that started this script, or the one on PATH. */
function npmCommand() {
  const cli = process.env['npm_execpath'];
  if (cli !== undefined && /npm-cli\.[cm]?js$/.test(cli)) return { command: process.execPath, args: [cli] };
  return { command: 'npm', args: [] };
}
