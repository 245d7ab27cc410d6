// A simulated coordinator among others: the real registry of workers, identity, replica, engine and what they are
// made of. It is killed, vanishes, stands still, is refused by workers that another holds, and asks itself a question
// for as long as it serves.
import { sleep } from '../../../common/clock.js';
import { toAppError, type AppError } from '../../../common/errors.js';
import { NEUTRAL_SAMPLING } from '../../../common/sampling.js';
import { CoordinatorIdentity } from '../../../coordinator/cluster/identity.js';
import { Registry } from '../../../coordinator/cluster/registry.js';
import type { Encoder } from '../../../coordinator/encoding/encoder.js';
import { Engine } from '../../../coordinator/engine/engine.js';
import { EpochRuntime } from '../../../coordinator/engine/epoch-runtime.js';
import { generate } from '../../../coordinator/engine/generate.js';
import { Replica } from '../../../coordinator/engine/replica.js';
import type { RestartPolicy } from '../../../coordinator/engine/supervisor.js';
import { formGroup } from '../../../coordinator/executor/form-group.js';
import type { PromptInput } from '../../../coordinator/requests/request-spec.js';
import { lostOf, registeredAnew } from '../../../coordinator/serving/registered.js';
import { HANG_TIMEOUT_MS } from '../blame.js';
import { MAX_PROMPT_TOKENS, TOKENS_PER_TILE, type SimulatedConfig } from '../config.js';
import { KV_BYTES_PER_BLOCK } from '../engine.js';
import { loadRequest } from '../load-request.js';
import { answerOf, END_TOKEN, VOCAB_SIZE } from '../model.js';
import { SimulatedTransport, type NetworkOptions } from '../network.js';
import type { SimulatedProcess } from '../process.js';
import type { Random } from '../random.js';
import { CLUSTER_ID, silentLogger } from '../worker.js';
import { silentOutput } from '../silent-output.js';

export interface CoordinatorOptions {
  readonly process: SimulatedProcess;
  readonly incarnation: number;
  readonly config: SimulatedConfig;
  readonly random: Random;
  readonly network: Omit<NetworkOptions, 'coordinator' | 'random' | 'maxDelayMs'>;
  /** Addresses, in rank order; null: workers register. */
  readonly workers: readonly string[] | null;
  readonly restartPolicy: RestartPolicy;
  readonly onViolation: (message: string) => void;
  /** Nothing is served any more, for this reason: the process ends. */
  readonly onEnd: (error: AppError | null) => void;
}

const LEASE_TTL_MS = 10_000;
const ASK_EVERY_MS = 3_000;
const MAX_TOKENS = 4;

export class SimulatedCoordinator {
  readonly process: SimulatedProcess;
  readonly identity: CoordinatorIdentity;
  readonly #options: CoordinatorOptions;
  readonly #registry: Registry;
  readonly #replica: Replica;
  readonly #engine: Engine;
  #numAsked = 0;
  /** Questions that were answered, each as an undisturbed run would. */
  numAnswered = 0;

