// Network namespaces as hosts: each with an address of its own on one wire, nothing else reachable. What runs in one
// is a child of the test and ends with it.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import assert from 'node:assert/strict';

const SUBNET = '10.231.77';

/** A wire between them is for whoever extends it. */
export abstract class NetworkHosts {
  readonly #prefix = `skein${process.pid}`;
  readonly #started: Started[] = [];
  readonly names: readonly string[];

  constructor(names: readonly string[]) {
    this.names = names;
    for (const name of names) this.addNamespace(name);
  }

  namespace(name: string): string {
    return `${this.#prefix}-${name}`;
  }

  address(name: string): string {
    return `${SUBNET}.${this.names.indexOf(name) + 1}`;
  }

  /** Started with these variables and PATH alone. */
  start(name: string, command: readonly string[], environment: Readonly<Record<string, string>>): Started {
    const child = spawn('ip', ['netns', 'exec', this.namespace(name), ...command], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], ...environment },
    });
    const started = new Started(child);
    this.#started.push(started);
    return started;
  }

  /** To its end. */
  run(name: string, command: readonly string[], environment: Readonly<Record<string, string>> = {}): string {
    const { status, stdout, stderr } = spawnSync('ip', ['netns', 'exec', this.namespace(name), ...command], {
      encoding: 'utf8',
      timeout: 60_000,
      env: { PATH: process.env['PATH'], ...environment },
    });
    assert.equal(status, 0, `${command.join(' ')}: ${stdout}${stderr}`);
    return stdout;
  }

  /** Processes in the host's network, by their ids here. */
  pids(name: string): number[] {
    const { stdout } = spawnSync('ip', ['netns', 'pids', this.namespace(name)], { encoding: 'utf8' });
    return stdout
      .split('\n')
      .filter((line) => line !== '')
      .map(Number);
  }

  async close(): Promise<void> {
    for (const { child } of this.#started) child.kill('SIGKILL');
    // What changed its user outlives the parent that was to take it along.
    for (const name of this.names) for (const pid of this.pids(name)) signal(pid, 'SIGKILL');
    for (const { exited } of this.#started) await exited;
    for (const name of this.names) this.deleteNamespace(name);
  }

  protected addNamespace(name: string): void {
    ip('netns', 'add', this.namespace(name));
    this.in(name, 'link', 'set', 'lo', 'up');
  }

  protected deleteNamespace(name: string): void {
    spawnSync('ip', ['netns', 'del', this.namespace(name)]);
  }

  /** `device` is in the host's namespace. */
  protected setUp(name: string, device: string): void {
    this.in(name, 'address', 'add', `${this.address(name)}/24`, 'dev', device);
    this.in(name, 'link', 'set', device, 'up');
  }

  protected in(name: string, ...args: string[]): void {
    ip('-n', this.namespace(name), ...args);
  }
}

/** On a bridge of the kernel's, in a namespace of its own. */
export class BridgedHosts extends NetworkHosts {
  constructor(names: readonly string[]) {
    super(names);
    this.addNamespace('bridge');
    this.in('bridge', 'link', 'add', 'br0', 'type', 'bridge');
    this.in('bridge', 'link', 'set', 'br0', 'up');
    for (const [index, name] of names.entries()) {
      const [near, far] = [this.namespace('bridge'), this.namespace(name)];
      const peer = ['peer', 'name', 'eth0', 'netns', far];
      ip('link', 'add', `e${index}`, 'netns', near, 'type', 'veth', ...peer);
      this.in('bridge', 'link', 'set', `e${index}`, 'master', 'br0', 'up');
      this.setUp(name, 'eth0');
    }
  }

  override async close(): Promise<void> {
    await super.close();
    this.deleteNamespace('bridge');
  }
}

export class Started {
  output = '';
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;

  constructor(child: ChildProcess) {
    this.child = child;
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (chunk: string) => (this.output += chunk));
    this.exited = new Promise((resolve) => child.once('close', resolve));
  }

  async says(pattern: RegExp, timeoutMs: number): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    while (!pattern.test(this.output)) {
      if (Date.now() > deadline || this.child.exitCode !== null)
        assert.fail(`no ${String(pattern)} after ${timeoutMs} ms: ${this.output}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // Gone by itself meanwhile.
  }
}

export function ip(...args: string[]): void {
  const { status, stderr } = spawnSync('ip', args, { encoding: 'utf8' });
  assert.equal(status, 0, `ip ${args.join(' ')}: ${stderr}`);
}
