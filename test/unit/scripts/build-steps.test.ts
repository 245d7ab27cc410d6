// Stamps, the set-up lock and logged programs, in a scratch folder.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { repoPath } from '../../support/paths.js';
import { loadScript } from '../../support/scripts.js';

interface Stamp {
  inputs: string;
  outputs: string;
}
interface Fingerprint {
  listFiles: (root: string, relative: string, accept?: (file: string) => boolean) => string[];
  fingerprint: (root: string, files: string[], extra?: string[]) => string;
  readStamp: (file: string) => Stamp | null;
  writeStamp: (file: string, stamp: Stamp) => void;
  decideStep: (options: { stamp: Stamp | null; inputs: string; outputs: string }) => string;
}
interface Lock {
  withLock: <T>(
    file: string,
    reporter: { line: (text: string) => void },
    action: () => Promise<T>,
  ) => Promise<T>;
}
interface RunCommand {
  runLogged: (options: object) => Promise<void>;
}

describe('build steps', () => {
  let root: string;

  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), 'skein-steps-'));
    mkdirSync(path.join(root, 'src/deep'), { recursive: true });
    writeFileSync(path.join(root, 'src/a.ts'), 'a');
    writeFileSync(path.join(root, 'src/deep/b.ts'), 'b');
  });

  afterEach(() => rmSync(root, { recursive: true, force: true }));

  it('list files in a stable order, and none where there is no folder', async () => {
    const { listFiles } = await loadScript<Fingerprint>('fingerprint.mjs');
    assert.deepEqual(listFiles(root, 'src'), ['src/a.ts', 'src/deep/b.ts']);
    assert.deepEqual(
      listFiles(root, 'src', (file) => file.endsWith('b.ts')),
      ['src/deep/b.ts'],
    );
    assert.deepEqual(listFiles(root, 'nothing'), []);
  });

  it('see a changed size, time, name and absence, and nothing else', async () => {
    const { fingerprint } = await loadScript<Fingerprint>('fingerprint.mjs');
    const files = ['src/a.ts', 'src/deep/b.ts'];
    const seen = new Set([fingerprint(root, files)]);
    assert.ok(seen.has(fingerprint(root, files)));
    const isNew = (what: string): void => {
      const now = fingerprint(root, files);
      assert.ok(!seen.has(now), what);
      seen.add(now);
    };
    utimesSync(path.join(root, 'src/a.ts'), 1, 1);
    isNew('time');
    writeFileSync(path.join(root, 'src/a.ts'), 'longer');
    utimesSync(path.join(root, 'src/a.ts'), 1, 1);
    isNew('size');
    rmSync(path.join(root, 'src/deep/b.ts'));
    isNew('absence');
    assert.notEqual(fingerprint(root, files.slice(0, 1)), fingerprint(root, files));
    assert.notEqual(fingerprint(root, files, ['g++']), fingerprint(root, files, ['clang++']));
  });

  it('run again after changes, touched outputs, interruption and a broken stamp', async () => {
    const { decideStep, readStamp, writeStamp } = await loadScript<Fingerprint>('fingerprint.mjs');
    const file = path.join(root, 'out/.stamp');
    assert.equal(readStamp(file), null);
    writeStamp(file, { inputs: 'i', outputs: 'o' });
    const stamp = readStamp(file);
    assert.equal(decideStep({ stamp, inputs: 'i', outputs: 'o' }), 'nothing');
    assert.equal(decideStep({ stamp, inputs: 'other', outputs: 'o' }), 'update');
    assert.equal(decideStep({ stamp, inputs: 'i', outputs: 'other' }), 'rebuild');
    assert.equal(decideStep({ stamp: null, inputs: 'i', outputs: 'o' }), 'rebuild');
    writeFileSync(file, '{"inputs": "i", "outp');
    assert.equal(readStamp(file), null);
  });

  it('wait for a set-up that runs, and take over from one that died', async () => {
    const { withLock } = await loadScript<Lock>('lock.mjs');
    const file = path.join(root, 'build/.lock');
    const lines: string[] = [];
    const reporter = { line: (text: string) => void lines.push(text) };
    const order: string[] = [];
    const hold = async (name: string, ms: number): Promise<void> => {
      order.push(`${name} begins`);
      await new Promise((resolve) => setTimeout(resolve, ms));
      order.push(`${name} ends`);
    };
    await Promise.all([
      withLock(file, reporter, () => hold('first', 30)),
      withLock(file, reporter, () => hold('second', 1)),
    ]);
    assert.deepEqual(order, ['first begins', 'first ends', 'second begins', 'second ends']);
    assert.equal(lines.length, 1);
    assert.ok(!existsSync(file));

    const dead = spawnSync(process.execPath, ['-e', '']).pid;
    writeFileSync(file, String(dead));
    assert.equal(await withLock(file, reporter, () => Promise.resolve('taken over')), 'taken over');
    await assert.rejects(
      withLock(file, reporter, () => Promise.reject(new Error('failed'))),
      /failed/,
    );
    assert.ok(!existsSync(file));
  });

  it('keep a log and name it, with its tail, when a program fails', async () => {
    const { runLogged } = await loadScript<RunCommand>('run-command.mjs');
    const logFile = path.join(root, 'logs/step.log');
    const seen: string[] = [];
    const run = (program: string): Promise<void> =>
      runLogged({
        what: 'the step',
        command: process.execPath,
        args: ['-e', program],
        cwd: root,
        logFile,
        onLine: (line: string) => seen.push(line),
      });
    await run('console.log("one\\ntwo"); console.error("three")');
    assert.deepEqual(seen.filter((line) => line !== '').sort(), ['one', 'three', 'two']);
    assert.match(readFileSync(logFile, 'utf8'), /^\$ .*\none\ntwo\n/);
    await assert.rejects(
      run('console.error("no space left"); process.exit(3)'),
      (error: Error & { more: string[] }) => {
        assert.equal(error.message, `the step failed (exit code 3); the whole log is in ${logFile}`);
        assert.ok(error.more.includes('no space left'));
        return true;
      },
    );
    await assert.rejects(
      runLogged({ what: 'x', command: 'no-such-program', args: [], cwd: root, logFile }),
      /x failed \(no-such-program was not found\)/,
    );
  });

  it('refuse an old Node in one line', () => {
    const program = `Object.defineProperty(process.versions, 'node', { value: '18.20.4' });
      import(${JSON.stringify(repoPath('scripts/lib/require-node.mjs'))}).then(() => console.log('went on'));`;
    const result = spawnSync(process.execPath, ['-e', program], { encoding: 'utf8' });
    assert.equal(result.status, 1);
    assert.equal(result.stdout, '');
    assert.equal(result.stderr, 'skein needs Node 20.19 or newer; this is Node 18.20.4.\n');
  });
});
