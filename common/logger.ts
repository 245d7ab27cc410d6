// The process's log: JSON lines on stderr, for stdout belongs to what a command prints. Children carry fixed bindings
// (component, workerId, rank, groupEpoch, requestId). Never log prompts, tokens, pictures or credentials.
import { pino, stdSerializers, type DestinationStream, type Logger as PinoLogger } from 'pino';
import { AppError } from './errors.js';
import { standardError } from './standard-error.js';

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export type Logger = PinoLogger;

export interface LoggerOptions {
  /** From the command line; null: SKEIN_LOG, or else `defaultLevel`. */
  readonly level: string | null;
  /** What a command logs when nobody asked: silent under tests (NODE_ENV=test). */
  readonly defaultLevel?: LogLevel;
  /** Of every line; a line that names another part of the process has that one instead. */
  readonly component?: string;
  /** Bindings of every line. */
  readonly bindings?: Readonly<Record<string, string | number>>;
  /** For tests of the log itself; stderr otherwise. */
  readonly destination?: DestinationStream;
}

export function createLogger(options: LoggerOptions): Logger {
  const { component } = options;
  const level = resolveLevel(options.level, options.defaultLevel ?? 'info', process.env);
  return pino(
    {
      level,
      base: { pid: process.pid, ...options.bindings },
      // Not in `base`: what a line or a child says itself would stand behind it, as the same key of JSON once more.
      ...(component === undefined ? {} : { mixin: () => ({ component }) }),
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: stdSerializers.errWithCause },
      redact: { paths: ['authorization', '*.authorization'], censor: '[redacted]' },
    },
    options.destination ?? standardError,
  );
}

/** Exported for its test: the flag wins, then SKEIN_LOG, then silence under tests, then the command's default. */
export function resolveLevel(
  flag: string | null,
  defaultLevel: LogLevel,
  environment: Readonly<Record<string, string | undefined>>,
): LogLevel {
  if (flag !== null) return parseLevel(flag, '--log-level');
  const fromEnvironment = environment['SKEIN_LOG'];
  if (fromEnvironment !== undefined && fromEnvironment !== '')
    return parseLevel(fromEnvironment, 'SKEIN_LOG');
  return environment['NODE_ENV'] === 'test' ? 'silent' : defaultLevel;
}

function parseLevel(value: string, name: string): LogLevel {
  const level = LOG_LEVELS.find((candidate) => candidate === value);
  if (level === undefined) {
    throw new AppError('INVALID_REQUEST', `${name} must be one of ${LOG_LEVELS.join(', ')}, got "${value}"`, {
      details: { param: name },
    });
  }
  return level;
}
