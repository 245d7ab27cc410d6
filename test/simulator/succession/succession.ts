// A simulated life of workers that outlive their coordinators: some that register or are named, and coordinators that
// are killed, vanish, stand still, come back, and come twice. What must always hold: no two coordinators drive one
// worker in one epoch, epochs rise at every worker, weights are read once by each process, every answer is that of an
// undisturbed run; when all is mended somebody serves, and workers that nobody comes for end.
import type { AppError } from '../../../common/errors.js';
import { EXIT_CODES } from '../../../common/exit-codes.js';
import { drawConfig, TOKENS_PER_TILE, type SimulatedConfig } from '../config.js';
import { EventQueue } from '../event-queue.js';
import { Fabric } from '../fabric.js';
import { SimulatedProcess } from '../process.js';
import { Random } from '../random.js';
import { untilViolation, Violation } from '../until-violation.js';
import { SimulatedCoordinator } from './coordinator.js';
import { addressOf, Member } from './member.js';

const START_MS = 1_000_000;
const INCARNATIONS_PER_MS = 4096;
const LAST_FAULT_MS = 10_000;
/** All faults are over, and the rival is gone for good. */
const MENDED_MS = 40_000;
/** By then the last coordinator has answered questions. */
const SERVES_WITHIN_MS = 200_000;
const NUM_ANSWERS = 2;
const ORPHAN_WAIT_S = 20;

export type SuccessionFault =
  | 'coordinator-killed'
  | 'coordinator-vanishes'
  | 'coordinator-pauses'
  | 'rival'
  | 'worker-killed'
  | 'worker-pauses';

const FAULTS: readonly SuccessionFault[] = [
  'coordinator-killed',
  'coordinator-killed',
  'coordinator-vanishes',
  'coordinator-pauses',
  'rival',
  'rival',
  'worker-killed',
  'worker-pauses',
];

export interface SuccessionOptions {
  readonly seed: number;
  /** Told of every event. */
  readonly trace?: (line: string) => void;
}

export interface SuccessionResult {
  readonly seed: number;
  /** What did not hold; null: everything did. */
  readonly violation: string | null;
  readonly numEvents: number;
  readonly numCoordinators: number;
  readonly numEpochs: number;
  readonly numAnswers: number;
  readonly numReads: number;
  readonly faults: readonly SuccessionFault[];
}

export function simulateSuccession(options: SuccessionOptions): Promise<SuccessionResult> {
  return new Succession(options).run();
}

class Succession {
  readonly #options: SuccessionOptions;
  readonly #random: Random;
  readonly #queue = new EventQueue();
  readonly #config: SimulatedConfig;
  readonly #fabric: Fabric;
  readonly #registers: boolean;
  readonly #members: Member[] = [];
  readonly #faults: SuccessionFault[];
  /** Those whose process has not ended, the one that listens for registrations last. */
  #coordinators: SimulatedCoordinator[] = [];
  #all: SimulatedCoordinator[] = [];
  #numIncarnations = 0;
  #numReads = 0;
  #isMended = false;
  /** Nobody follows any more. */
  #isOver = false;
  /** What the coordinator that outlasts the faults had answered by then. */
  #numBefore = 0;
  /** Of the worker that handles something now. */
  #caller: SimulatedCoordinator | null = null;
  readonly #driverOf = new Map<number, SimulatedCoordinator>();
  readonly #lastEpochOf = new Map<number, number>();
  #violation: string | null = null;

