// Goal: a socket that a killed server left does not stand in the way of the next, one that is in use is never taken,
// and of several that start at once exactly one gets the path.
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, lstatSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bindServer, createGrpcServer, stopServer } from '../../../common/grpc-server.js';
import { clearSocketPath } from '../../../common/socket-path.js';
import { repoPath } from '../../support/paths.js';

/** Binds its argument as our servers do, says how that went, and stays. */
const BINDER = `
  import { bindServer, createGrpcServer } from ${JSON.stringify(repoPath('dist', 'common', 'grpc-server.js'))};
  const server = createGrpcServer({ maxMessageBytes: 1024, maxConcurrentStreams: 1 });
  bindServer(server, 'unix:' + process.argv[1]).then(
    () => console.log('bound'),
    (error) => { console.log(error.message); process.exit(); },
  );`;

describe('the path of a Unix socket', function () {
  this.timeout(60_000);
  let folder: string;
  let children: ChildProcess[] = [];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 's-'));
  });

  afterEach(async () => {
    await Promise.all(children.map(killed));
    children = [];
    rmSync(folder, { recursive: true, force: true });
  });

  function killed(child: ChildProcess): Promise<void> {
    return new Promise((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) return resolve();
      child.once('close', () => resolve());
      child.kill('SIGKILL');
    });
  }

  /** The first line that it prints. */
  function startBinder(path: string): Promise<string> {
    const child = spawn(process.execPath, ['--input-type=module', '-e', BINDER, path]);
    children.push(child);
    return new Promise((resolve) => {
      child.stdout.setEncoding('utf8').once('data', (text: string) => resolve(text.trim()));
      child.stderr.once('data', (text: Buffer) => resolve(text.toString()));
    });
  }

  async function leaveStale(path: string): Promise<void> {
    assert.equal(await startBinder(path), 'bound');
    await killed(children.pop()!);
    assert.ok(lstatSync(path).isSocket(), 'a killed server leaves its socket');
  }

  function answers(path: string): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = connect(path, () => {
        socket.destroy();
        resolve(true);
      });
      socket.once('error', () => resolve(false));
    });
  }

  function listen(path: string): Promise<Server> {
    return new Promise((resolve) => {
      const server = createServer();
      server.listen(path, () => resolve(server));
    });
  }

  it('is bound again where a killed server left its socket, and leaves nothing beside it', async () => {
    const path = join(folder, 'a.sock');
    await leaveStale(path);
    const server = createGrpcServer({ maxMessageBytes: 1024, maxConcurrentStreams: 1 });
    assert.equal(await bindServer(server, `unix:${path}`), `unix:${path}`);
    assert.equal(await answers(path), true);
    assert.deepEqual(readdirSync(folder), ['a.sock']);
    await stopServer(server, 0);
  });

  it('is refused in one line where somebody listens, who goes on', async () => {
    const path = join(folder, 'a.sock');
    const other = await listen(path);
    const server = createGrpcServer({ maxMessageBytes: 1024, maxConcurrentStreams: 1 });
    await assert.rejects(bindServer(server, `unix:${path}`), {
      code: 'INVALID_REQUEST',
      message: `cannot listen on unix:${path}: another process listens there`,
    });
    assert.equal(await answers(path), true);
    await new Promise((resolve) => other.close(resolve));
  });

  it('is refused where there is something else, which stays', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, 'text');
    const link = join(folder, 'link');
    symlinkSync(file, link);
    for (const path of [file, link, folder]) {
      await assert.rejects(clearSocketPath(path), /there is a file that is no socket/);
      assert.ok(existsSync(path));
    }
  });

  it('is refused with what the system says of its folder', async () => {
    const file = join(folder, 'a-file');
    writeFileSync(file, 'text');
    const cases: [string, RegExp][] = [
      [
        join(folder, 'nowhere', 'x.sock'),
        /^cannot listen on unix:\S+x\.sock: ENOENT: no such file or directory, /,
      ],
      [join(file, 'x.sock'), /^cannot listen on unix:\S+x\.sock: ENOTDIR: not a directory, /],
    ];
    for (const [path, message] of cases)
      await assert.rejects(clearSocketPath(path), { code: 'INVALID_REQUEST', message });
  });

  it('goes to exactly one of several that start at once over a stale socket', async () => {
    for (let round = 0; round < 2; round++) {
      const path = join(folder, `${round}.sock`);
      await leaveStale(path);
      const outcomes = await Promise.all(Array.from({ length: 3 }, () => startBinder(path)));
      const losers = outcomes.filter((outcome) => outcome !== 'bound');
      assert.equal(losers.length, 2, outcomes.join('; '));
      for (const loser of losers) assert.match(loser, /^cannot listen on unix:/);
      assert.equal(await answers(path), true);
      assert.deepEqual(
        readdirSync(folder).filter((name) => name.startsWith('.')),
        [],
      );
      await Promise.all(children.splice(0).map(killed));
    }
  });
});
