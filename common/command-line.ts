// Parsing of command-line values and the way a command fails: one line on stderr, exit code 2 for a mistake on the command
// line, 1 for anything else. Built on commander; it declares no command itself.
import { CommanderError, InvalidArgumentError, type Command } from 'commander';
import { toAppError } from './errors.js';

export const EXIT_FAILURE = 1;
export const EXIT_USAGE = 2;

const INTEGER_PATTERN = /^[+-]?\d+$/;
const NUMBER_PATTERN = /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i;
const BYTES_PATTERN = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?$/i;
const UNIT_EXPONENTS: Readonly<Record<string, number>> = { '': 0, k: 1, m: 2, g: 3, t: 4 };

export interface Range {
  readonly min: number;
  readonly max: number;
}

/** For commander's `.option(flags, description, integerIn({min: 1, max: 64}))`. */
export function integerIn({ min, max }: Range): (value: string) => number {
  return (value) => {
    const number = INTEGER_PATTERN.test(value) ? Number(value) : NaN;
    if (!Number.isSafeInteger(number) || number < min || number > max) {
      throw new InvalidArgumentError(`It must be an integer of ${min} to ${max}.`);
    }
    return number;
  };
}

export function numberIn({ min, max }: Range): (value: string) => number {
  return (value) => {
    const number = NUMBER_PATTERN.test(value) ? Number(value) : NaN;
    if (!Number.isFinite(number) || number < min || number > max) {
      throw new InvalidArgumentError(`It must be a number of ${min} to ${max}.`);
    }
    return number;
  };
}

/** All 64 bits, for seeds. */
export function uint64(value: string): bigint {
  const number = /^\d{1,20}$/.test(value) ? BigInt(value) : -1n;
  if (number < 0n || number >= 2n ** 64n)
    throw new InvalidArgumentError('It must be an integer of 0 to 2^64 - 1.');
  return number;
}

/** 4096, 64KiB, 1.5GiB, 10GB (decimal) or 10G (binary, as in most tools of the shell). */
export function byteSize(value: string): number {
  const match = BYTES_PATTERN.exec(value.trim());
  const unit = (match?.[2] ?? '').toLowerCase();
  const isDecimal = match !== null && unit !== '' && match[3] === '' && /b$/i.test(value.trim());
  const bytes =
    match === null ? NaN : Number(match[1]) * (isDecimal ? 1000 : 1024) ** (UNIT_EXPONENTS[unit] ?? 0);
  if (!Number.isSafeInteger(Math.round(bytes))) {
    throw new InvalidArgumentError('It must be a number of bytes, such as 4096, 512MiB or 1.5GiB.');
  }
  return Math.round(bytes);
}

export function oneOf<const T extends string>(choices: readonly T[]): (value: string) => T {
  return (value) => {
    const choice = choices.find((candidate) => candidate === value);
    if (choice === undefined) throw new InvalidArgumentError(`It must be one of ${choices.join(', ')}.`);
    return choice;
  };
}

/**
 * Parses and runs; gives the exit code and never throws. `argv` is without node and the script. Mistakes and failures are
 * one line on `writeError`; help and the version go to stdout by commander.
 */
export async function runProgram(
  program: Command,
  argv: readonly string[],
  writeError: (text: string) => void = (text) => void process.stderr.write(text),
): Promise<number> {
  const name = program.name();
  configure(program);
  try {
    await program.parseAsync([...argv], { from: 'user' });
    // A command that ended without throwing may still have set a code, as doctor does.
    return typeof process.exitCode === 'number' ? process.exitCode : 0;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return 0;
      writeError(`${name}: ${usageMessage(error)}\n`);
      return EXIT_USAGE;
    }
    const failure = toAppError(error);
    writeError(`${name}: ${oneLine(failure.message)} (${failure.code})\n`);
    return EXIT_FAILURE;
  }
}

/** Every command throws instead of ending the process, and leaves the printing of mistakes to runProgram. */
function configure(command: Command): void {
  command.exitOverride().configureOutput({ outputError: () => undefined });
  command.showSuggestionAfterError(true);
  for (const child of command.commands) configure(child);
}

function usageMessage(error: CommanderError): string {
  // `skein` alone prints its help, which is all there is to say.
  if (error.code === 'commander.help') return 'no command given; see --help';
  return oneLine(error.message.replace(/^error: /, ''));
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, ' ').trim();
}
