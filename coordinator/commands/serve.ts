// `skein serve`: the gRPC service, until a signal drains it or the group fails. A group that failed is not served on: the process
// says why and ends with 1, so that whoever supervises it starts a new one.
import type { Command } from 'commander';
import { integerOption, listOption } from '../../common/command-line.js';
import { type AppError } from '../../common/errors.js';
import { checkAddress } from '../../common/grpc-server.js';
import { createLogger, type Logger } from '../../common/logger.js';
import { addSettingsOption } from '../../common/settings.js';
import { addClusterOptions, toClusterConfig } from '../config.js';
import { GrpcGateway } from '../gateway/grpc-gateway.js';
import { Serving } from '../serving/serving.js';
import { abortOnSignals } from './command-line.js';
import { createProgressDisplay } from './load-progress.js';
import { memoryTable } from './memory-table.js';

interface ServeFlags {
  readonly grpcAddress: string;
  readonly drainTimeout: number;
}

type ClusterFlags = Parameters<typeof toClusterConfig>[0];

const FAILURE_GRACE_MS = 1_000;

/** `workerEntry`: arguments of process.execPath that start `skein worker`. */
export function registerServe(program: Command, workerEntry: readonly string[]): void {
  const command = program.command('serve').description('serve a model over gRPC');
  addSettingsOption(addClusterOptions(command))
    .option('--grpc-address <address>', 'HOST:PORT or unix:PATH', '127.0.0.1:50051')
    .option('--workers <addresses>', 'workers that run already, in rank order: HOST:PORT,...', listOption)
    .option('--cluster-address <address>', 'take registrations of workers here, and wait for them')
    .option('--drain-timeout <seconds>', 'for running requests, after a signal', integerOption(0, 86_400), 30)
    .action((flags: ServeFlags & ClusterFlags) => serve(flags, workerEntry));
}

async function serve(flags: ServeFlags & ClusterFlags, workerEntry: readonly string[]): Promise<void> {
  const signal = abortOnSignals();
  const config = toClusterConfig(flags);
  const address = checkAddress(flags.grpcAddress, '--grpc-address');
  const logger = createLogger({ level: config.logLevel, bindings: { component: 'coordinator' } });
  const progress = createProgressDisplay(config.tensorParallelSize, false);
  let serving: Serving;
  try {
    serving = await Serving.start({
      config,
      logger,
      workerEntry,
      onProgress: (state) => progress.update(state),
      signal,
    });
  } finally {
    progress.stop();
  }
  await serveUntilEnd(serving, { address, drainMs: flags.drainTimeout * 1000, logger, signal });
}

export interface ServeUntilEndOptions {
  readonly address: string;
  readonly drainMs: number;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Returns after a drain that a signal asked for; throws when the group failed. */
export async function serveUntilEnd(serving: Serving, options: ServeUntilEndOptions): Promise<void> {
  const { logger, signal } = options;
  let gateway: GrpcGateway | null = null;
  try {
    gateway = await GrpcGateway.start({
      address: options.address,
      inference: serving.inference,
      model: serving.model,
      cluster: () => serving.cluster(),
      logger,
    });
    logger.info(
      { address: gateway.address, model: serving.model.name, ranks: serving.group.ranks.length },
      'serving',
    );
    const { ranks, numKvBlocks } = serving.group;
    process.stdout.write(memoryTable(ranks, numKvBlocks * serving.cluster().blockSize));
    process.stdout.write(`serving ${serving.model.name} on ${gateway.address}\n`);
    const failure = await Promise.race([serving.failed, aborted(signal)]);
    if (failure !== null) throw failure;
    gateway.setServing(false);
    logger.info({ numRequests: serving.inference.numActive, drainMs: options.drainMs }, 'draining');
    await Promise.race([serving.inference.drain(), serving.failed, timeout(options.drainMs)]);
  } finally {
    await serving.stop();
    await gateway?.stop(FAILURE_GRACE_MS);
  }
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
