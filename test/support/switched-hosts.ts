// Hosts on a switch of ours (native/test/network), which loses or delays what goes one way from one of them to another
// when it is told to. The kernel has to know TUN and network namespaces, and nothing else.
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { whyNoNamespaces } from './deploy-files.js';
import { ip, NetworkHosts } from './network-hosts.js';
import { repoPath } from './paths.js';

const SWITCH = repoPath('build', 'native', 'network_switch');

/** Null: they can be had. */
export function whyNoSwitchedHosts(): string | null {
  const reason = whyNoNamespaces();
  if (reason !== null) return reason;
  if (!existsSync(SWITCH)) return `${SWITCH} is built by npm test`;
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
    return null;
  } catch {
    return 'a switch needs /dev/net/tun';
  }
}

export class SwitchedHosts extends NetworkHosts {
  readonly #switch: ChildProcess;
  readonly #lines: string[] = [];
  readonly #waiting: ((line: string) => void)[] = [];
  #stderr = '';

  static async start(names: readonly string[]): Promise<SwitchedHosts> {
    const hosts = new SwitchedHosts(names);
    try {
      await hosts.#wire();
      return hosts;
    } catch (error) {
      await hosts.close();
      throw error;
    }
  }

  private constructor(names: readonly string[]) {
    super(names);
    this.#switch = spawn(SWITCH, this.#devices(), { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#switch.stderr!.setEncoding('utf8').on('data', (chunk: string) => (this.#stderr += chunk));
    this.#switch.stdout!.setEncoding('utf8').on('data', (chunk: string) => this.#read(chunk));
    this.#switch.once('close', () => this.#read(`ended: ${this.#stderr.trim()}\n`));
  }

  /** Nothing that `from` sends arrives at `to` any more, and neither is told. */
  lose(from: string, to: string): Promise<void> {
    return this.#tell(`lose ${this.#port(from)} ${this.#port(to)}`);
  }

  /** All of it arrives, in order, `delayMs` later. */
  pass(from: string, to: string, delayMs = 0): Promise<void> {
    return this.#tell(`pass ${this.#port(from)} ${this.#port(to)} ${delayMs}`);
  }

  /** As it was at the start. */
  async mend(): Promise<void> {
    for (const from of this.names) for (const to of this.names) if (from !== to) await this.pass(from, to);
  }

  override async close(): Promise<void> {
    this.#switch.stdin!.end();
    await super.close();
  }

  #devices(): string[] {
    return this.names.map((_, index) => `skein${process.pid}p${index}`);
  }

  #port(name: string): number {
    const port = this.names.indexOf(name);
    assert.ok(port >= 0, name);
    return port;
  }

  async #wire(): Promise<void> {
    assert.equal(await this.#nextLine(), 'ready');
    for (const [index, device] of this.#devices().entries()) {
      const name = this.names[index]!;
      const hardware = `02:00:00:00:00:${(index + 1).toString(16).padStart(2, '0')}`;
      ip('link', 'set', device, 'address', hardware, 'netns', this.namespace(name));
      this.in(name, 'link', 'set', device, 'name', 'eth0');
      this.setUp(name, 'eth0');
    }
  }

  async #tell(command: string): Promise<void> {
    const answer = this.#nextLine();
    this.#switch.stdin!.write(`${command}\n`);
    assert.equal(await answer, 'ok', command);
  }

  #nextLine(): Promise<string> {
    const line = this.#lines.shift();
    return line === undefined ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve(line);
  }

  /** Whole lines: the switch flushes each. */
  #read(chunk: string): void {
    for (const line of chunk.split('\n').filter((each) => each !== '')) {
      const resolve = this.#waiting.shift();
      if (resolve === undefined) this.#lines.push(line);
      else resolve(line);
    }
  }
}
