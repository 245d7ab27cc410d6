// `skein serve`: the gRPC service, and the HTTP one where an address is given, until a signal drains it or nothing is
// served any more. It listens before the group is formed and says so when it is. A lost group is formed again; with
// --restart-policy none, or where that leads to nothing, the process says why and ends with 1, so that whoever
// supervises it starts a new one.
import type { Command } from 'commander';
import { systemClock } from '../../common/clock.js';
import { integerOption, listOption } from '../../common/command-line.js';
import { type AppError } from '../../common/errors.js';
import { checkAddress } from '../../common/grpc-server.js';
import {
  DEFAULT_DRAIN_TIMEOUT_MS,
  DEFAULT_IDEMPOTENCY_WINDOW_MS,
  DEFAULT_RECONNECT_GRACE_MS,
  GATEWAY_STOP_GRACE_MS,
} from '../../common/limits.js';
import { createLogger, type Logger } from '../../common/logger.js';
import { addSettingsOption } from '../../common/settings.js';
import { addClusterOptions } from '../cluster-options.js';
import { toClusterConfig, type ClusterConfig } from '../config.js';
import { IdempotentRequests } from '../engine/idempotent-requests.js';
import { GrpcGateway } from '../gateway/grpc-gateway.js';
import type { HttpGateway } from '../gateway/http/http-gateway.js';
import { Serving } from '../serving/serving.js';
import { CutError, SignalError, untilSignal } from './command-line.js';
import { showDrain } from './drain-progress.js';
import { addHttpOptions, startHttp, toHttpOptions, type HttpFlags } from './http-options.js';
import {
  addObservabilityOptions,
  Observability,
  toObservabilityOptions,
  type ObservabilityFlags,
} from './observability-options.js';
import { createProgressDisplay } from './load-progress.js';
import { memoryTable } from './memory-table.js';
import { addRestartOptions, toRestartOptions, type RestartFlags } from './restart-options.js';

interface ServeFlags extends RestartFlags, HttpFlags, ObservabilityFlags {
  readonly grpcAddress: string;
  readonly drainTimeout: number;
  readonly idempotencyWindow: number;
  readonly reconnectGrace: number;
}

type ClusterFlags = Parameters<typeof toClusterConfig>[0];

/** `workerEntry`: arguments of process.execPath that start `skein worker`. */
export function registerServe(program: Command, workerEntry: readonly string[]): void {
  const command = program.command('serve').description('serve a model over gRPC and HTTP');
  addSettingsOption(addClusterOptions(command));
  addRestartOptions(addObservabilityOptions(addHttpOptions(command)))
    .option('--grpc-address <address>', 'HOST:PORT or unix:PATH', '127.0.0.1:50051')
    .option('--workers <addresses>', 'workers that run already, in rank order: HOST:PORT,...', listOption)
    .option('--cluster-address <address>', 'take registrations of workers here, and wait for them')
    .option(
      '--drain-timeout <seconds>',
      'for running requests, after a signal',
      integerOption(0, 86_400),
      DEFAULT_DRAIN_TIMEOUT_MS / 1000,
    )
    .option(
      '--idempotency-window <seconds>',
      'a finished answer can be joined for so long by calls with its idempotency key; 0: not at all',
      integerOption(0, 86_400),
      DEFAULT_IDEMPOTENCY_WINDOW_MS / 1000,
    )
    .option(
      '--reconnect-grace <seconds>',
      'a request with an idempotency key goes on for so long when its clients have left; 0: not at all',
      integerOption(0, 3_600),
      DEFAULT_RECONNECT_GRACE_MS / 1000,
    )
    .action((flags: ServeFlags & ClusterFlags) =>
      untilSignal((signal) => serve(flags, workerEntry, signal)).catch(unlessAskedToEnd),
    );
}

/** Who asks it to end before it serves takes nothing from anybody. */
function unlessAskedToEnd(error: unknown): void {
  if (!(error instanceof SignalError)) throw error;
}

