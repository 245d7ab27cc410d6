// Builds one worker out of its parts: engine, service, server, lease. Everything comes in as an argument, so that tests
// run it with a fake engine, in their own process too.
import type { Clock } from '../common/clock.js';
import { systemClock } from '../common/clock.js';
import type { AppError } from '../common/errors.js';
import { EXIT_CODES, exitCodeOf } from '../common/exit-codes.js';
import { bindServer, createGrpcServer, stopServer } from '../common/grpc-server.js';
import { HealthServices } from '../common/health-services.js';
import { newIncarnation } from '../common/identity.js';
import { MAX_GRPC_MESSAGE_BYTES, MAX_WORKER_STREAMS, WORKER_STOP_GRACE_MS } from '../common/limits.js';
import { createLogger, type Logger } from '../common/logger.js';
import { workerServiceDefinition } from '../common/proto.js';
import { standardError } from '../common/standard-error.js';
import { openGrpcClusterTransport } from './cluster-transport.js';
import type { WorkerConfig } from './config.js';
import { CoordinatorWatch } from './coordinator-watch.js';
import { EngineHolder } from './engine-holder.js';
import { Lease } from './lease.js';
import { Lifecycle } from './lifecycle.js';
import type { CreateEngine } from './native/engine-like.js';
import { RankService } from './rank-service.js';
import { workerServiceHandlers } from './worker-service.js';

export interface WorkerEvents {
  /** The coordinator asked the worker to end. */
  onShutDown(reason: string): void;
  /** Neither a step stream nor the lease shows that it is there. */
  onCoordinatorLost(): void;
  onCoordinatorHeld(): void;
  /** The coordinator will not have this worker. */
  onRefused(error: AppError): void;
  /**
   * A step failed in a way after which this process is not to be trusted; whoever waited for the step has been told.
   */
  onBroken(error: AppError): void;
}

export interface StartWorkerOptions {
  readonly config: WorkerConfig;
  readonly createEngine: CreateEngine;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly events: WorkerEvents;
}

export interface RunningWorker {
  /** What the coordinator dials. */
  readonly address: string;
  stop(reason: string): Promise<void>;
}

export async function startWorker(options: StartWorkerOptions): Promise<RunningWorker> {
  const { config, logger, events } = options;
  const engines = new EngineHolder(options.createEngine, config);
  const watch = new CoordinatorWatch({
    hasLease: config.coordinatorAddress !== null,
    clock: options.clock,
    onLost: () => events.onCoordinatorLost(),
    onHeld: () => events.onCoordinatorHeld(),
  });
  const service = new RankService({
    identity: { workerId: config.workerId, clusterId: config.clusterId, incarnation: newIncarnation() },
    engines,
    coordinatorSilenceMs: config.coordinatorSilenceMs,
    clock: options.clock,
    logger,
    onShutDown: (reason) => events.onShutDown(reason),
    onHeld: () => watch.held(),
    onReleased: () => watch.released(),
    onBroken: (error) => events.onBroken(error),
  });
  const server = createGrpcServer({
    maxMessageBytes: MAX_GRPC_MESSAGE_BYTES,
    maxConcurrentStreams: MAX_WORKER_STREAMS,
  });
  server.addService(workerServiceDefinition, workerServiceHandlers(service));
  const health = new HealthServices();
  health.addToServer(server);
  const boundAddress = await bindServer(server, config.listenAddress);
  const address = config.advertisedAddress ?? boundAddress;
  health.setStatus('', 'SERVING');
  logger.info({ address, device: config.device }, 'worker listens');
  const lease =
    config.coordinatorAddress === null
      ? null
      : makeLease(options, config.coordinatorAddress, service, watch, address);
  lease?.start();
  return {
    address,
    async stop(reason) {
      health.setStatus('', 'NOT_SERVING');
      await Promise.all([lease?.stop(reason), service.stop(reason)]);
      watch.stop();
      await Promise.all([stopServer(server, WORKER_STOP_GRACE_MS), engines.close()]);
    },
  };
}

function makeLease(
  { clock, logger, events }: StartWorkerOptions,
  coordinatorAddress: string,
  service: RankService,
  watch: CoordinatorWatch,
  address: string,
): Lease {
  return new Lease({
    coordinatorAddress,
    transport: openGrpcClusterTransport(coordinatorAddress),
    clock,
    logger,
    describe: () => ({ ...service.describe(), address }),
    onLost: () => watch.leaseLost(),
    onHeld: () => watch.leaseHeld(),
    onRefused: (error) => events.onRefused(error),
  });
}

/** The whole process: resolves when the worker listens; its lifecycle ends the process. */
export async function runWorker(
  config: WorkerConfig,
  createEngine: CreateEngine,
  exit: (exitCode: number) => void,
): Promise<void> {
  const logger = createLogger({
    level: config.logLevel,
    defaultLevel: 'info',
    component: 'worker',
    bindings: { workerId: config.workerId },
  });
  let worker: RunningWorker | null = null;
  const lifecycle = new Lifecycle({
    config,
    clock: systemClock,
    logger,
    stop: (reason) => worker?.stop(reason) ?? Promise.resolve(),
    exit,
    // process.exit would wait for native clean-up, which is what may hang.
    kill: () => process.kill(process.pid, 'SIGKILL'),
  });
  lifecycle.watchProcess();
  worker = await startWorker({
    config,
    createEngine,
    logger,
    clock: systemClock,
    events: {
      // Later, so that the answer still goes out.
      onShutDown: (reason) => void setImmediate(() => lifecycle.stop(reason, EXIT_CODES.done.code)),
      onCoordinatorLost: () => lifecycle.coordinatorLost(),
      onCoordinatorHeld: () => lifecycle.coordinatorFound(),
      onRefused: (error) => {
        standardError.write(`skein: ${error.code}: ${error.message}\n`);
        lifecycle.stop('the coordinator refused this worker', exitCodeOf(error));
      },
      // Later, so that the step stream still says why.
      onBroken: (error) =>
        void setImmediate(() => {
          standardError.write(`skein: ${error.code}: ${error.message}\n`);
          lifecycle.stop('the device failed', exitCodeOf(error));
        }),
    },
  });
}
