// Which system packages the build needs, which of them are missing, and how to install those. The decisions are pure
// functions over what was probed; only ensureSystemPackages touches the machine.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { SetupError } from './console.mjs';
import { runLogged } from './run-command.mjs';

/**
 * One need: satisfied when any of `tools` is on PATH or any of `headers` is on the compiler's search path, whoever put
 * it there. `usedBy`: needed only where a native source includes from that folder.
 */
export const REQUIREMENTS = [
  { package: 'g++', purpose: 'C++20 compiler', tools: ['g++', 'c++', 'clang++'] },
  { package: 'cmake', purpose: 'native build', tools: ['cmake'] },
  { package: 'ninja-build', purpose: 'native build', tools: ['ninja'] },
  { package: 'libgloo-dev', purpose: 'Gloo: collectives over TCP', headers: ['gloo/context.h'] },
  { package: 'libhwy-dev', purpose: 'Highway: SIMD', headers: ['hwy/highway.h'], usedBy: 'hwy' },
  {
    package: 'libdnnl-dev',
    purpose: 'oneDNN: the yardstick of our CPU kernels, in tests and benchmarks',
    headers: ['oneapi/dnnl/dnnl.hpp', 'dnnl.hpp'],
    testsOnly: true,
  },
  { package: 'libgtest-dev', purpose: 'native unit tests', headers: ['gtest/gtest.h'], testsOnly: true },
];

/** What some tests use and are skipped without. `only`: the one distribution whose package serves. */
export const OPTIONAL_TEST_REQUIREMENTS = [
  {
    package: 'chromium',
    purpose: 'the page in a browser',
    tools: ['chromium', 'chromium-browser', 'google-chrome'],
    // Ubuntu's is a snap, which needs a running snapd.
    only: 'debian',
  },
  { package: 'python3-pip', purpose: "OpenAI's Python client", pythonModules: ['pip'] },
];

/** What `npm run fuzz` needs beside these; no test does. */
export const FUZZ_REQUIREMENTS = [
  { package: 'clang', purpose: 'the compiler of libFuzzer', tools: ['clang++'] },
  { package: 'libclang-rt-dev', purpose: 'libFuzzer and its sanitizers', tools: ['clang++'] },
  ...REQUIREMENTS.filter((need) => need.tools?.some((tool) => tool === 'cmake' || tool === 'ninja')),
];

/** What `npm run test:deploy` needs: Prometheus scrapes a served model, promtool checks the alerts. */
export const DEPLOY_REQUIREMENTS = [
  { package: 'prometheus', purpose: 'Prometheus and promtool', tools: ['promtool'] },
];

/** What fetches the CUDA toolkit where none is installed. */
export const PYPI_REQUIREMENTS = [
  { package: 'python3-pip', purpose: "PyPI's packages of CUDA", pythonModules: ['pip'] },
];

/** Requirements that apply to this source tree and purpose. */
export function applicableRequirements({ tests, includedFolders }) {
  return REQUIREMENTS.filter((need) => {
    if (need.testsOnly === true && !tests) return false;
    return need.usedBy === undefined || includedFolders.has(need.usedBy);
  });
}

/**
 * @param probe {{hasTool: (name: string) => boolean, hasHeader: (name: string) => boolean,
 *   hasPythonModule: (name: string) => boolean}}
 */
export function missingRequirements(requirements, probe) {
  return requirements.filter(
    (need) =>
      !(need.tools ?? []).some(probe.hasTool) &&
      !(need.headers ?? []).some(probe.hasHeader) &&
      !(need.pythonModules ?? []).some(probe.hasPythonModule),
  );
}

/** /etc/os-release as an object. */
export function parseOsRelease(text) {
  const entries = [...text.matchAll(/^([A-Z_]+)="?(.*?)"?$/gm)].map((match) => [match[1], match[2]]);
  return Object.fromEntries(entries);
}

/**
 * How to get the missing packages: {kind: 'none'} | {kind: 'install', prefix} | {kind: 'refuse', message}.
 * `facts`: {osRelease, isRoot, hasAptGet, hasPasswordlessSudo}.
 */
export function planInstallation(missing, facts) {
  if (missing.length === 0) return { kind: 'none' };
  const packages = missing.map((need) => need.package).join(' ');
  const distribution = facts.osRelease['PRETTY_NAME'] ?? facts.osRelease['ID'] ?? 'this system';
  if (!facts.hasAptGet) {
    const wanted = missing.map((need) => `${need.package} (${need.purpose})`).join(', ');
    const message = `${distribution} has no apt-get; install what these Debian packages hold, then run this again: ${wanted}`;
    return { kind: 'refuse', message };
  }
  if (facts.isRoot) return { kind: 'install', prefix: [] };
  if (facts.hasPasswordlessSudo) return { kind: 'install', prefix: ['sudo', '-n'] };
  const command = `sudo apt-get update && sudo apt-get install -y --no-install-recommends ${packages}`;
  return {
    kind: 'refuse',
    message: `system packages are missing and need rights to install; run: ${command}`,
  };
}