  constructor(options: SuccessionOptions) {
    this.#options = options;
    const random = (this.#random = new Random(options.seed));
    this.#config = { ...drawConfig(random), maxLoadMs: random.pick([0, 50, 1_000, 5_000]) };
    this.#registers = random.chance(0.5);
    const { trace } = options;
    if (trace !== undefined)
      this.#queue.trace = (atMs, what) => trace(`${atMs.toFixed(3).padStart(12)}  ${what}`);
    this.#fabric = new Fabric(random, TOKENS_PER_TILE);
    this.#faults = Array.from({ length: random.pick([1, 2, 3, 5]) }, () => random.pick(FAULTS));
  }

  async run(): Promise<SuccessionResult> {
    const broken = await untilViolation(() => this.#run());
    this.#violation ??= broken;
    return {
      seed: this.#options.seed,
      violation: this.#violation,
      numEvents: this.#queue.numEvents,
      numCoordinators: this.#all.length,
      numEpochs: this.#driverOf.size,
      numAnswers: this.#all.reduce((sum, { numAnswered }) => sum + numAnswered, 0),
      numReads: this.#numReads,
      faults: this.#faults,
    };
  }

  async #run(): Promise<void> {
    for (let index = 0; index < this.#config.worldSize; index += 1) this.#startMember(index);
    this.#startCoordinator(true);
    for (const fault of this.#faults)
      this.#queue.at(this.#random.real(0, LAST_FAULT_MS), `fault: ${fault}`, () => this.#strike(fault));
    this.#queue.at(MENDED_MS, 'faults are mended', () => this.#mend());
    await this.#until(SERVES_WITHIN_MS, () => this.#isMended && this.#isServing);
    this.#expect(this.#isServing, `nobody serves ${SERVES_WITHIN_MS - MENDED_MS} ms after all is mended`);
    this.#throwViolation();
    await this.#orphan();
  }

  /** The last coordinator stops, and nobody follows. */
  async #orphan(): Promise<void> {
    this.#isOver = true;
    const [last] = this.#coordinators;
    const exitCodes: number[] = [];
    this.#onMemberExit = (_index, exitCode) => exitCodes.push(exitCode);
    let isStopped = false;
    void last!.stop().then(() => {
      isStopped = true;
      this.#end(last!);
    });
    const limitMs = this.#queue.nowMs + 1_000 * ORPHAN_WAIT_S + 120_000;
    await this.#until(limitMs, () => isStopped && exitCodes.length === this.#members.length);
    this.#expect(isStopped, 'the last coordinator did not stop');
    this.#expect(
      exitCodes.length === this.#members.length &&
        exitCodes.every((code) => code === EXIT_CODES.orphaned.code),
      `workers without a coordinator ended with [${exitCodes.join()}]`,
    );
    this.#throwViolation();
  }

  #onMemberExit: (index: number, exitCode: number) => void = (index) =>
    this.#queue.after(this.#random.real(10, 1_000), `w${index} starts again`, () => this.#startMember(index));

  async #until(limitMs: number, isDone: () => boolean): Promise<void> {
    while (!isDone()) {
      if ((await this.#queue.step(limitMs)) === null) return;
      this.#check();
      this.#throwViolation();
    }
  }

  #throwViolation(): void {
    if (this.#violation !== null) throw new Violation(this.#violation);
  }

  #check(): void {
    for (const { process, engine } of this.#members)
      this.#expect(
        engine.numWholeReads <= 1,
        `${process.name} has read its weights ${engine.numWholeReads} times`,
      );
    // What a stream ends with whose place another took.
    for (const { process, failure } of this.#coordinators)
      this.#expect(
        failure?.code !== 'STALE_EPOCH',
        `${process.name} was robbed of a worker: ${failure?.message}`,
      );
  }

  #expect(holds: boolean, message: string): void {
    if (!holds) this.#violation ??= message;
  }

