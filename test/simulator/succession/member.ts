// A simulated worker that somebody else started: the real lease, watch over the coordinator and life cycle around the
// real service of a rank. It ends as the process would, and whoever supervises it starts another.
import { clusterServiceDefinition } from '../../../common/proto.js';
import { AppError, toAppError } from '../../../common/errors.js';
import { EXIT_CODES } from '../../../common/exit-codes.js';
import type { RegisterRequest } from '../../../proto/ts/skein/cluster/v1/RegisterRequest.js';
import type { ClusterTransport } from '../../../worker/cluster-transport.js';
import { createWorkerCommand, toWorkerConfig, type ParsedWorkerOptions } from '../../../worker/config.js';
import { CoordinatorWatch } from '../../../worker/coordinator-watch.js';
import { Lease } from '../../../worker/lease.js';
import { Lifecycle } from '../../../worker/lifecycle.js';
import type { SimulatedEngineOptions } from '../engine.js';
import type { SimulatedProcess } from '../process.js';
import type { Random } from '../random.js';
import { CLUSTER_ID, SimulatedWorker, silentLogger } from '../worker.js';
import type { SimulatedCoordinator } from './coordinator.js';

export interface MemberOptions {
  readonly incarnation: number;
  readonly engine: SimulatedEngineOptions;
  /** Who listens where workers register; undefined: workers do not register. */
  readonly registrar?: () => SimulatedCoordinator | null;
  readonly maxDelayMs: number;
  readonly orphanWaitSeconds: number;
  /** The process has ended, with this code. */
  readonly onExit: (exitCode: number) => void;
}

const CALL_TIMEOUT_MS = 5_000;

export class Member extends SimulatedWorker {
  readonly incarnation: number;
  readonly lifecycle: Lifecycle;
  readonly #watch: CoordinatorWatch;
  readonly #lease: Lease | null;

  constructor(options: MemberOptions) {
    const { incarnation, engine, registrar, orphanWaitSeconds, onExit } = options;
    const { process, random } = engine;
    const { clock } = process;
    super(incarnation, engine, () =>
      process.run(1, 'ends', () => this.lifecycle.stop('the device failed', EXIT_CODES.failed.code)),
    );
    this.onHeldChange = (isHeld) => (isHeld ? this.#watch.held() : this.#watch.released());
    this.incarnation = incarnation;
    const args = ['--listen', this.address, '--orphan-policy', `wait:${orphanWaitSeconds}`];
    const command = createWorkerCommand().parse(args, { from: 'user' });
    this.lifecycle = new Lifecycle({
      config: toWorkerConfig(command.opts<ParsedWorkerOptions>()),
      clock,
      logger: silentLogger,
      stop: async (reason) => {
        await Promise.all([this.#lease?.stop(reason), this.service.stop(reason)]);
        this.#watch.stop();
      },
      exit: onExit,
      kill: () => onExit(EXIT_CODES.killed.code),
    });
    this.#watch = new CoordinatorWatch({
      hasLease: registrar !== undefined,
      clock,
      onLost: () => this.lifecycle.coordinatorLost(),
      onHeld: () => this.lifecycle.coordinatorFound(),
    });
    this.#lease =
      registrar === undefined
        ? null
        : new Lease({
            coordinatorAddress: 'coordinator:1',
            transport: clusterTransport(process, random, options.maxDelayMs, registrar),
            clock,
            logger: silentLogger,
            describe: (): RegisterRequest => ({ ...this.service.describe(), address: this.address }),
            onLost: () => this.#watch.leaseLost(),
            onHeld: () => this.#watch.leaseHeld(),
            onRefused: () => this.lifecycle.stop('refused', EXIT_CODES.refused.code),
          });
    this.#lease?.start();
  }

  get address(): string {
    return addressOf(this.process.name);
  }
}

export function addressOf(workerName: string): string {
  return `${workerName}:1`;
}

/** Calls to whoever listens when they arrive. */
function clusterTransport(
  process: SimulatedProcess,
  random: Random,
  maxDelayMs: number,
  registrar: () => SimulatedCoordinator | null,
): ClusterTransport {
  const call = <Name extends 'Register' | 'RenewLease' | 'Deregister', Response>(
    name: Name,
    request: object,
  ): Promise<Response> => {
    const definition = clusterServiceDefinition[name];
    const bytes = definition.requestSerialize(request);
    return new Promise((resolve, reject) => {
      const timer = process.clock.setTimer(CALL_TIMEOUT_MS, () =>
        reject(new AppError('DEADLINE_EXCEEDED', `${name} was not answered`)),
      );
      const back = (settle: () => void): void => {
        process.run(random.real(0, maxDelayMs), `${name} answered`, () => {
          timer.cancel();
          settle();
        });
      };
      const coordinator = registrar();
      if (coordinator === null) {
        back(() => reject(new AppError('NOT_READY', 'connection refused')));
        return;
      }
      coordinator.process.run(random.real(0, maxDelayMs), name, () => {
        try {
          const answer = coordinator.answer(name, definition.requestDeserialize(bytes));
          const packed = definition.responseSerialize(answer);
          back(() => resolve(definition.responseDeserialize(packed) as Response));
        } catch (error) {
          back(() => reject(toAppError(error)));
        }
      });
    });
  };
  return {
    register: (request) => call('Register', request),
    renewLease: (request) => call('RenewLease', request),
    deregister: async (request) => {
      await call('Deregister', request);
    },
    close: () => undefined,
  };
}

export { CLUSTER_ID };
