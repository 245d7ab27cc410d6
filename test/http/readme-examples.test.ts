// Goal: the README's examples of curl, OpenAI's clients, grpcurl and ghz work as they are written there, against the
// bundled model served as the README serves it. A program that is not on this machine is skipped by name.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { openaiPythonEnvironment } from '../support/openai-python.js';
import { repoPath, repoRoot } from '../support/paths.js';
import { examplesOf, readmeExamples } from '../support/readme-examples.js';
import { loadScript } from '../support/scripts.js';
import { ServedApis } from '../support/served-apis.js';

interface Message {
  readonly content: string;
  readonly reasoning_content: string;
}
interface GoToolsScript {
  toolPath: (repoRoot: string, name: string) => string;
}
interface SystemPackagesScript {
  findTool: (name: string, searchPath: string) => boolean;
}

const PICTURE = repoPath('models', 'r1v-nano', 'evaluation', '000.png');

function run(command: string, args: readonly string[], env = process.env): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: repoRoot, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(stdout);
      else reject(new Error(`${command} ended with ${code}: ${stderr}${stdout}`));
    });
  });
}

describe("the README's examples", function () {
  this.timeout(120_000);
  let served: ServedApis | undefined;

  before(async () => {
    served = await ServedApis.start([
      '--model',
      repoPath('models', 'r1v-nano'),
      '--tensor-parallel-size',
      '2',
    ]);
  });
  after(() => served?.stop());

  function example(kind: string): string {
    const http = new URL(served!.url).host;
    const [only, ...others] = readmeExamples(kind, { http, grpc: served!.grpcAddress });
    assert.ok(only !== undefined && others.length === 0, `one example of ${kind}`);
    return only;
  }

  /** The search path with the tools that `npm run load` brings; skips where the program is not on it. */
  async function environmentWith(context: Mocha.Context, name: string): Promise<NodeJS.ProcessEnv> {
    const { toolPath } = await loadScript<GoToolsScript>('go-tools.mjs');
    const { findTool } = await loadScript<SystemPackagesScript>('system-packages.mjs');
    const searchPath = `${process.env['PATH']}:${path.dirname(toolPath(repoRoot, 'ghz'))}`;
    if (!findTool(name, searchPath)) {
      process.stdout.write(`      skipped: there is no ${name}\n`);
      context.skip();
    }
    return { ...process.env, PATH: searchPath };
  }

  /** What the model says to the question of the examples that show no picture. */
  async function sum(): Promise<Message> {
    const { choices } = await served!.openai.chat.completions.create({
      model: 'r1v-nano',
      messages: [{ role: 'user', content: 'What is 3 + 4?' }],
    });
    const message = choices[0]!.message as unknown as Message;
    assert.ok(message.content !== '' && message.reasoning_content !== '');
    return message;
  }

  it('are found in blocks of commands and of programs', () => {
    const markdown = '```\ncurl a \\\n  -b\nghz c\n```\ntext\n```js\nlet x;\nx();\n```\n';
    assert.deepEqual(examplesOf(markdown), [
      { kind: 'curl', text: 'curl a \\\n  -b' },
      { kind: 'ghz', text: 'ghz c' },
      { kind: 'js', text: 'let x;\nx();\n' },
    ]);
  });

  it('curl', async function () {
    const env = await environmentWith(this, 'curl');
    const completion = JSON.parse(await run('bash', ['-c', example('curl')], env)) as {
      object: string;
      choices: { message: Message }[];
    };
    assert.equal(completion.object, 'chat.completion');
    assert.deepEqual(completion.choices[0]!.message, await sum());
  });

  it("OpenAI's npm client, with a picture, streamed", async () => {
    const output = await run(process.execPath, ['--input-type=module', '-e', example('js')]);
    const url = `data:image/png;base64,${readFileSync(PICTURE, 'base64')}`;
    const [{ message }] = (
      await served!.openai.chat.completions.create({
        model: 'r1v-nano',
        messages: [
          {
            role: 'user',
            content: [
              { type: 'image_url', image_url: { url } },
              { type: 'text', text: 'How many purple shapes do you see?' },
            ],
          },
        ],
      })
    ).choices as unknown as [{ message: Message }];
    assert.match(message.content, /\b1\b/, 'what evaluation/questions.json says');
    assert.equal(output, message.reasoning_content + message.content);
  });

  it("OpenAI's Python client", async function () {
    const env = await openaiPythonEnvironment(this);
    const { content, reasoning_content: reasoning } = await sum();
    assert.equal(await run('python3', ['-c', example('python')], env), `${reasoning} ${content}\n`);
  });

  it('grpcurl', async function () {
    const env = await environmentWith(this, 'grpcurl');
    const { content } = await sum();
    const output = await run('bash', ['-c', example('grpcurl')], env);
    const deltas = [...output.matchAll(/"answer_?delta": ("(?:[^"\\]|\\.)*")/g)];
    assert.equal(deltas.map(([, text]) => JSON.parse(text!) as string).join(''), content);
  });

  it('ghz', async function () {
    const env = await environmentWith(this, 'ghz');
    const output = await run('bash', ['-c', example('ghz')], env);
    assert.match(output, /\[OK\]\s+64 responses/);
    assert.doesNotMatch(output, /Error distribution/);
  });
});
