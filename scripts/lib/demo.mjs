// Asks the bundled model about a bundled picture through `skein run`, shows what comes, and judges the answer.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { SetupError } from './console.mjs';
import { repoRoot } from './setup.mjs';

const MODEL = 'models/r1v-nano';
const EXAMPLES = `${MODEL}/examples`;

/** The first example: {picture, question, answer}; `picture` is a path from the folder of examples.json. */
export function firstExample(text) {
  const examples = JSON.parse(text);
  const example = Array.isArray(examples) ? examples[0] : undefined;
  const isComplete = ['picture', 'question', 'answer'].every((key) => typeof example?.[key] === 'string');
  if (!isComplete)
    throw new SetupError(`${EXAMPLES}/examples.json must hold [{picture, question, answer}, …] of strings`);
  return example;
}

/** The answer in what `skein run` prints: the paragraph under its last heading, or the field of its JSON object. */
export function answerOf(output) {
  if (output.trimStart().startsWith('{')) return String(JSON.parse(output).answer ?? '').trim();
  const parts = output.replaceAll('\r', '').split(/^--- answer ---$/m);
  if (parts.length < 2) return '';
  return (parts.at(-1) ?? '')
    .trimStart()
    .split(/\n\s*\n/)[0]
    .trim();
}

/** Case, spaces and a final full stop do not make an answer wrong. */
export function isSameAnswer(given, expected) {
  const normal = (text) =>
    text
      .toLowerCase()
      .replace(/\s+/g, ' ')
      .trim()
      .replace(/\s*[.!]+$/, '');
  return normal(given) === normal(expected);
}

export async function runDemo({ extraArgs, reporter }) {
  const examplesFile = path.join(repoRoot, EXAMPLES, 'examples.json');
  if (!existsSync(examplesFile))
    throw new SetupError(`${examplesFile} is missing: the clone is not complete`);
  const example = firstExample(readFileSync(examplesFile, 'utf8'));
  const picture = path.join(EXAMPLES, example.picture);
  reporter.line(
    `\npicture:  ${picture}\nquestion: ${example.question}\nmodel:    ${MODEL}, cut over 2 worker processes\n`,
  );
  const args = ['run', '--model', MODEL, '--tensor-parallel-size', '2', '--image-paths', picture];
  const { code, output } = await runAndShow([...args, '--question', example.question, ...extraArgs]);
  if (code !== 0)
    throw new SetupError(`skein run ended with ${code === null ? 'a signal' : `exit code ${code}`}`);
  const answer = answerOf(output);
  if (!isSameAnswer(answer, example.answer)) {
    throw new SetupError(`the answer is wrong: expected "${example.answer}", got "${answer}"`);
  }
  reporter.line(`\nThe answer is right: ${example.answer}`);
  return 0;
}

/** The terminal's Ctrl-C reaches the child by itself; this process only has to outlive it. */
function runAndShow(args) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [path.join(repoRoot, 'bin/skein.mjs'), ...args], {
      cwd: repoRoot,
      stdio: ['inherit', 'pipe', 'inherit'],
    });
    const stay = () => undefined;
    const forward = () => child.kill('SIGTERM');
    process.on('SIGINT', stay);
    process.on('SIGTERM', forward);
    let output = '';
    child.stdout.setEncoding('utf8');
    child.stdout.on('data', (chunk) => {
      output += chunk;
      process.stdout.write(chunk);
    });
    child.on('error', reject);
    child.on('close', (code) => {
      process.off('SIGINT', stay);
      process.off('SIGTERM', forward);
      resolve({ code, output });
    });
  });
}
