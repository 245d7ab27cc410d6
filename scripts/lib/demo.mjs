// Asks the bundled model about a bundled picture through `skein run`, shows what comes, and judges the answer.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { SetupError } from './console.mjs';
import { repoRoot } from './setup.mjs';

const MODEL = 'models/r1v-nano';

/** The first example: {picture, question, answer}; `picture` is a path from the folder of examples.json. */
export function firstExample(text) {
  const examples = JSON.parse(text);
  const example = Array.isArray(examples) ? examples[0] : undefined;
  const isComplete = ['picture', 'question', 'answer'].every((key) => typeof example?.[key] === 'string');
  if (!isComplete)
    throw new SetupError(`${MODEL}/examples.json must hold [{picture, question, answer}, …] of strings`);
  return example;
}

/** Everything after the reasoning, without markup that only terminals see. */
export function answerOf(output) {
  const plain = output.replace(/\x1b\[[0-9;]*[A-Za-z]/g, '').replaceAll('\r', '');
  const afterReasoning = plain.split('</think>').at(-1) ?? '';
  const lines = afterReasoning.split('\n').map((line) => line.trim());
  const answerLine = lines.findLast((line) => /^answer:/i.test(line));
  if (answerLine !== undefined) {
    const sameLine = answerLine.replace(/^answer:\s*/i, '');
    return sameLine !== ''
      ? sameLine
      : (lines.slice(lines.lastIndexOf(answerLine) + 1).find((line) => line !== '') ?? '');
  }
  return lines.findLast((line) => line !== '') ?? '';
}

/** Case, spaces and a final full stop do not make an answer wrong. */
export function isSameAnswer(given, expected) {
  const normal = (text) =>
    text
      .toLowerCase()
      .replace(/\s+/g, ' ')
      .replace(/[.!]+$/, '')
      .trim();
  return normal(given) === normal(expected);
}

export async function runDemo({ extraArgs, reporter }) {
  const examplesFile = path.join(repoRoot, MODEL, 'examples.json');
  if (!existsSync(examplesFile))
    throw new SetupError(`${examplesFile} is missing: the clone is not complete`);
  const example = firstExample(readFileSync(examplesFile, 'utf8'));
  const picture = path.join(MODEL, example.picture);
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