export function findTool(name, searchPath = process.env['PATH'] ?? '') {
  return searchPath.split(':').some((folder) => folder !== '' && isExecutable(path.join(folder, name)));
}

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function findHeader(name) {
  const fromEnvironment = [process.env['CPATH'], process.env['CPLUS_INCLUDE_PATH']].flatMap(
    (v) => v?.split(':') ?? [],
  );
  const folders = [
    '/usr/include',
    '/usr/local/include',
    ...fromEnvironment.filter((folder) => folder !== ''),
  ];
  return folders.some((folder) => existsSync(path.join(folder, name)));
}

function hasPythonModule(name) {
  return spawnSync('python3', ['-m', name, '--version'], { stdio: 'ignore' }).status === 0;
}

const probe = { hasTool: (name) => findTool(name), hasHeader: findHeader, hasPythonModule };

/** First folders of the angle-bracket includes of the native sources: {'hwy', 'gloo', …}. */
export function includedFolders(repoRoot, nativeFiles) {
  const folders = new Set();
  for (const file of nativeFiles) {
    const text = readFileSync(path.join(repoRoot, file), 'utf8');
    for (const match of text.matchAll(/^\s*#\s*include\s*[<"]([a-z_0-9]+)\//gm)) folders.add(match[1]);
  }
  return folders;
}

export async function ensureSystemPackages({ repoRoot, nativeFiles, tests, logFile, reporter }) {
  const requirements = applicableRequirements({
    tests,
    includedFolders: includedFolders(repoRoot, nativeFiles),
  });
  await ensureRequirements({ requirements, repoRoot, logFile, reporter });
  if (tests) await tryOptionalRequirements({ repoRoot, logFile, reporter });
}

/** Those of the optional that are to be installed: where it takes no rights that are not there. */
export function optionalToInstall(missing, facts) {
  if (planInstallation(missing, facts).kind !== 'install') return [];
  return missing.filter(({ only }) => only === undefined || only === facts.osRelease['ID']);
}

async function tryOptionalRequirements({ repoRoot, logFile, reporter }) {
  const missing = missingRequirements(OPTIONAL_TEST_REQUIREMENTS, probe);
  if (missing.length === 0) return;
  const facts = machineFacts();
  const plan = planInstallation(missing, facts);
  const packages = optionalToInstall(missing, facts).map((need) => need.package);
  if (packages.length === 0) return;
  reporter.step(`installing system packages that some tests use: ${packages.join(' ')}`);
  try {
    await aptInstall({ packages, prefix: plan.prefix, logFile, reporter, repoRoot });
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    reporter.line(`skein: ${packages.join(' ')} cannot be had; the tests that use them are skipped`);
  }
}

/** Installs those that are missing, or refuses with the command that does. */
export async function ensureRequirements({ requirements, repoRoot, logFile, reporter }) {
  const missing = missingRequirements(requirements, probe);
  const plan = planInstallation(missing, missing.length === 0 ? null : machineFacts());
  if (plan.kind === 'none') return;
  if (plan.kind === 'refuse') throw new SetupError(plan.message);
  const packages = missing.map((need) => need.package);
  reporter.step(`installing system packages: ${packages.join(' ')}`);
  await aptInstall({ packages, prefix: plan.prefix, logFile, reporter, repoRoot });
  const still = missingRequirements(requirements, probe).map((need) => need.package);
  if (still.length > 0)
    throw new SetupError(`installed, but still not found: ${still.join(' ')}; see ${logFile}`);
}

function machineFacts() {
  const hasAptGet = findTool('apt-get');
  const isRoot = process.getuid?.() === 0;
  const osRelease = existsSync('/etc/os-release')
    ? parseOsRelease(readFileSync('/etc/os-release', 'utf8'))
    : {};
  const needsSudo = hasAptGet && !isRoot && findTool('sudo');
  const hasPasswordlessSudo =
    needsSudo && spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0;
  return { osRelease, isRoot, hasAptGet, hasPasswordlessSudo };
}

async function aptInstall({ packages, prefix, logFile, reporter, repoRoot }) {
  const apt = (what, args, append) => {
    const [command, ...rest] = [...prefix, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...args];
    const onLine = (line) => {
      if (/^(Get:|Unpacking|Setting up)/.test(line)) reporter.progress(line.replace(/ \.\.\.$/, ''));
    };
    return runLogged({ what, command, args: rest, cwd: repoRoot, logFile, append, onLine });
  };
  const install = ['install', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=120', ...packages];
  if (hasPackageLists()) {
    try {
      await apt('apt-get install', install, false);
      return;
    } catch (error) {
      if (!(error instanceof SetupError)) throw error;
      // Old package lists name versions that the mirrors no longer have; fresh ones follow.
    }
  }
  await apt('apt-get update', ['update'], true);
  await apt('apt-get install', install, true);
}

function hasPackageLists() {
  const folder = '/var/lib/apt/lists';
  return existsSync(folder) && readdirSync(folder).some((file) => /_Packages(\.|$)/.test(file));
}
