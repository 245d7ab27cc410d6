// What the set-up decides, on machines and trees that are made up: which packages, which steps, which files.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { repoPath } from '../../support/paths.js';
import { loadScript } from '../../support/scripts.js';

interface Requirement {
  package: string;
}
interface Facts {
  osRelease: Record<string, string>;
  isRoot: boolean;
  hasAptGet: boolean;
  hasPasswordlessSudo: boolean;
}
interface SystemPackages {
  REQUIREMENTS: Requirement[];
  PYPI_REQUIREMENTS: Requirement[];
  applicableRequirements: (options: { tests: boolean; includedFolders: Set<string> }) => Requirement[];
  missingRequirements: (
    requirements: Requirement[],
    probe: Record<'hasTool' | 'hasHeader' | 'hasPythonModule', (name: string) => boolean>,
  ) => Requirement[];
  parseOsRelease: (text: string) => Record<string, string>;
  planInstallation: (
    missing: Requirement[],
    facts: Facts | null,
  ) => { kind: string; prefix?: string[]; message?: string };
  OPTIONAL_TEST_REQUIREMENTS: Requirement[];
  optionalToInstall: (missing: Requirement[], facts: Facts) => Requirement[];
}
interface LockEntry {
  version?: string;
  integrity?: string;
  optional?: boolean;
  link?: boolean;
  os?: string[];
  cpu?: string[];
  libc?: string[];
}
interface NpmPackages {
  differingPackages: (options: {
    locked: Record<string, LockEntry>;
    installed: Record<string, LockEntry>;
    platform: { os: string; cpu: string; libc: string };
    hasFolder: (location: string) => boolean;
  }) => string[];
}
interface NativeBuild {
  numJobs: (cores: number, memoryBytes: number) => number;
  nativeGoal: (
    sources: string[],
    tests: boolean,
  ) => { inputs: string[]; outputs: string[]; targets: string[] };
  cacheBelongsTo: (cache: string, folder: string) => boolean;
}
interface TypescriptBuild {
  SOURCE_FOLDERS: string[];
  expectedOutputs: (sources: string[]) => string[];
  staleOutputs: (found: string[], expected: string[]) => string[];
}

const GIB = 1024 ** 3;

