// Limits of control groups in trees as the two versions of the interface lay them out.
// native/test/cpu_host_memory_test.cc has the same.
import assert from 'node:assert/strict';
import { controlGroupCores, controlGroupMemoryBytes } from '../../../common/control-group.js';

const GIB = 1024 ** 3;
const NO_LIMIT_V1 = '9223372036854771712';

type Tree = Readonly<Record<string, string>>;

function memoryGib(tree: Tree): number {
  return controlGroupMemoryBytes((path) => tree[path] ?? null) / GIB;
}

function cores(tree: Tree): number {
  return controlGroupCores((path) => tree[path] ?? null);
}

describe('memory limits of control groups', () => {
  it('are none without control groups, or where they say max', () => {
    assert.equal(memoryGib({}), Infinity);
    assert.equal(memoryGib({ '/proc/self/cgroup': '0::/\n' }), Infinity);
    const max = { '/proc/self/cgroup': '0::/a\n', '/sys/fs/cgroup/a/memory.max': 'max\n' };
    assert.equal(memoryGib(max), Infinity);
  });

  it("are the least of a version 2 group's and its parents'", () => {
    const tree = {
      '/proc/self/cgroup': '0::/a/b/c\n',
      '/sys/fs/cgroup/a/b/c/memory.max': `${20 * GIB}\n`,
      '/sys/fs/cgroup/a/memory.max': `${10 * GIB}\n`,
    };
    assert.equal(memoryGib(tree), 10);
    assert.equal(memoryGib({ ...tree, '/sys/fs/cgroup/a/b/memory.high': `${6 * GIB}\n` }), 6);
  });

  it("are a container's own, at the mount, whatever path it is told", () => {
    for (const path of ['/', '/docker/0123', '/../../other']) {
      const tree = { '/proc/self/cgroup': `0::${path}\n`, '/sys/fs/cgroup/memory.max': `${4 * GIB}\n` };
      assert.equal(memoryGib(tree), 4);
    }
  });

  it("are a version 1 group's and its parents'", () => {
    const tree = {
      '/proc/self/cgroup': '11:cpu,cpuacct:/x\n9:memory:/batch/job\n1:name=systemd:/x\n',
      '/sys/fs/cgroup/memory/batch/job/memory.limit_in_bytes': `${12 * GIB}\n`,
      '/sys/fs/cgroup/memory/batch/memory.limit_in_bytes': `${11 * GIB}\n`,
    };
    assert.equal(memoryGib(tree), 11);
  });

  it('believe version 1 about parents that are out of sight', () => {
    const tree = {
      '/proc/self/cgroup': '9:memory:/docker/0123\n0::/docker/0123\n',
      '/sys/fs/cgroup/memory/memory.limit_in_bytes': `${NO_LIMIT_V1}\n`,
      '/sys/fs/cgroup/memory/memory.stat': 'cache 1\nhierarchical_memory_limit 2147483648\n',
    };
    assert.equal(memoryGib(tree), 2);
  });
});

describe('processor time of control groups', () => {
  it('is without bounds where no quota is set', () => {
    assert.equal(cores({}), Infinity);
    assert.equal(cores({ '/sys/fs/cgroup/cpu.max': 'max 100000\n' }), Infinity);
    const v1 = { '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '-1\n' };
    assert.equal(cores({ ...v1, '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n' }), Infinity);
  });

  it("is the least quota of a version 2 group's and its parents'", () => {
    const tree = {
      '/proc/self/cgroup': '0::/a/b\n',
      '/sys/fs/cgroup/a/b/cpu.max': '800000 100000\n',
      '/sys/fs/cgroup/a/cpu.max': '250000 100000\n',
    };
    assert.equal(cores(tree), 2.5);
  });

  it("is a version 1 group's, under either name of its mount", () => {
    const path = { '/proc/self/cgroup': '4:cpu,cpuacct:/batch\n' };
    for (const mount of ['cpu', 'cpu,cpuacct']) {
      const folder = `/sys/fs/cgroup/${mount}/batch`;
      const quota = {
        [`${folder}/cpu.cfs_quota_us`]: '300000\n',
        [`${folder}/cpu.cfs_period_us`]: '100000\n',
      };
      assert.equal(cores({ ...path, ...quota }), 3);
    }
  });
});
