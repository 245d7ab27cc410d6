// Settings from the environment (SKEIN_MODEL for --model) and from a file, beside flags. The flags of a command are the
// table: their names, types, bounds and help are declared once, and this reads other sources by them. A flag wins over
// the environment, the environment over the file, the file over the default.
import { InvalidArgumentError, type Command, type Option } from 'commander';
import { readFileSync } from 'node:fs';
import { MAX_SETTINGS_FILE_BYTES } from './limits.js';

const PREFIX = 'SKEIN_';
/** Of the file itself, as a flag and as a variable. */
const FILE_FLAG = '--settings';
const FILE_VARIABLE = 'SKEIN_SETTINGS';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Flags of one request, the file itself, and what only a parent process passes are no settings. */
export function isSetting(option: Option): boolean {
  return !option.hidden && !option.variadic && option.long !== undefined && !NO_SETTINGS.has(option.long);
}

const NO_SETTINGS: ReadonlySet<string> = new Set([FILE_FLAG, '--help', '--version']);

/** `tensor-parallel-size`; of `--no-cuda-graphs` the positive name. */
export function settingName(option: Option): string {
  return (option.long ?? '').replace(/^--(no-)?/, '');
}

export function variableName(option: Option): string {
  return PREFIX + settingName(option).replaceAll('-', '_').toUpperCase();
}

export function addSettingsOption(command: Command): Command {
  return command.option(
    `${FILE_FLAG} <file>`,
    'settings as a JSON object: {"model": "DIR", ...} (docs/settings.md)',
  );
}

export interface SettingsSources {
  /** Of this command, as the user typed them. */
  readonly args: readonly string[];
  readonly environment: Environment;
}

/**
 * Gives `command` the values of file and environment before it reads its flags. `accepts`: which of its flags are
 * settings.
 */
export function applySettings(
  command: Command,
  { args, environment }: SettingsSources,
  accepts: (option: Option) => boolean = isSetting,
): void {
  const options = command.options.filter((option) => isSetting(option) && accepts(option));
  const file = fileOf(args) ?? environment[FILE_VARIABLE];
  if (file !== undefined && file !== '') applyFile(command, options, file);
  for (const option of options) {
    const name = variableName(option);
    const value = environment[name];
    // An empty variable is how compose files and unit files leave one out.
    if (value !== undefined && value !== '') apply(command, option, value, name, 'env');
  }
}

function fileOf(args: readonly string[]): string | undefined {
  const index = args.findIndex((arg) => arg === FILE_FLAG || arg.startsWith(`${FILE_FLAG}=`));
  if (index < 0) return undefined;
  const arg = args[index]!;
  return arg === FILE_FLAG ? args[index + 1] : arg.slice(FILE_FLAG.length + 1);
}

function applyFile(command: Command, options: readonly Option[], file: string): void {
  for (const [key, value] of Object.entries(readSettings(file))) {
    const name = key.replaceAll('_', '-');
    const option = options.find((candidate) => settingName(candidate) === name);
    if (option === undefined) throw wrong(file, `${key} is no setting of skein ${command.name()}`);
    const text = Array.isArray(value) ? value.map(String).join(',') : value;
    if (!['string', 'number', 'boolean'].includes(typeof text))
      throw wrong(file, `${key} must be a string, a number, true, false or a list`);
    apply(command, option, String(text), `${file}: ${key}`, 'config');
  }
}

function readSettings(file: string): Record<string, unknown> {
  let settings: unknown;
  try {
    const bytes = readFileSync(file);
    if (bytes.byteLength > MAX_SETTINGS_FILE_BYTES)
      throw new Error(`it has more than ${MAX_SETTINGS_FILE_BYTES} bytes`);
    settings = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw wrong(file, `cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof settings !== 'object' || settings === null || Array.isArray(settings))
    throw wrong(file, 'a JSON object of settings is expected');
  return settings as Record<string, unknown>;
}

function apply(command: Command, option: Option, text: string, from: string, source: 'env' | 'config'): void {
  command.setOptionValueWithSource(option.attributeName(), parse(option, text, from), source);
}

function parse(option: Option, text: string, from: string): unknown {
  const isSwitch = !option.required && !option.optional;
  if (isSwitch) {
    if (/^(true|1|yes|on)$/i.test(text)) return true;
    if (/^(false|0|no|off)$/i.test(text)) return false;
    throw wrong(from, 'expected true or false');
  }
  try {
    return option.parseArg === undefined ? text : option.parseArg(text, undefined);
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error;
    throw wrong(from, `${JSON.stringify(text)}: ${error.message}`);
  }
}

/** A mistake of the caller, as a wrong flag is one: commands end with the same exit code. */
function wrong(where: string, what: string): InvalidArgumentError {
  return new InvalidArgumentError(`${where}: ${what.replace(/\.$/, '')}`);
}