describe('system packages', () => {
  let packages: SystemPackages;
  const facts: Facts = {
    osRelease: { ID: 'debian', PRETTY_NAME: 'Debian GNU/Linux 12 (bookworm)' },
    isRoot: false,
    hasAptGet: true,
    hasPasswordlessSudo: false,
  };
  const names = (requirements: Requirement[]): string[] => requirements.map((need) => need.package);

  before(async () => {
    packages = await loadScript<SystemPackages>('system-packages.mjs');
  });

  it('are asked for only where the sources or the tests use them', () => {
    const bare = names(packages.applicableRequirements({ tests: false, includedFolders: new Set(['gloo']) }));
    assert.deepEqual(bare, ['g++', 'cmake', 'ninja-build', 'libgloo-dev']);
    const all = packages.applicableRequirements({ tests: true, includedFolders: new Set(['hwy']) });
    assert.deepEqual(names(all), names(packages.REQUIREMENTS));
  });

  it('are satisfied by any tool or header that serves', () => {
    const missing = packages.missingRequirements(packages.REQUIREMENTS, {
      hasTool: (name) => ['clang++', 'cmake'].includes(name),
      hasHeader: (name) => ['dnnl.hpp', 'gtest/gtest.h', 'hwy/highway.h'].includes(name),
      hasPythonModule: () => false,
    });
    assert.deepEqual(names(missing), ['ninja-build', 'libgloo-dev']);
  });

  it('are pip too where the CUDA toolkit comes from PyPI: a bare Debian has python3 at most', () => {
    const probe = { hasTool: (name: string) => name === 'python3', hasHeader: () => false };
    const missing = packages.missingRequirements(packages.PYPI_REQUIREMENTS, {
      ...probe,
      hasPythonModule: () => false,
    });
    assert.deepEqual(names(missing), ['python3-pip']);
    assert.deepEqual(
      packages.missingRequirements(packages.PYPI_REQUIREMENTS, {
        ...probe,
        hasPythonModule: (name) => name === 'pip',
      }),
      [],
    );
  });

  it('are installed by root, or through sudo that asks nothing', () => {
    const missing = packages.REQUIREMENTS.slice(0, 2);
    assert.deepEqual(packages.planInstallation([], null), { kind: 'none' });
    assert.deepEqual(packages.planInstallation(missing, { ...facts, isRoot: true }), {
      kind: 'install',
      prefix: [],
    });
    assert.deepEqual(packages.planInstallation(missing, { ...facts, hasPasswordlessSudo: true }), {
      kind: 'install',
      prefix: ['sudo', '-n'],
    });
  });

  it('are named in the exact command where rights are missing', () => {
    const plan = packages.planInstallation(packages.REQUIREMENTS.slice(0, 2), facts);
    assert.equal(plan.kind, 'refuse');
    assert.match(
      plan.message ?? '',
      /run: sudo apt-get update && sudo apt-get install -y --no-install-recommends g\+\+ cmake$/,
    );
  });

  it('that only some tests use are installed by those who may, and Chromium on Debian alone', () => {
    const missing = packages.OPTIONAL_TEST_REQUIREMENTS;
    const chosen = (id: string, isRoot = true): string[] =>
      names(packages.optionalToInstall(missing, { ...facts, isRoot, osRelease: { ID: id } }));
    assert.deepEqual(chosen('debian'), ['chromium', 'python3-pip']);
    assert.deepEqual(chosen('ubuntu'), ['python3-pip']);
    assert.deepEqual(chosen('debian', false), []);
  });

  it('are named with their purpose on systems without apt', () => {
    const osRelease = packages.parseOsRelease(
      'NAME="Fedora Linux"\nID=fedora\nPRETTY_NAME="Fedora Linux 42"\n',
    );
    assert.equal(osRelease['ID'], 'fedora');
    const plan = packages.planInstallation(packages.REQUIREMENTS.slice(3, 4), {
      ...facts,
      osRelease,
      hasAptGet: false,
    });
    assert.equal(plan.kind, 'refuse');
    assert.match(
      plan.message ?? '',
      /^Fedora Linux 42 has no apt-get; .*libgloo-dev \(Gloo: collectives over TCP\)$/,
    );
  });
});

describe('npm packages', () => {
  const platform = { os: 'linux', cpu: 'x64', libc: 'glibc' };
  const locked: Record<string, LockEntry> = {
    '': {},
    'node_modules/a': { version: '1.0.0', integrity: 'sha512-a' },
    'node_modules/b-linux-x64': {
      version: '1.0.0',
      optional: true,
      os: ['linux'],
      cpu: ['x64'],
      libc: ['glibc'],
    },
    'node_modules/b-linuxmusl-x64': {
      version: '1.0.0',
      optional: true,
      os: ['linux'],
      cpu: ['x64'],
      libc: ['musl'],
    },
    'node_modules/b-darwin-arm64': { version: '1.0.0', optional: true, os: ['darwin'], cpu: ['arm64'] },
    'node_modules/b-not-win': { version: '1.0.0', optional: true, os: ['!win32'], cpu: ['x64'] },
    'node_modules/b-wasm': { version: '1.0.0', optional: true },
  };
  const {
    ['node_modules/a']: a = {},
    ['node_modules/b-linux-x64']: b = {},
    ['node_modules/b-not-win']: c = {},
  } = locked;
  const installed = { 'node_modules/a': a, 'node_modules/b-linux-x64': b, 'node_modules/b-not-win': c };
  let differing: (
    installed: Record<string, LockEntry>,
    hasFolder?: (location: string) => boolean,
  ) => string[];

  before(async () => {
    const { differingPackages } = await loadScript<NpmPackages>('npm-packages.mjs');
    differing = (found, hasFolder = () => true) =>
      differingPackages({ locked, installed: found, platform, hasFolder });
  });

  it('agree when all for this platform are there', () => {
    assert.deepEqual(differing(installed), []);
  });

  it('differ when one is missing, of another version or content, or its folder is gone', () => {
    assert.deepEqual(differing({}), ['node_modules/a', 'node_modules/b-linux-x64', 'node_modules/b-not-win']);
    assert.deepEqual(differing({ ...installed, 'node_modules/a': { ...a, version: '1.0.1' } }), [
      'node_modules/a',
    ]);
    assert.deepEqual(differing({ ...installed, 'node_modules/a': { ...a, integrity: 'sha512-x' } }), [
      'node_modules/a',
    ]);
    assert.deepEqual(
      differing(installed, (location) => location !== 'node_modules/a'),
      ['node_modules/a'],
    );
  });
});

