// The doctor's verdicts on machines that are made up, and its output on this one.
import assert from 'node:assert/strict';
import { Command } from 'commander';
import {
  canRunOnCpu,
  registerDoctor,
  renderJson,
  renderTable,
} from '../../../../coordinator/commands/doctor.js';
import type { Check } from '../../../../coordinator/commands/doctor/check.js';
import { runChecks } from '../../../../coordinator/commands/doctor/checks.js';
import {
  allowedCores,
  allowedMemoryBytes,
  instructionClasses,
  libraryPath,
  parseLimits,
} from '../../../../coordinator/commands/doctor/facts.js';
import { thisMachine } from '../../../../coordinator/commands/doctor/machine.js';
import { AVX2, LIMITS, machine, type Facts } from '../../../support/fake-machine.js';

const GIB = 1024 ** 3;

function check(facts: Facts, name: string): Check {
  const found = runChecks(machine(facts)).find((candidate) => candidate.name === name);
  assert.ok(found, name);
  return found;
}

describe('skein doctor', () => {
  it('lets a machine that lacks nothing run, with no GPU', () => {
    const checks = runChecks(machine());
    assert.ok(canRunOnCpu(checks));
    assert.deepEqual(
      checks.filter((item) => item.status !== 'ok').map((item) => [item.name, item.status]),
      [
        ['NVIDIA driver', 'absent'],
        ['GPUs', 'absent'],
        ['CUDA engine', 'absent'],
        ['CUDA toolkit', 'absent'],
        ['NCCL', 'absent'],
      ],
    );
  });

  const failures: [string, Facts, Check['status'], RegExp][] = [
    ['Node', { nodeVersion: '20.18.3' }, 'missing', /20\.19/],
    ['Node', { nodeVersion: '18.20.0' }, 'missing', /20\.19/],
    ['instruction set', { files: { '/proc/cpuinfo': 'flags : sse2 avx\n' } }, 'missing', /AVX2/],
    [
      'instruction set',
      { architecture: 'arm64', folders: { '/usr/lib/aarch64-linux-gnu': ['libgloo.so'] } },
      'warning',
      /^$/,
    ],
    ['cores', { numCores: 1 }, 'warning', /2 or more cores/],
    ['memory', { totalMemoryBytes: GIB }, 'missing', /2\.0 GiB/],
    ['/dev/shm', { fileSystem: () => null }, 'missing', /remount/],
    ['/dev/shm', { fileSystem: () => ({ totalBytes: 64e6, freeBytes: 64e6 }) }, 'warning', /--shm-size/],
    [
      'open files',
      { files: { '/proc/self/limits': LIMITS.replace('1048576', '1024') } },
      'warning',
      /ulimit -n/,
    ],
    ['build tools', { tools: ['g++'] }, 'warning', /npm run setup/],
    ['Gloo', { folders: { '/usr/lib/x86_64-linux-gnu': ['libz.so.1'] } }, 'missing', /npm run setup/],
    ['native engine', { run: () => ({ ok: false, reason: 'signal SIGILL' }) }, 'missing', /npm run setup/],
    [
      'code for pictures',
      { run: () => ({ ok: false, reason: 'signal SIGILL' }) },
      'missing',
      /npm run setup/,
    ],
    ['bundled model', { folders: { '/skein/models/r1v-nano': [] } }, 'warning', /git checkout/],
  ];
  for (const [name, facts, status, mend] of failures) {
    it(`${name}: ${status} with ${JSON.stringify(facts)}`, () => {
      const found = check(facts, name);
      assert.equal(found.status, status);
      assert.match(found.mend ?? '', mend);
      assert.equal(canRunOnCpu(runChecks(machine(facts))), status !== 'missing');
    });
  }

  it('says why an addon does not load', () => {
    assert.match(
      check({ run: () => ({ ok: false, reason: 'libgloo.so.0: cannot open' }) }, 'native engine').found,
      /libgloo/,
    );
    const withoutAddon = { ...machine(), exists: () => false };
    assert.equal(runChecks(withoutAddon).find((item) => item.name === 'native engine')?.found, 'not built');
  });

  it('prints a table with each mend under its line, and JSON with the same checks', () => {
    const checks = runChecks(machine({ nodeVersion: '18.0.0' }));
    const table = renderTable(checks);
    assert.match(table, /MISSING\s+Node\s+18\.0\.0\n\s+-> install Node 20\.19/);
    assert.match(table, /cannot run here yet; missing: Node\.$/);
    const parsed = JSON.parse(renderJson(checks)) as { can_run_on_cpu: boolean; checks: Check[] };
    assert.equal(parsed.can_run_on_cpu, false);
    assert.deepEqual(parsed.checks, checks);
  });

  it('finds its facts on this machine', () => {
    const checks = runChecks(thisMachine);
    assert.equal(checks.find((item) => item.name === 'Node')?.status, 'ok');
    assert.ok(thisMachine.exists(thisMachine.inRepository('package.json')));
    assert.deepEqual(thisMachine.run(process.execPath, ['-e', 'console.log(7)']), { ok: true, output: '7' });
    const failed = thisMachine.run(process.execPath, ['-e', 'throw new Error("no such thing")']);
    assert.ok(!failed.ok && failed.reason.includes('Error: no such thing'), JSON.stringify(failed));
    assert.equal(thisMachine.run('/nonexistent', []).ok, false);
  });

  it('refuses an unknown flag', async () => {
    const program = new Command('skein');
    registerDoctor(program);
    for (const command of program.commands)
      command.exitOverride().configureOutput({ outputError: () => undefined });
    await assert.rejects(program.parseAsync(['doctor', '--jsn'], { from: 'user' }), /unknown option '--jsn'/);
  });
});

