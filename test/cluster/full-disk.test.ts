// Goal: a full disk under whatever writes: a conversion names the file, ends as a fault does (not as a bug) and leaves
// nothing that looks like a checkpoint; a server whose log has no room goes on and says later what was lost. The disks
// are tmpfs in mount namespaces of their own, which needs root.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { EXIT_CODES } from '../../common/exit-codes.js';
import { goldenPath, repoPath } from '../support/paths.js';

const CONVERT = `${process.execPath} ${repoPath('bin', 'skein.mjs')} convert --model ${goldenPath('tiny-awq-bin')}`;
const SERVE = [
  ...[process.execPath, repoPath('dist', 'test', 'support', 'fake-skein-main.js'), 'serve'],
  ...['--model', goldenPath('tiny-6b-vit'), '--dtype', 'float32', '--grpc-address', '127.0.0.1:0'],
].join(' ');

function whyNoMounts(): string | null {
  const { status, stderr } = spawnSync('unshare', ['--mount', 'true'], { encoding: 'utf8' });
  return status === 0 ? null : `mount namespaces cannot be made here: ${(stderr ?? 'no unshare').trim()}`;
}

describe('a full disk', function () {
  this.timeout(60_000);
  let disk: string;

  before(function () {
    const reason = whyNoMounts();
    if (reason === null) return;
    process.stdout.write(`      skipped: ${reason}\n`);
    this.skip();
  });
  beforeEach(() => {
    disk = mkdtempSync(path.join(tmpdir(), 'skein-disk-'));
  });
  afterEach(() => rmSync(disk, { recursive: true, force: true }));

  /** A shell's output, its last line the exit code of `command`, then what `look` finds on the disk. */
  function onDisk(kib: number, command: string, look = ''): Promise<{ stdout: string; stderr: string }> {
    const script = `mount -t tmpfs -o size=${kib}k tmpfs ${disk} && { ${command}; echo "=$?"; ${look} }`;
    const child = spawn('unshare', ['--mount', 'bash', '-c', script], {
      env: { ...process.env, SKEIN_FAKE_ENGINE: '{}' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
    return new Promise((resolve) => child.once('close', () => resolve({ stdout, stderr })));
  }

  for (const [kib, file, when] of [
    [1_024, 'model-00001-of-00002.safetensors', 'in the first file'],
    [2_400, 'model-00002-of-00002.safetensors', 'in the second'],
    // The weights fit, and what is copied beside them does not.
    [3_270, '[^:]*', 'behind the weights'],
  ] as const) {
    it(`ends a conversion, ${when}, and leaves nothing of it`, async () => {
      const { stdout, stderr } = await onDisk(kib, `${CONVERT} --output ${disk}/out`, `ls -A ${disk}/out;`);
      const told = `^skein: INVALID_REQUEST: ${disk}/out/${file}: cannot be written: ENOSPC: [^\\n]*\\n$`;
      assert.match(stderr, new RegExp(told));
      assert.match(stdout, new RegExp(`=${EXIT_CODES.failed.code}\\n$`));
    });
  }

  it('takes log lines and nothing else from a server', async () => {
    const fill = `dd if=/dev/zero of=${disk}/fill bs=1k count=64 2>/dev/null`;
    // It serves, though nothing of its log was written; then there is room again, for what it says as it ends.
    const course = `${fill}; ${SERVE} --log-level info 2>${disk}/log >${disk}.out & server=$!;
      while ! grep -q '^serving ' ${disk}.out; do sleep 0.05; kill -0 $server || break; done;
      wc -c < ${disk}/log; rm ${disk}/fill; kill -TERM $server; wait $server`;
    const { stdout } = await onDisk(32, course, `cat ${disk}/log; rm ${disk}.out;`);
    const [written, code, ...log] = stdout.trimEnd().split('\n');
    assert.equal(written, '0');
    assert.equal(code, `=${EXIT_CODES.done.code}`);
    assert.ok(
      log.some((line) => (JSON.parse(line) as { dropped?: number }).dropped! > 0),
      stdout,
    );
  });
});