  get #isServing(): boolean {
    const [one, another] = this.#coordinators;
    return one !== undefined && another === undefined && one.numAnswered - this.#numBefore >= NUM_ANSWERS;
  }

  #startMember(index: number): void {
    this.#numIncarnations += 1;
    const incarnation = this.#numIncarnations;
    const { numBlocks, maxStepMs, maxLoadMs, maxDelayMs } = this.#config;
    const before = this.#members[index];
    if (before !== undefined) this.#numReads += before.engine.numWholeReads;
    const process = new SimulatedProcess(`w${index}`, this.#queue);
    const member: Member = new Member({
      incarnation,
      engine: {
        ...{ process, fabric: this.#fabric, random: this.#random, numBlocks, maxStepMs, maxLoadMs },
        die: () => this.#killMember(index),
        onDriven: (groupEpoch) => this.#onDriven(member, groupEpoch),
      },
      ...(this.#registers ? { registrar: () => this.#coordinators.at(-1) ?? null } : {}),
      maxDelayMs,
      orphanWaitSeconds: ORPHAN_WAIT_S,
      onExit: (exitCode) => {
        member.kill();
        this.#fabric.died();
        this.#onMemberExit(index, exitCode);
      },
    });
    this.#members[index] = member;
  }

  #startCoordinator(isFollowed: boolean): void {
    const { worldSize } = this.#config;
    const process = new SimulatedProcess(`coordinator ${this.#all.length}`, this.#queue);
    const coordinator: SimulatedCoordinator = new SimulatedCoordinator({
      process,
      incarnation: Math.floor((START_MS + this.#queue.nowMs) * INCARNATIONS_PER_MS) + this.#all.length,
      config: this.#config,
      random: this.#random,
      network: {
        listener: (address) => {
          const member = this.#members.find((each) => each.address === address)!;
          return member.process.isAlive ? member : null;
        },
        onOpen: () => undefined,
        onDelivery: () => {
          this.#caller = coordinator;
        },
      },
      workers: this.#registers
        ? null
        : Array.from({ length: worldSize }, (_, index) => addressOf(`w${index}`)),
      restartPolicy: this.#random.pick(['none', 'epoch']),
      onViolation: (message) => this.#expect(false, message),
      onEnd: (error) => {
        if (process.isAlive) this.#onCoordinatorEnd(coordinator, error, isFollowed);
      },
    });
    this.#all.push(coordinator);
    this.#numBefore = 0;
    this.#coordinators.push(coordinator);
    process.run(0, 'starts', () => coordinator.start());
  }

  #onCoordinatorEnd(coordinator: SimulatedCoordinator, error: AppError | null, isFollowed: boolean): void {
    this.#expect(
      error?.code !== 'INTERNAL',
      `${coordinator.process.name} ended with a bug: ${error?.message}`,
    );
    this.#end(coordinator);
    // Its supervisor starts it again. A rival has none, until it is the only one.
    if ((isFollowed || this.#isMended) && !this.#isOver) this.#follow();
  }

  #follow(): void {
    this.#queue.after(this.#random.real(50, 2_000), 'a coordinator follows', () => {
      if (!this.#isMended || this.#coordinators.length === 0) this.#startCoordinator(true);
    });
  }

  /** Its process is gone, and the system closes its connections. */
  #end(coordinator: SimulatedCoordinator): void {
    this.#vanish(coordinator);
    for (const member of this.#members)
      for (const connection of [...member.connections])
        if (connection.coordinator === coordinator.process) connection.break();
  }

  /** Nobody closes anything: its host is gone. */
  #vanish(coordinator: SimulatedCoordinator): void {
    coordinator.process.isAlive = false;
    this.#coordinators = this.#coordinators.filter((each) => each !== coordinator);
  }

  #strike(fault: SuccessionFault): void {
    const random = this.#random;
    const [coordinator] = this.#coordinators;
    const index = random.integer(0, this.#members.length - 1);
    const member = this.#members[index]!;
    switch (fault) {
      case 'coordinator-killed':
      case 'coordinator-vanishes':
        if (coordinator === undefined) return;
        if (fault === 'coordinator-killed') this.#end(coordinator);
        else this.#vanish(coordinator);
        this.#follow();
        break;
      case 'coordinator-pauses':
        coordinator?.process.pause(random.real(0, 45_000));
        break;
      case 'rival':
        this.#startCoordinator(false);
        break;
      case 'worker-killed':
        this.#killMember(index);
        break;
      case 'worker-pauses':
        member.process.pause(random.real(0, 20_000));
        break;
    }
  }

  #killMember(index: number): void {
    const member = this.#members[index]!;
    if (!member.process.isAlive) return;
    member.kill();
    this.#fabric.died();
    this.#onMemberExit(index, EXIT_CODES.killed.code);
  }

  #mend(): void {
    for (const { process } of this.#members) process.resume();
    for (const { process } of this.#coordinators) process.resume();
    // One is left, whichever; its supervisor sees to it that it stays.
    const [last, ...rivals] = this.#coordinators;
    for (const rival of rivals) this.#end(rival);
    this.#numBefore = last?.numAnswered ?? 0;
    this.#isMended = true;
    if (last === undefined) this.#follow();
  }

  #onDriven(member: Member, groupEpoch: number): void {
    const caller = this.#caller!;
    const driver = this.#driverOf.get(groupEpoch) ?? caller;
    this.#driverOf.set(groupEpoch, driver);
    this.#expect(
      driver === caller,
      `${driver.process.name} and ${caller.process.name} both drive ${member.process.name} in epoch ${groupEpoch}`,
    );
    const lastEpoch = this.#lastEpochOf.get(member.incarnation) ?? 0;
    this.#expect(
      groupEpoch >= lastEpoch,
      `${member.process.name} was driven in epoch ${groupEpoch} after epoch ${lastEpoch}`,
    );
    this.#lastEpochOf.set(member.incarnation, groupEpoch);
  }
}