async function serve(
  flags: ServeFlags & ClusterFlags,
  workerEntry: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const config = toClusterConfig(flags);
  const address = checkAddress(flags.grpcAddress, '--grpc-address');
  const httpOptions = toHttpOptions(flags);
  const observabilityOptions = toObservabilityOptions(flags, httpOptions !== null);
  const logger = createLogger({ level: config.logLevel, component: 'coordinator' });
  const progress = createProgressDisplay(config.tensorParallelSize, false);
  const serving = await Serving.open({
    config,
    logger,
    workerEntry,
    onProgress: (state) => progress.update(state),
    signal,
    ...toRestartOptions(flags),
  });
  const gateway = await startGateway(serving, { ...config, ...flags }, address, logger);
  let http: HttpGateway | null = null;
  const observability = new Observability(serving, observabilityOptions, gateway.budget, logger);
  try {
    await observability.start();
    const metrics = observability.publicMetrics;
    if (httpOptions !== null) http = await startHttp(serving, httpOptions, gateway, metrics, logger);
    await serving.ready().finally(() => progress.stop());
    announce(serving, gateway, http, logger);
    await untilEnd(serving, { drainMs: flags.drainTimeout * 1000, logger, signal });
  } finally {
    await serving.stop();
    const servers = [gateway, ...(http === null ? [] : [http]), observability];
    await Promise.all(servers.map((server) => server.stop(GATEWAY_STOP_GRACE_MS)));
  }
}

/** Nothing of a service whose address cannot be had is left running. */
async function startGateway(
  serving: Serving,
  settings: Pick<ClusterConfig, 'requestMemoryBytes'> & ServeFlags,
  address: string,
  logger: Logger,
): Promise<GrpcGateway> {
  const { engine } = serving;
  const { requestMemoryBytes, idempotencyWindow, reconnectGrace } = settings;
  try {
    return await GrpcGateway.start({
      address,
      engine,
      idempotentRequests: new IdempotentRequests({
        engine,
        clock: systemClock,
        windowMs: idempotencyWindow * 1000,
        graceMs: reconnectGrace * 1000,
      }),
      model: () => serving.model,
      cluster: () => serving.cluster(),
      requestMemoryBytes,
      logger,
    });
  } catch (error) {
    await serving.stop();
    throw error;
  }
}

function announce(serving: Serving, gateway: GrpcGateway, http: HttpGateway | null, logger: Logger): void {
  const { ranks, numKvBlocks } = serving.group;
  logger.info({ address: gateway.address, model: serving.model.name, ranks: ranks.length }, 'serving');
  process.stdout.write(memoryTable(ranks, numKvBlocks * serving.cluster().blockSize));
  const addresses = [gateway.address, ...(http === null ? [] : [http.address])].join(' and ');
  process.stdout.write(`serving ${serving.model.name} on ${addresses}\n`);
}

interface UntilEndOptions {
  readonly drainMs: number;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Returns after a drain that a signal asked for; throws when nothing is served any more, or when requests outlast the
 * drain.
 */
async function untilEnd(serving: Serving, { drainMs, logger, signal }: UntilEndOptions): Promise<void> {
  const failure = await Promise.race([serving.ended, aborted(signal)]);
  if (failure !== null) throw failure;
  const { requests } = serving.engine;
  logger.info({ numRequests: requests.size, drainMs }, 'draining');
  const display = showDrain({ drainMs, numRequests: () => requests.size, clock: systemClock });
  const isCut = await Promise.race([serving.engine.drain(), serving.ended, timeout(drainMs)])
    .then(() => requests.size > 0)
    .finally(() => display.stop());
  if (isCut) throw new CutError(requests.size, drainMs);
}

function aborted(signal: AbortSignal): Promise<AppError | null> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(null);
    else signal.addEventListener('abort', () => resolve(null), { once: true });
  });
}

function timeout(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