  constructor(options: CoordinatorOptions) {
    this.#options = options;
    const { process, incarnation, random, restartPolicy, onEnd } = options;
    this.process = process;
    const { clock } = process;
    this.identity = new CoordinatorIdentity(CLUSTER_ID, incarnation);
    this.#registry = new Registry({
      ...{ clusterId: CLUSTER_ID, leaseTtlMs: LEASE_TTL_MS, expectedWorkerIds: null },
      ...{ clock, logger: silentLogger },
    });
    this.#replica = new Replica({
      formEpoch: (signal) => this.#formEpoch(signal),
      supervisor: {
        ...{ restartPolicy, minBackoffMs: 250, maxBackoffMs: 10_000, healthyAfterMs: 60_000 },
        ...{ maxAttempts: 10, maxFirstAttempts: 1 },
      },
      maxWaiting: 4,
      clock,
      logger: silentLogger,
    });
    this.#engine = new Engine({
      replica: this.#replica,
      encoder: { encode: (prompt: PromptInput) => this.#encode(prompt) } as unknown as Encoder,
      text: {
        stopTokenIds: [END_TOKEN],
        createOutput: silentOutput,
        decode: () => '',
      },
      vocabSize: VOCAB_SIZE,
      samplingDefaults: NEUTRAL_SAMPLING,
      clock,
      maxRequests: 4,
      drawSeed: () => BigInt(random.uint32()),
    });
    void this.#replica.ended.then(onEnd);
  }

  /** Why the group that serves, or served last, is over; null: it is not. */
  get failure(): AppError | null {
    return this.#replica.epoch?.group.failure ?? null;
  }

  start(): void {
    this.#registry.start();
    this.#replica.start();
    void this.#askAgainAndAgain();
  }

  answer(name: 'Register' | 'RenewLease' | 'Deregister', request: object): object {
    const registry = this.#registry;
    if (name === 'Register') return registry.register(request as never);
    if (name === 'RenewLease') return registry.renewLease(request as never);
    registry.deregister(request as never);
    return {};
  }

  async stop(): Promise<void> {
    await this.#engine.stop();
    this.#registry.stop();
  }

  async #askAgainAndAgain(): Promise<void> {
    for (;;) {
      await sleep(this.process.clock, ASK_EVERY_MS);
      if (this.#engine.state !== 'ready') continue;
      try {
        await this.#ask();
        this.numAnswered += 1;
      } catch {
        // A fault has met it: other tests look at what requests end with.
      }
    }
  }

  async #ask(): Promise<void> {
    const { random, onViolation } = this.#options;
    const length = random.integer(1, MAX_PROMPT_TOKENS);
    const tokenIds = Uint32Array.from({ length }, () => random.integer(3, VOCAB_SIZE - 1));
    const seed = BigInt(random.uint32());
    const expected = answerOf([...tokenIds], [], TOKENS_PER_TILE, seed, MAX_TOKENS);
    this.#numAsked += 1;
    const spec = {
      requestId: `question ${this.#numAsked}`,
      prompt: { kind: 'tokens' as const, tokenIds, pictures: [] },
      sampling: { seed, maxTokens: MAX_TOKENS },
    };
    const received: number[] = [];
    const { deltas } = generate(this.#engine, spec, new AbortController().signal);
    for await (const delta of deltas) received.push(...delta.tokenIds);
    if (received.join() !== expected.tokenIds.join())
      onViolation(
        `${this.process.name} was answered ${received.join()} in place of ${expected.tokenIds.join()}`,
      );
  }

  #encode(prompt: PromptInput): Promise<object> {
    const tokenIds = prompt.kind === 'tokens' ? prompt.tokenIds : new Uint32Array();
    return Promise.resolve({ tokenIds, startsInReasoning: false, pictures: [], release: () => undefined });
  }

  async #formEpoch(signal: AbortSignal): Promise<EpochRuntime> {
    const { config, network, random } = this.#options;
    const { clock } = this.process;
    const { worldSize, scheduler, numBlocks, maxDelayMs, loop } = config;
    const { addresses, lost } = await this.#workers(signal);
    let onAbort: () => void = () => undefined;
    const aborted = new Promise<never>((_resolve, reject) => {
      void lost.then(reject);
      onAbort = () => reject(toAppError(signal.reason));
      if (signal.aborted) onAbort();
    });
    signal.addEventListener('abort', onAbort);
    aborted.catch(() => undefined);
    const group = await formGroup({
      addresses,
      openTransport: (address) =>
        new SimulatedTransport(address, { ...network, random, maxDelayMs, coordinator: this.process }),
      identity: this.identity,
      drawNonce: () => BigInt(random.uint32()),
      makeLoadRequest: (rank) => loadRequest(rank, worldSize, scheduler),
      collective: 'auto',
      kvCacheBytes: numBlocks * KV_BYTES_PER_BLOCK,
      gpuMemoryUtilization: 1,
      checkMemory: () => undefined,
      maxUsefulBlocks: numBlocks,
      ...{ checksums: new Map<string, Buffer>(), onProgress: () => undefined },
      onSignOfLife: (workerId) => this.#registry.sawLife(workerId),
      lost: aborted,
      hangTimeoutMs: HANG_TIMEOUT_MS,
      clock,
      logger: silentLogger,
    }).finally(() => signal.removeEventListener('abort', onAbort));
    return new EpochRuntime({ group, scheduler, clock, ...loop, lost });
  }

  async #workers(signal: AbortSignal): Promise<{ addresses: readonly string[]; lost: Promise<AppError> }> {
    const { workers, config } = this.#options;
    if (workers !== null) return { addresses: workers, lost: new Promise(() => undefined) };
    const members = await registeredAnew(this.process.clock, this.#registry, config.worldSize, signal);
    const lost = lostOf(this.#registry, new Set(members.map(({ workerId }) => workerId)));
    return { addresses: members.map(({ address }) => address), lost };
  }
}
