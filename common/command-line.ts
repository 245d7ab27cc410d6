// How flags and their values are read, one way for every command: in upstream's spelling too; strict, in range, one
// sentence where they are not. For commander's `.option(flags, description, integerOption(1, 64))`; it declares no
// command itself.
import { InvalidArgumentError, type Command } from 'commander';

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/** Other names that upstream's scripts have for flags, without dashes. */
const UPSTREAM_NAMES: Readonly<Record<string, string>> = { 'model-path': 'model' };

/**
 * Arguments of a command with its flags as the help shows them: upstream's scripts write --tensor_parallel_size and
 * --model_path. What is no flag of the command stays as it is, and so does everything behind "--".
 */
export function inOurSpelling(args: readonly string[], command: Command): string[] {
  const end = args.indexOf('--');
  return args.map((arg, index) => {
    const match = /^--([a-z][a-z0-9_-]*)(=.*)?$/s.exec(arg);
    if (match === null || (end >= 0 && index > end)) return arg;
    const name = match[1]!.replaceAll('_', '-');
    const flag = `--${UPSTREAM_NAMES[name] ?? name}`;
    return command.options.some((option) => option.long === flag) ? `${flag}${match[2] ?? ''}` : arg;
  });
}

/** A parser of a flag's text that also says what it takes, for generated documentation. */
export type DescribedParser<T> = ((value: string) => T) & { readonly expects: string };

export function describedParser<T>(expects: string, parse: (value: string) => T): DescribedParser<T> {
  return Object.assign((value: string) => parse(value), { expects });
}

export function integerOption(min: number, max: number): DescribedParser<number> {
  return describedParser(`integer of ${min} to ${max}`, (value) => {
    const number = Number(value);
    if (!/^\d{1,15}$/.test(value) || number < min || number > max) {
      throw new InvalidArgumentError(`expected an integer of ${min} to ${max}.`);
    }
    return number;
  });
}

/** Ranges are checked where the number's meaning is known; here only that it is one. */
export function realOption(value: string): number {
  const number = Number(value);
  if (value.trim() === '' || !Number.isFinite(number)) throw new InvalidArgumentError('expected a number.');
  return number;
}

/** Exact, where a number would round. Its range is checked with the other sampling options. */
export function seedOption(value: string): bigint {
  if (!/^\d{1,20}$/.test(value)) throw new InvalidArgumentError('expected an integer of 0 to 2^64 - 1.');
  return BigInt(value);
}

export const listOption = describedParser('list, separated by commas', (value) =>
  value
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== ''),
);

/** 4096, 512M, 1.5GiB. Units are powers of 1024 however they are written: 10G, 10GB and 10GiB are the same. */
export const byteSizeOption = describedParser('bytes, as 512M or 4G', (value) => {
  const match = /^(\d{1,12}(?:\.\d{1,3})?)([KMGT]?)(?:i?B)?$/i.exec(value);
  const bytes = match === null ? NaN : Math.floor(Number(match[1]) * UNITS[(match[2] ?? '').toUpperCase()]!);
  if (!(bytes >= 1 && bytes <= Number.MAX_SAFE_INTEGER))
    throw new InvalidArgumentError('expected bytes, as 512M or 4G (powers of 1024).');
  return bytes;
});

/** `orElse`: what the caller takes beside it, as words to follow. */
export function numberOption(min: number, max: number, orElse = ''): DescribedParser<number> {
  const expects = `number of ${min} to ${max}${orElse}`;
  return describedParser(expects, (value) => {
    const number = Number(value);
    if (value.trim() === '' || !(number >= min && number <= max))
      throw new InvalidArgumentError(`expected a ${expects}.`);
    return number;
  });
}
