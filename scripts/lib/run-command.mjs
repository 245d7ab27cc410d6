// Runs one program of a set-up step: output goes to a log file, its lines to a progress callback; a failure becomes one
// clear line with the log's tail and path. A signal to the script ends the program first.
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { SetupError } from './console.mjs';

const TAIL_LINES = 25;

/**
 * @param {{what: string, command: string, args: string[], cwd: string, logFile: string, append?: boolean,
 *   env?: Record<string, string>, onLine?: (line: string) => void}} options
 */
export async function runLogged(options) {
  mkdirSync(path.dirname(options.logFile), { recursive: true });
  const log = openSync(options.logFile, options.append ? 'a' : 'w');
  let outcome;
  try {
    writeSync(log, `$ ${[options.command, ...options.args].join(' ')}\n`);
    outcome = await spawnAndRead(options, (chunk) => writeSync(log, chunk));
  } finally {
    closeSync(log);
  }
  if (outcome === 'exit code 0') return;
  throw new SetupError(
    `${options.what} failed (${outcome}); the whole log is in ${options.logFile}`,
    tailOf(options.logFile),
  );
}

function spawnAndRead(options, onChunk) {
  return new Promise((resolve) => {
    const child = spawn(options.command, options.args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const forward = (signal) => child.kill(signal);
    const stopForwarding = () => {
      process.off('SIGINT', forward);
      process.off('SIGTERM', forward);
    };
    process.on('SIGINT', forward);
    process.on('SIGTERM', forward);
    for (const stream of [child.stdout, child.stderr]) readLines(stream, onChunk, options.onLine);
    child.on('error', (error) => {
      stopForwarding();
      resolve(error.code === 'ENOENT' ? `${options.command} was not found` : error.message);
    });
    child.on('close', (code, signal) => {
      stopForwarding();
      resolve(code === null ? `signal ${signal}` : `exit code ${code}`);
    });
  });
}

function readLines(stream, onChunk, onLine) {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('data', (chunk) => {
    onChunk(chunk);
    if (onLine === undefined) return;
    const lines = (rest + chunk).split(/\r?\n|\r/);
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  });
}

function tailOf(logFile) {
  return readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-TAIL_LINES);
}