describe('the native build', () => {
  let build: NativeBuild;
  const sources = [
    'native/CMakeLists.txt',
    'native/addon/addon.cc',
    'native/core/a.cc',
    'native/test/a_test.cc',
  ];

  before(async () => {
    build = await loadScript<NativeBuild>('native-build.mjs');
  });

  it('is the addon alone for running, and everything for tests', () => {
    assert.deepEqual(build.nativeGoal(sources, false), {
      inputs: sources.slice(0, 3),
      outputs: ['build/native/libskein.a', 'build/native/skein_cpu.node', 'build/native/skein_picture.node'],
      targets: ['skein_addon', 'skein_picture_addon'],
    });
    assert.deepEqual(build.nativeGoal(sources, true), {
      inputs: sources,
      outputs: [
        'build/native/libskein.a',
        'build/native/skein_cpu.node',
        'build/native/skein_picture.node',
        'build/native/native_tests',
      ],
      targets: [],
    });
  });

  it('uses every core that the memory feeds', () => {
    assert.equal(build.numJobs(2, 16 * GIB), 2);
    assert.equal(build.numJobs(64, 16 * GIB), 12);
    assert.equal(build.numJobs(4, 0.5 * GIB), 1);
  });

  it('notices a cache of another place', () => {
    const cache = '# x\nCMAKE_HOME_DIRECTORY:INTERNAL=/a/native\n';
    assert.ok(build.cacheBelongsTo(cache, '/a/native'));
    assert.ok(!build.cacheBelongsTo(cache, '/b/native'));
    assert.ok(!build.cacheBelongsTo('', '/a/native'));
  });
});

describe('the TypeScript build', () => {
  let build: TypescriptBuild;

  before(async () => {
    build = await loadScript<TypescriptBuild>('typescript-build.mjs');
  });

  it('knows the folders that tsconfig.json includes', () => {
    const config = JSON.parse(readFileSync(repoPath('tsconfig.json'), 'utf8')) as { include: string[] };
    assert.deepEqual(
      config.include.map((pattern) => pattern.replace('/**/*.ts', '')).sort(),
      [...build.SOURCE_FOLDERS].sort(),
    );
  });

  it('has in images all that it compiles but tests and benchmarks', () => {
    const kept = readFileSync(repoPath('.dockerignore'), 'utf8').split('\n');
    const needed = build.SOURCE_FOLDERS.map((folder) => folder.split('/')[0]!);
    assert.deepEqual(
      needed.filter((folder) => !['test', 'bench'].includes(folder) && !kept.includes(`!${folder}`)),
      [],
    );
  });

  it('calls stale what no source stands for', () => {
    const expected = build.expectedOutputs(['test/unit/a.test.ts']);
    assert.deepEqual(expected, ['dist/test/unit/a.test.js', 'dist/test/unit/a.test.js.map']);
    assert.deepEqual(build.staleOutputs([...expected, 'dist/test/unit/gone.test.js'], expected), [
      'dist/test/unit/gone.test.js',
    ]);
  });
});
