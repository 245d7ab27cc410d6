// `skein health`: asks a server or a worker one question, of the gRPC health service or over HTTP, for HEALTHCHECK and
// exec probes. Exit code 0 when the answer is SERVING, 1 for every other answer and for none, 2 for a mistake on the
// command line.
import * as grpc from '@grpc/grpc-js';
import { Command } from 'commander';
import { service } from 'grpc-health-check';
import { inOurSpelling, integerOption } from '../../common/command-line.js';
import { EXIT_CODES } from '../../common/exit-codes.js';
import { clusterChannelOptions } from '../../common/grpc-client.js';
import { checkAddress } from '../../common/grpc-server.js';
import { fromGrpcError } from '../../common/grpc-status.js';
import { HEALTH_SERVICE_NAME, PROBES } from '../../common/health-services.js';
import { DEFAULT_HEALTH_TIMEOUT_MS } from '../../common/limits.js';
import { reportError } from './command-line.js';

const DEFAULT_ADDRESS = '127.0.0.1:50051';
const HTTP = /^https?:\/\/[^/]/;
/** Of the standard health.proto. */
const STATUS_NAMES = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'];

type HealthClient = grpc.Client & {
  check(
    request: { service: string },
    options: grpc.CallOptions,
    callback: (error: grpc.ServiceError | null, response?: { status: string | number }) => void,
  ): void;
};

const Client = grpc.makeClientConstructor(service, HEALTH_SERVICE_NAME) as unknown as new (
  address: string,
  credentials: grpc.ChannelCredentials,
  options: grpc.ChannelOptions,
) => HealthClient;

export async function main(args: readonly string[]): Promise<void> {
  // Below `skein`, as its help says how it is called.
  const command = new Command('skein')
    .command('health')
    .description('asks a server or worker whether it is ready')
    .argument(
      '[address]',
      'HOST:PORT or unix:PATH, or http://HOST:PORT for /ready there, or another path of it ' +
        `(default: of SKEIN_GRPC_ADDRESS on this host, else ${DEFAULT_ADDRESS})`,
    )
    .option(
      '--service <name>',
      `${PROBES.join(', ')}, or a gRPC service; "" is the server as a whole`,
      'ready',
    )
    .option(
      '--timeout <seconds>',
      'for the whole question',
      integerOption(1, 3600),
      DEFAULT_HEALTH_TIMEOUT_MS / 1000,
    )
    .exitOverride()
    .configureOutput({ outputError: () => undefined });
  try {
    command.parse(inOurSpelling(args, command), { from: 'user' });
    const flags = command.opts<{ service: string; timeout: number }>();
    const address = command.args[0] ?? ownAddress(process.env);
    const timeoutMs = flags.timeout * 1000;
    const answer = HTTP.test(address)
      ? await checkHttp(new URL(address), timeoutMs)
      : await check(checkAddress(address, 'address'), flags.service, timeoutMs);
    process.stdout.write(`${answer}\n`);
    process.exitCode = answer === 'SERVING' ? EXIT_CODES.done.code : EXIT_CODES.failed.code;
  } catch (error) {
    process.exitCode = reportError(error);
  }
}

/** Where the server of this container listens, as a client dials it. */
export function ownAddress(environment: Readonly<Record<string, string | undefined>>): string {
  const address = environment['SKEIN_GRPC_ADDRESS'] ?? '';
  return address === '' ? DEFAULT_ADDRESS : address.replace(/^(0\.0\.0\.0|\[::\]|\*):/, '127.0.0.1:');
}

/** SERVING, NOT_SERVING, …, or the gRPC status with which there was none of these, and why. */
export function check(address: string, serviceName: string, timeoutMs: number): Promise<string> {
  const client = new Client(address, grpc.credentials.createInsecure(), clusterChannelOptions());
  return new Promise((resolve) => {
    client.check({ service: serviceName }, { deadline: Date.now() + timeoutMs }, (error, response) => {
      client.close();
      if (error === null) resolve(nameOf(response?.status));
      else resolve(`${grpc.status[error.code] ?? 'UNKNOWN'}: ${grpcProblem(error, timeoutMs)}`);
    });
  });
}

/** SERVING, NOT_SERVING for another status than 2xx, or UNAVAILABLE where there was no answer, and why. */
export async function checkHttp(url: URL, timeoutMs: number): Promise<string> {
  if (url.pathname === '/') url.pathname = '/ready';
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs), redirect: 'manual' });
    await response.body?.cancel();
    return response.ok ? 'SERVING' : 'NOT_SERVING';
  } catch (error) {
    return `UNAVAILABLE: ${httpProblem(error, timeoutMs)}`;
  }
}

function grpcProblem(error: grpc.ServiceError, timeoutMs: number): string {
  if (error.code === grpc.status.DEADLINE_EXCEEDED) return noAnswer(timeoutMs);
  return fromGrpcError(error, { unavailable: 'NOT_READY' }).message;
}

/** fetch says no more than that it failed; the error that caused it says why. */
function httpProblem(error: unknown, timeoutMs: number): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError') return noAnswer(timeoutMs);
  const { cause = error } = error;
  // One for each address of a name.
  const errors: unknown[] = cause instanceof AggregateError ? cause.errors : [cause];
  return errors.map(messageOf).join('; ');
}

/** OpenSSL puts places in its source code around its reason. */
function messageOf(error: unknown): string {
  const { message, reason } = error as { message?: string; reason?: string };
  return reason === undefined ? (message ?? String(error)) : `TLS: ${reason}`;
}

function noAnswer(timeoutMs: number): string {
  return `no answer within ${timeoutMs} ms`;
}

function nameOf(status: string | number | undefined): string {
  return typeof status === 'string' ? status : (STATUS_NAMES[status ?? 0] ?? 'UNKNOWN');
}
