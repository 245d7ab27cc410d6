// One simulated life of a service: the real engine, replica, scheduler, step loop, group and workers' services over
// simulated processes, network and model, with faults that the seed draws. What must always hold is checked after every
// event.
import { AppError, toAppError, type ErrorCode } from '../../common/errors.js';
import { NEUTRAL_SAMPLING } from '../../common/sampling.js';
import { CoordinatorIdentity } from '../../coordinator/cluster/identity.js';
import type { Encoder } from '../../coordinator/encoding/encoder.js';
import { Engine } from '../../coordinator/engine/engine.js';
import { EpochRuntime } from '../../coordinator/engine/epoch-runtime.js';
import { Replica } from '../../coordinator/engine/replica.js';
import { formGroup } from '../../coordinator/executor/form-group.js';
import type { PromptInput } from '../../coordinator/requests/request-spec.js';
import type { RequestEvent } from '../../coordinator/requests/request-store.js';
import { Blame, HANG_TIMEOUT_MS } from './blame.js';
import { Client, type ClientOutcome } from './client.js';
import { drawConfig, TOKENS_PER_TILE, type SimulatedConfig } from './config.js';
import { KV_BYTES_PER_BLOCK } from './engine.js';
import { EventQueue } from './event-queue.js';
import { Fabric } from './fabric.js';
import { drawFaults, strikeLink, MAX_EXTRA_DELAY_MS, type Fault } from './faults.js';
import { Link } from './link.js';
import { loadRequest } from './load-request.js';
import { SimulatedGrammars } from './masks.js';
import { END_TOKEN, VOCAB_SIZE } from './model.js';
import { SimulatedTransport, type NetworkOptions } from './network.js';
import { SimulatedProcess } from './process.js';
import { Random } from './random.js';
import { SimulatedEncoder } from './simulated-encoder.js';
import { CLUSTER_ID, SimulatedWorker, silentLogger } from './worker.js';
import { untilViolation, Violation } from './until-violation.js';
import { silentOutput } from './silent-output.js';

const START_MS = 1_000_000;
/** All faults are over and mended by then. */
const MENDED_MS = 6_000;
/** Nothing may take longer: every deadline is shorter. */
const LIMIT_MS = 400_000;
const AFTERMATH_MS = 120_000;

export interface SimulationOptions {
  readonly seed: number;
  /** Told of every event. */
  readonly trace?: (line: string) => void;
  /** Default: true. Without, only outcomes are looked at. */
  readonly checksInvariants?: boolean;
  /** A fault that a test plants: some callbacks that were deferred never run. */
  readonly losesWakeUps?: boolean;
}

export interface SimulationResult {
  readonly seed: number;
  /** What did not hold; null: everything did. */
  readonly violation: string | null;
  readonly numEvents: number;
  readonly simulatedMs: number;
  readonly numEpochs: number;
  readonly faults: readonly Fault['kind'][];
  readonly outcomes: Readonly<Record<ClientOutcome, number>>;
  readonly numTokens: number;
  /** Of requests, by the ends of epochs. */
  readonly numInterruptions: number;
  /** Of requests whose readers fall behind; and the masks that tokens of others were held to. */
  readonly numPauses: number;
  readonly numMasks: number;
}

/** What ends a request that was accepted, beside its answer. */
const OWN_ENDS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'CANCELLED',
  'DEADLINE_EXCEEDED',
  // Whether with reason, the client says.
  'POISONED_REQUEST',
]);

export function simulate(options: SimulationOptions): Promise<SimulationResult> {
  return new Simulation(options).run();
}

class Simulation {
  readonly #options: SimulationOptions;
  readonly #random: Random;
  readonly #queue = new EventQueue();
  readonly #config: SimulatedConfig;
  readonly #coordinator: SimulatedProcess;
  readonly #fabric: Fabric;
  readonly #workers: SimulatedWorker[] = [];
  readonly #network: NetworkOptions;
  /** By worker. */
  readonly #links: readonly Link[];
  readonly #identity = new CoordinatorIdentity(CLUSTER_ID, START_MS * 4096);
  readonly #replica: Replica;
  readonly #engine: Engine;
  readonly #encoder: SimulatedEncoder;
  readonly #grammars: SimulatedGrammars;
  readonly #clients: Client[] = [];
  readonly #byPrompt = new Map<PromptInput, Client>();
  readonly #faults: Fault[];
  readonly #blame: Blame;
  readonly #numEnds = new Map<string, number>();
  /** By sequence: taken, so that nothing but its reader or its deadline may end it before its answer. */
  readonly #accepted = new Set<string>();
  #numInterruptions = 0;
  #numPauses = 0;
  #numStruck = 0;
  /** Of each epoch that was opened, which attempt to form a group opened it. */
  readonly #attemptOf = new Map<number, number>();
  #numAttempts = 0;
  #numIncarnations = 0;
  #violation: string | null = null;
  #reportLost: (error: AppError) => void = () => undefined;

