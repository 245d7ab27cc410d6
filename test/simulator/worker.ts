// A simulated worker: the real service of a rank over a simulated engine, in a process that is paused, killed and
// restarted.
import { pino } from 'pino';
import { EngineHolder } from '../../worker/engine-holder.js';
import { RankService } from '../../worker/rank-service.js';
import { SimulatedEngine, type SimulatedEngineOptions } from './engine.js';
import type { Connection } from './network.js';
import type { SimulatedProcess } from './process.js';

export const CLUSTER_ID = 'simulated';
export const silentLogger = pino({ level: 'silent' });

export class SimulatedWorker {
  readonly process: SimulatedProcess;
  readonly engine: SimulatedEngine;
  readonly service: RankService;
  readonly connections = new Set<Connection>();
  #isHeld = false;
  /** Told of each epoch that opens, and of its end. */
  onHeldChange: (isHeld: boolean) => void = () => undefined;

  /** `onEnd`: its process ends, as the real one does. */
  constructor(incarnation: number, options: SimulatedEngineOptions, onEnd: () => void) {
    this.process = options.process;
    this.engine = new SimulatedEngine(options);
    this.service = new RankService({
      identity: { workerId: options.process.name, clusterId: CLUSTER_ID, incarnation },
      engines: new EngineHolder(() => this.engine, { device: 'cpu', numThreads: 1 }),
      clock: options.process.clock,
      logger: silentLogger,
      onShutDown: onEnd,
      onHeld: () => {
        this.isHeld = true;
      },
      onReleased: () => {
        this.isHeld = false;
      },
      onBroken: onEnd,
    });
  }

  /** An epoch is open. */
  get isHeld(): boolean {
    return this.#isHeld;
  }

  set isHeld(isHeld: boolean) {
    this.#isHeld = isHeld;
    this.onHeldChange(isHeld);
  }

  kill(): void {
    this.process.isAlive = false;
    for (const connection of [...this.connections]) connection.break();
  }
}
