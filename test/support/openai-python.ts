// OpenAI's Python client in a process of its own, one call at a time. Where it is not installed, the tests that need it
// are skipped and say so.
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import { repoPath, repoRoot } from './paths.js';
import { loadScript } from './scripts.js';

interface OpenaiPythonScript {
  findOpenaiPython: (repoRoot: string) => { readonly site?: string; readonly reason?: string };
}

/** What an exception of the client says. */
export interface PythonError {
  readonly kind: string;
  /** Its class and those above it. */
  readonly kinds: readonly string[];
  readonly message: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly status_code: number | null;
  readonly code: string | null;
  readonly param: string | null;
  readonly type: string | null;
}

interface Answer {
  readonly value?: unknown;
  readonly error?: PythonError;
  readonly took_s: number;
}

/** The environment in which `python3` finds the client; skips the suite, with the reason, where there is none. */
export async function openaiPythonEnvironment(context: Mocha.Context): Promise<NodeJS.ProcessEnv> {
  const { findOpenaiPython } = await loadScript<OpenaiPythonScript>('openai-python.mjs');
  const { site, reason } = findOpenaiPython(repoRoot);
  if (site === undefined) {
    process.stdout.write(`      skipped: ${reason}\n`);
    context.skip();
  }
  return { ...process.env, PYTHONPATH: site, PYTHONDONTWRITEBYTECODE: '1' };
}

export class OpenaiPython {
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  readonly #closed: Promise<unknown>;
  #stderr = '';

  private constructor(env: NodeJS.ProcessEnv) {
    const script = repoPath('test', 'http', 'python', 'client.py');
    this.#child = spawn('python3', [script], { env, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.#stderr += text));
    this.#lines = createInterface({ input: this.#child.stdout! });
    this.#closed = once(this.#child, 'close');
  }

  static async start(context: Mocha.Context): Promise<OpenaiPython> {
    return new OpenaiPython(await openaiPythonEnvironment(context));
  }

  async #ask(call: string, args: object): Promise<Answer> {
    const line = once(this.#lines, 'line') as Promise<[string]>;
    const ended = this.#closed.then(() => assert.fail(`the client ended: ${this.#stderr}`));
    this.#child.stdin!.write(`${JSON.stringify({ call, ...args })}\n`);
    const [text] = await Promise.race([line, ended]);
    return JSON.parse(text) as Answer;
  }

  async call<Value>(call: string, args: object): Promise<Value> {
    const { value, error } = await this.#ask(call, args);
    assert.ok(error === undefined, `${call}: ${JSON.stringify(error)}`);
    return value as Value;
  }

  async failure(call: string, args: object): Promise<PythonError & { readonly tookS: number }> {
    const { value, error, took_s: tookS } = await this.#ask(call, args);
    assert.ok(error !== undefined, `${call}: ${JSON.stringify(value)}`);
    return { ...error, tookS };
  }

  async stop(): Promise<void> {
    this.#child.stdin!.end();
    await this.#closed;
    assert.equal(this.#stderr, '', 'the client says nothing');
  }
}