  constructor(options: SimulationOptions) {
    this.#options = options;
    const random = (this.#random = new Random(options.seed));
    const config = (this.#config = drawConfig(random));
    const { trace } = options;
    if (trace !== undefined)
      this.#queue.trace = (atMs, what) => trace(`${atMs.toFixed(3).padStart(12)}  ${what}`);
    const coordinator = (this.#coordinator = new SimulatedProcess('coordinator', this.#queue));
    if (options.losesWakeUps === true) coordinator.dropsDeferred = () => random.chance(0.02);
    this.#fabric = new Fabric(random, TOKENS_PER_TILE);
    for (let index = 0; index < config.worldSize; index += 1) this.#workers.push(this.#startWorker(index));
    this.#links = this.#workers.map(() => new Link());
    const linkTo = (address: string): Link => this.#links[Number(address.slice(1))]!;
    this.#network = {
      ...{ random, linkTo },
      maxDelayMs: config.maxDelayMs,
      coordinator,
      listener: (address) => {
        const worker = this.#workers[Number(address.slice(1))]!;
        return worker.process.isAlive ? worker : null;
      },
      onOpen: (groupEpoch) => this.#onOpen(groupEpoch),
    };
    this.#replica = new Replica({
      formEpoch: (signal) => this.#formEpoch(signal),
      supervisor: {
        ...{ restartPolicy: 'epoch', minBackoffMs: 50, maxBackoffMs: 1_000, healthyAfterMs: 5_000 },
        ...{ maxAttempts: 30, maxFirstAttempts: 30 },
      },
      maxWaiting: config.scheduler.maxWaiting,
      clock: coordinator.clock,
      logger: silentLogger,
    });
    this.#encoder = new SimulatedEncoder(coordinator.clock, random);
    this.#grammars = new SimulatedGrammars(coordinator.clock, random);
    this.#engine = new Engine({
      replica: this.#replica,
      encoder: {
        encode: (prompt: PromptInput) => this.#encoder.encode(this.#byPrompt.get(prompt)!),
      } as unknown as Encoder,
      grammars: this.#grammars.pool,
      text: {
        stopTokenIds: [END_TOKEN],
        decode: () => '',
        createOutput: silentOutput,
      },
      vocabSize: VOCAB_SIZE,
      samplingDefaults: NEUTRAL_SAMPLING,
      clock: coordinator.clock,
      maxRequests: 100,
      drawSeed: () => BigInt(random.uint32()),
    });
    this.#engine.requests.observe({ onStage: (event) => this.#onRequest(event) });
    this.#faults = drawFaults(random, config.worldSize);
    this.#blame = new Blame({
      ...{ queue: this.#queue, coordinator, linkTo },
      worker: (address) => this.#workers[Number(address.slice(1))]!,
      onViolation: (message) => this.#fail(message),
    });
  }

  async run(): Promise<SimulationResult> {
    const broken = await untilViolation(() => this.#run());
    this.#violation ??= broken;
    const outcomes = { finished: 0, failed: 0, cancelled: 0 };
    for (const { outcome } of this.#clients) if (outcome !== null) outcomes[outcome] += 1;
    return {
      seed: this.#options.seed,
      violation: this.#violation,
      numEvents: this.#queue.numEvents,
      simulatedMs: this.#queue.nowMs,
      numEpochs: this.#attemptOf.size,
      faults: this.#faults.map(({ kind }) => kind),
      outcomes,
      numTokens: this.#clients.reduce((sum, { numTokens }) => sum + numTokens, 0),
      numInterruptions: this.#numInterruptions,
      numPauses: this.#numPauses,
      numMasks: this.#grammars.numMasks,
    };
  }

  async #run(): Promise<void> {
    this.#replica.start();
    for (let index = 0; index < this.#config.numRequests; index += 1) this.#startClient(index);
    for (const fault of this.#faults)
      this.#queue.at(fault.atMs, `fault: ${fault.kind}`, () => this.#strike(fault));
    this.#queue.at(MENDED_MS, 'faults are mended', () => this.#mend());
    await this.#until(
      LIMIT_MS,
      () => this.#clients.every(({ isOver }) => isOver) && this.#queue.nowMs >= MENDED_MS,
    );
    const open = this.#clients.filter(({ isOver }) => !isOver).map(({ name }) => name);
    this.#expect(open.length === 0, `never ended: ${open.join(', ')}`);
    let isStopped = false;
    void this.#engine.stop().then(() => {
      isStopped = true;
    });
    await this.#until(this.#queue.nowMs + AFTERMATH_MS, () => isStopped && this.#queue.pending.length === 0);
    this.#expect(isStopped, 'the engine did not stop');
    this.#checkNothingLeft();
  }

  async #until(limitMs: number, isDone: () => boolean): Promise<void> {
    while (!isDone()) {
      const what = await this.#queue.step(limitMs);
      if (what === null) return;
      // Nothing else changes what the coordinator holds.
      if (what.startsWith('coordinator')) this.#check();
      if (this.#violation !== null) throw new Violation(this.#violation);
    }
  }

  #check(): void {
    if (this.#options.checksInvariants !== false) this.#replica.epoch?.checkInvariants();
    for (const client of this.#clients) client.check();
    this.#blame.check(this.#replica.epoch?.group.failure ?? null);
  }

  #checkNothingLeft(): void {
    this.#expect(this.#engine.requests.size === 0, 'requests are left in the store');
    for (const [id, count] of this.#numEnds) this.#expect(count === 1, `${id} ended ${count} times`);
    const { numLeases } = this.#encoder;
    this.#expect(numLeases === 0, `${numLeases} prompts or pictures are still held`);
    this.#expect(this.#grammars.numOpen === 0, `${this.#grammars.numOpen} grammars are still followed`);
    this.#expect(
      this.#coordinator.numTimers === 0,
      `${this.#coordinator.numTimers} timers of the coordinator are set`,
    );
    for (const { process, engine, isHeld } of this.#workers) {
      this.#expect(!isHeld, `${process.name} is still held`);
      this.#expect(process.numTimers === 0, `${process.numTimers} timers of ${process.name} are set`);
      this.#expect(engine.numWholeReads <= 1, `${process.name} has read its weights more than once`);
      this.#expect(engine.isClean, `${process.name} still has ${engine.leftovers}`);
    }
  }

  #expect(holds: boolean, message: string): void {
    if (!holds) this.#fail(message);
  }

  /** Not thrown at once: the caller may be code under test that would catch it. */
  #fail(message: string): void {
    this.#violation ??= message;
  }

  #startWorker(index: number): SimulatedWorker {
    this.#numIncarnations += 1;
    const { numBlocks, maxStepMs, maxLoadMs } = this.#config;
    const process = new SimulatedProcess(`w${index}`, this.#queue);
    const die = (): void => this.#kill(index, this.#random.real(10, 1_000));
    const sizes = { numBlocks, maxStepMs, maxLoadMs };
    const options = { process, fabric: this.#fabric, random: this.#random, die, ...sizes };
    return new SimulatedWorker(this.#numIncarnations, options, () =>
      // Later, so that its step stream still says why.
      process.run(1, 'ends', () => this.#kill(index, this.#random.real(10, 1_000))),
    );
  }

  #startClient(index: number): void {
    const client = new Client(`request ${index}`, {
      random: this.#random,
      engine: this.#engine,
      process: this.#coordinator,
      mayLookPoisoned: () => this.#numStruck >= 2,
      onViolation: (message) => this.#fail(message),
    });
    this.#clients.push(client);
    this.#byPrompt.set(client.spec.prompt, client);
    this.#queue.at(client.arrivalMs, `${client.name} arrives`, () =>
      this.#coordinator.run(0, client.name, () => client.start()),
    );
  }

  async #formEpoch(signal: AbortSignal): Promise<EpochRuntime> {
    this.#numAttempts += 1;
    const { worldSize, scheduler, numBlocks } = this.#config;
    const { clock } = this.#coordinator;
    const lost = new Promise<AppError>((resolve) => {
      this.#reportLost = resolve;
    });
    let onAbort: () => void = () => undefined;
    const aborted = new Promise<never>((_resolve, reject) => {
      void lost.then(reject);
      onAbort = () => reject(toAppError(signal.reason));
    });
    signal.addEventListener('abort', onAbort);
    aborted.catch(() => undefined);
    const forming = formGroup({
      addresses: Array.from({ length: worldSize }, (_, index) => `w${index}`),
      openTransport: (address) => new SimulatedTransport(address, this.#network),
      identity: this.#identity,
      drawNonce: () => BigInt(this.#random.uint32()),
      makeLoadRequest: (rank) => loadRequest(rank, worldSize, scheduler),
      collective: 'auto',
      kvCacheBytes: numBlocks * KV_BYTES_PER_BLOCK,
      gpuMemoryUtilization: 1,
      checkMemory: () => undefined,
      maxUsefulBlocks: numBlocks,
      ...{ checksums: new Map<string, Buffer>(), onProgress: () => undefined },
      onSignOfLife: () => undefined,
      hangTimeoutMs: HANG_TIMEOUT_MS,
      lost: aborted,
      clock,
      logger: silentLogger,
    });
    forming.catch((error: unknown) => this.#blame.check(toAppError(error)));
    const group = await forming.finally(() => signal.removeEventListener('abort', onAbort));
    return new EpochRuntime({ ...this.#config.loop, group, scheduler, clock, lost });
  }

  #onRequest({ request, stage, end }: RequestEvent): void {
    const { sequenceId } = request;
    if (stage === 'queued') this.#accepted.add(sequenceId);
    if (stage === 'interrupted') this.#numInterruptions += 1;
    if (stage === 'paused') this.#numPauses += 1;
    if (stage !== 'ended') return;
    this.#numEnds.set(sequenceId, (this.#numEnds.get(sequenceId) ?? 0) + 1);
    if (end instanceof AppError && this.#accepted.has(sequenceId) && !OWN_ENDS.has(end.code))
      this.#fail(`${request.spec.requestId} had been accepted and failed with ${end.code}: ${end.message}`);
  }

  /** Within this coordinator, epochs rise, and no two groups have the same. */
  #onOpen(groupEpoch: number): void {
    const attempt = this.#attemptOf.get(groupEpoch) ?? this.#numAttempts;
    this.#expect(attempt === this.#numAttempts, `epoch ${groupEpoch} is used again`);
    this.#expect(
      groupEpoch >= Math.max(...this.#attemptOf.keys(), START_MS + 1),
      `epoch ${groupEpoch} is not above the last`,
    );
    this.#attemptOf.set(groupEpoch, attempt);
  }

  #strike(fault: Fault): void {
    this.#numStruck += 1;
    const worker = this.#workers[fault.worker]!;
    switch (fault.kind) {
      case 'kill':
        this.#kill(fault.worker, fault.forMs);
        break;
      case 'pause':
        worker.process.pause(fault.forMs);
        this.#expectVerdict(() => worker.process.isPaused, fault);
        break;
      case 'pause-coordinator':
        this.#coordinator.pause(fault.forMs);
        break;
      case 'disconnect':
        for (const connection of [...worker.connections]) connection.break();
        break;
      case 'stall':
        worker.engine.isStalled = true;
        break;
      case 'slow':
        worker.engine.slowsNextStepMs = fault.forMs;
        break;
      case 'step-fails':
        worker.engine.failsNextStep = true;
        break;
      default:
        this.#strikeLink(fault, this.#links[fault.worker]!);
    }
  }

  #strikeLink(fault: Fault, link: Link): void {
    if (!strikeLink(fault, link, this.#queue.nowMs)) return;
    if (link.back.isCut) this.#expectVerdict(() => link.back.isCut, fault);
    this.#queue.after(fault.forMs, 'the way is as it was', () => link.mend(this.#queue.nowMs));
  }

  #expectVerdict(isSilent: () => boolean, { forMs }: Fault): void {
    const isSlowed = this.#faults.some(({ kind }) => kind === 'delay');
    const maxDelayMs = this.#config.maxDelayMs + (isSlowed ? MAX_EXTRA_DELAY_MS : 0);
    this.#blame.expectVerdict(isSilent, forMs, this.#replica, maxDelayMs);
  }

  #kill(index: number, restartMs: number): void {
    const worker = this.#workers[index]!;
    if (!worker.process.isAlive) return;
    worker.kill();
    this.#fabric.died();
    if (this.#random.chance(0.5)) {
      const lost = new AppError('WORKER_LOST', `w${index} was killed`);
      this.#coordinator.run(this.#random.real(0, 20), 'a child has ended', () => this.#reportLost(lost));
    }
    this.#queue.after(restartMs, `w${index} starts again`, () => this.#restart(index));
  }

  #restart(index: number): void {
    if (!this.#workers[index]!.process.isAlive) this.#workers[index] = this.#startWorker(index);
  }

  #mend(): void {
    for (const link of this.#links) link.mend(this.#queue.nowMs);
    for (const index of this.#workers.keys()) this.#restart(index);
    for (const { process, engine } of this.#workers) {
      process.resume();
      // Whoever looks after it starts it again.
      if (engine.isStalled)
        process.run(0, 'ends', () =>
          this.#kill(
            this.#workers.findIndex((each) => each.process === process),
            10,
          ),
        );
    }
    this.#coordinator.resume();
  }
}
