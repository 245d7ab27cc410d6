// Builds one worker process out of its parts: engine, service, lease, lifecycle. Everything comes in as an argument, so that
// tests run it with a fake engine.
import { hostname } from 'node:os';
import { systemClock } from '../common/clock.js';
import { bindServer, createGrpcServer, stopServer } from '../common/grpc-server.js';
import { MAX_GRPC_MESSAGE_BYTES } from '../common/limits.js';
import { createLogger } from '../common/logger.js';
import { workerServiceDefinition } from '../common/proto.js';
import type { WorkerConfig } from './config.js';
import { EngineHolder, type EngineFactory } from './engine-holder.js';
import { Lease } from './lease.js';
import { Lifecycle } from './lifecycle.js';
import { StepRunner } from './step-runner.js';
import { WorkerService } from './worker-service.js';

const MAX_CONCURRENT_STREAMS = 64;
const STOP_GRACE_MS = 300;

/** Resolves when the worker listens; it then runs until its lifecycle ends the process. */
export async function runWorker(config: WorkerConfig, createEngine: EngineFactory): Promise<void> {
  const logger = createLogger({
    level: config.logLevel,
    defaultLevel: 'info',
    bindings: { component: 'worker', workerId: config.workerId },
  });
  const engines = new EngineHolder(createEngine, config);
  const runner = new StepRunner(engines, logger);
  const service = new WorkerService({
    workerId: config.workerId,
    engines,
    runner,
    logger,
    // Later, so that the answer still goes out.
    onShutDown: (reason) => void setTimeout(() => lifecycle.stop(reason, 0), 50),
  });
  const server = createGrpcServer({ maxMessageBytes: MAX_GRPC_MESSAGE_BYTES, maxConcurrentStreams: MAX_CONCURRENT_STREAMS });
  server.addService(workerServiceDefinition, service.handlers());

  let lease: Lease | null = null;
  const lifecycle = new Lifecycle({
    config,
    clock: systemClock,
    logger,
    stop: async (reason) => {
      await Promise.all([lease?.stop(reason), runner.stop(reason).catch(() => undefined)]);
      await Promise.all([stopServer(server, STOP_GRACE_MS), engines.close()]);
    },
  });
  lifecycle.watchProcess();

  const boundAddress = await bindServer(server, config.listenAddress);
  const address = config.advertisedAddress ?? boundAddress;
  logger.info({ address, device: config.device, host: hostname() }, 'worker listens');
  if (config.coordinatorAddress === null) return;
  lease = new Lease({
    coordinatorAddress: config.coordinatorAddress,
    clock: systemClock,
    logger,
    describe: () => ({ ...service.describe(), address }),
    onLost: () => lifecycle.coordinatorLost(),
    onHeld: () => lifecycle.coordinatorFound(),
    onRefused: (error) => {
      process.stderr.write(`skein: ${error.code}: ${error.message}\n`);
      lifecycle.stop('the coordinator refused this worker', 1);
    },
  });
  lease.start();
}