describe('facts of a machine', () => {
  it('instruction classes need all their flags', () => {
    assert.deepEqual(instructionClasses(AVX2), ['avx2']);
    assert.deepEqual(instructionClasses('flags : avx2 fma'), []);
    const zen4 = 'flags : avx2 fma f16c avx512f avx512bw avx512dq avx512vl avx512_vnni avx512_bf16';
    assert.deepEqual(instructionClasses(zen4), ['avx2', 'avx512', 'avx512_vnni', 'avx512_bf16']);
    assert.deepEqual(instructionClasses(''), []);
  });

  it('cores are those of the control group', () => {
    assert.equal(allowedCores(machine({ files: { '/sys/fs/cgroup/cpu.max': '200000 100000\n' } })), 2);
    assert.equal(allowedCores(machine({ files: { '/sys/fs/cgroup/cpu.max': '50000 100000\n' } })), 1);
    assert.equal(allowedCores(machine({ files: { '/sys/fs/cgroup/cpu.max': 'max 100000\n' } })), 8);
    const v1 = {
      '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '-1\n',
      '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n',
    };
    assert.equal(allowedCores(machine({ files: v1 })), 8);
    assert.equal(
      allowedCores(machine({ files: { ...v1, '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '300000' } })),
      3,
    );
    assert.equal(allowedCores(machine()), 8);
  });

  it('memory is that of the control group', () => {
    assert.equal(
      allowedMemoryBytes(machine({ files: { '/sys/fs/cgroup/memory.max': `${4 * GIB}\n` } })),
      4 * GIB,
    );
    assert.equal(allowedMemoryBytes(machine({ files: { '/sys/fs/cgroup/memory.max': 'max\n' } })), 32 * GIB);
    assert.equal(allowedMemoryBytes(machine()), 32 * GIB);
  });

  it('limits are the soft ones', () => {
    assert.equal(parseLimits(LIMITS).get('Max open files'), 1048576);
    assert.equal(parseLimits(LIMITS).get('Max cpu time'), Infinity);
  });

  it('libraries are found under any version', () => {
    assert.equal(libraryPath(machine(), 'libgloo.so'), '/usr/lib/x86_64-linux-gnu/libgloo.so.0');
    assert.equal(libraryPath(machine(), 'libnccl.so'), null);
  });
});
