// One model being served: builds the object graph out of a configuration (checkpoint, plan, encoder, workers, replica,
// engine) and takes it down again. `run`, `serve` and tests differ only in what they do with it.
import { setMaxListeners } from 'node:events';
import { systemClock } from '../../common/clock.js';
import { AppError } from '../../common/errors.js';
import { DEFAULT_REJOIN_TIMEOUT_MS, MAX_WAITING_REQUESTS, RESTARTS } from '../../common/limits.js';
import type { Logger } from '../../common/logger.js';
import { checkHasWeights, resolveModel } from '../checkpoint/known-models.js';
import type { Checkpoint } from '../checkpoint/model-spec.js';
import { CoordinatorIdentity } from '../cluster/identity.js';
import type { ClusterConfig } from '../config.js';
import type { Encoder } from '../encoding/encoder.js';
import { Engine } from '../engine/engine.js';
import type { GrammarPool } from '../grammar/grammar-pool.js';
import { Replica } from '../engine/replica.js';
import type { RestartPolicy } from '../engine/supervisor.js';
import type { LoadProgress } from '../executor/form-group.js';
import { openGrpcRankTransport } from '../executor/grpc-rank-transport.js';
import type { RankGroup } from '../executor/rank-group.js';
import type { ClusterReport } from '../../common/cluster-report.js';
import { ServiceHistory } from '../engine/service-history.js';
import type { ClusterFacts, ModelFacts } from '../gateway/inference-messages.js';
import { randomSeed } from '../requests/sampling-options.js';
import { makeShardPlan } from '../sharding/make-shard-plan.js';
import type { ShardPlan } from '../sharding/shard-plan.js';
import type { TextProcessor } from '../tokenizer/text-processor.js';
import { EpochFactory } from './epoch-factory.js';
import { clusterReport } from './cluster-report.js';
import { clusterFacts, modelFacts } from './facts.js';
import { loadText, type ModelText } from './load-text.js';
import { makeEncoder } from './make-encoder.js';
import { makeGrammarPool } from './make-grammar-pool.js';
import { chooseSizes, type SizeConfig } from './model-sizes.js';
import { WorkerSet } from './worker-set.js';

export interface ServingOptions {
  readonly config: ClusterConfig;
  readonly logger: Logger;
  /** Arguments of process.execPath that start `skein worker`. */
  readonly workerEntry: readonly string[];
  readonly onProgress: (progress: LoadProgress) => void;
  /** Ends the start-up. */
  readonly signal: AbortSignal;
  /** What follows a lost epoch: by default nothing, and requests end with it. */
  readonly restartPolicy?: RestartPolicy;
  /** Of how it goes about restarts, what differs from the defaults. */
  readonly restarts?: Partial<typeof RESTARTS>;
  /** How long a lost worker is waited for. */
  readonly rejoinTimeoutMs?: number;
  /** With so few ranks and more, a group may go on once a lost worker has not come back. Default: with none fewer. */
  readonly minTensorParallelSize?: number | null;
}

interface Parts {
  readonly checkpoint: Checkpoint;
  readonly plan: ShardPlan;
  /** By world size, the wanted one first. */
  readonly plans: ReadonlyMap<number, ShardPlan>;
  readonly sizes: SizeConfig;
  readonly text: ModelText;
}

export class Serving {
  readonly engine: Engine;
  readonly plan: ShardPlan;
  readonly #options: ServingOptions;
  readonly #parts: Parts;
  readonly #encoder: Encoder;
  readonly #grammars: GrammarPool | null;
  readonly #workers: WorkerSet;
  readonly #replica: Replica;
  readonly #history = new ServiceHistory(Date.now);
  readonly #startedMs: number;
  #loadMs = 0;
  #stopping: Promise<void> | null = null;

  private constructor(options: ServingOptions, parts: Parts, startedMs: number) {
    const { config, logger } = options;
    const { plan, sizes } = parts;
    const { processor: text, samplingDefaults } = parts.text;
    const clock = systemClock;
    this.#options = options;
    this.#parts = parts;
    this.#startedMs = startedMs;
    this.plan = plan;
    const openTransport = openGrpcRankTransport;
    const rejoinTimeoutMs = options.rejoinTimeoutMs ?? DEFAULT_REJOIN_TIMEOUT_MS;
    this.#workers = new WorkerSet({
      ...{ config, clock, logger, openTransport, rejoinTimeoutMs },
      worldSizes: [...parts.plans.keys()],
      entry: options.workerEntry,
    });
    const { vocabSize } = plan.spec.text;
    this.#encoder = makeEncoder({ config, plan, sizes, text: parts.text, clock });
    this.#grammars = makeGrammarPool(parts.text, vocabSize, clock);
    const factory = new EpochFactory({
      config,
      checkpoint: parts.checkpoint,
      planFor: (worldSize) => parts.plans.get(worldSize)!,
      workers: this.#workers,
      openTransport,
      identity: new CoordinatorIdentity(config.clusterId),
      drawNonce: randomSeed,
      onProgress: options.onProgress,
      clock,
      logger,
    });
    this.#replica = new Replica({
      formEpoch: (signal, onPhase) => factory.form(signal, onPhase),
      maxWaiting: MAX_WAITING_REQUESTS,
      supervisor: { restartPolicy: options.restartPolicy ?? 'none', ...RESTARTS, ...options.restarts },
      clock,
      logger,
    });
    this.engine = new Engine({
      replica: this.#replica,
      encoder: this.#encoder,
      grammars: this.#grammars,
      text,
      vocabSize,
      samplingDefaults,
      clock,
      maxRequests: MAX_WAITING_REQUESTS + sizes.maxNumSequences,
      drawSeed: randomSeed,
    });
    this.engine.observe(this.#history);
    this.engine.onStateChange((state) => this.#history.onEngineState(state));
  }

  /** Reads what the model is, and begins to form a group; the engine is there before the group is. */
  static async open(options: ServingOptions): Promise<Serving> {
    const { config, signal } = options;
    setMaxListeners(0, signal);
    const startedMs = performance.now();
    const checkpoint = await resolveModel(config.model, config);
    checkHasWeights(checkpoint, config.loadFormat);
    const plan = makeShardPlan(checkpoint, {
      worldSize: config.tensorParallelSize,
      visionParallel: config.visionParallel,
    });
    const sizes = chooseSizes(plan, config);
    const text = await loadText(checkpoint, config);
    logDefaults([...checkpoint.defaultsTaken, ...text.defaultsTaken], options.logger);
    signal.throwIfAborted();
    const plans = new Map([[plan.worldSize, plan], ...smallerPlans(checkpoint, options)]);
    const serving = new Serving(options, { checkpoint, plan, plans, sizes, text }, startedMs);
    serving.#replica.start();
    return serving;
  }

  /** Resolves when the first group serves. */
  static async start(options: ServingOptions): Promise<Serving> {
    const serving = await Serving.open(options);
    try {
      await serving.ready();
      return serving;
    } catch (error) {
      await serving.stop();
      throw error;
    }
  }

  /** Resolves when a group serves; rejects with why none will, or with the reason of the start-up's signal. */
  async ready(): Promise<void> {
    const { signal } = this.#options;
    const aborted = new Promise<never>((_resolve, reject) => {
      const onAbort = (): void => reject(signal.reason as Error);
      if (signal.aborted) onAbort();
      signal.addEventListener('abort', onAbort, { once: true });
    });
    const served = new Promise<void>((resolve) => {
      this.engine.onStateChange((state) => (state === 'ready' ? resolve() : undefined));
    });
    const ended = this.ended.then((error) => {
      throw error ?? new AppError('DRAINING', 'the service was stopped before it was ready');
    });
    ended.catch(() => undefined);
    aborted.catch(() => undefined);
    await Promise.race([served, ended, aborted]);
    this.#loadMs = performance.now() - this.#startedMs;
  }

  /** Resolves when nothing is served any more: with why, or null after stop(). */
  get ended(): Promise<AppError | null> {
    return this.#replica.ended;
  }

  /** From the start to the first group. */
  get loadMs(): number {
    return this.#loadMs;
  }

  /** Of the epoch that serves, or of the last one. */
  get group(): RankGroup {
    const epoch = this.#replica.epoch;
    if (epoch === null) throw new AppError('NOT_READY', 'no group has been formed');
    return epoch.group;
  }

  get model(): ModelFacts {
    const { plan, sizes, text } = this.#parts;
    return modelFacts(plan, sizes, this.#options.config, text, this.#replica.epoch);
  }

  get text(): TextProcessor {
    return this.#parts.text.processor;
  }

  /** Of decoded pictures on their way to the ranks. */
  get pictureBytes(): number {
    return this.#encoder.pictures.numBytes;
  }

  cluster(): ClusterFacts {
    return clusterFacts(this.plan, this.engine.state, this.#replica.epoch);
  }

  /** `afterS`: seconds of its timeline up to it are left out. */
  clusterReport(afterS: number): ClusterReport {
    const { model, engine } = this;
    const { epoch, numBacklogged: numBacklog } = this.#replica;
    const facts = { model, state: engine.state, epoch, numBacklog, history: this.#history };
    return clusterReport(facts, afterS);
  }

  /** Ends everything at once; idempotent. Requests that still run fail with DRAINING. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    await this.engine.stop();
    this.#grammars?.close();
    await Promise.all([this.#workers.stop(), this.#encoder.close()]);
  }
}

/** Of the world sizes that a group may shrink to, the largest first: those at which the model can be cut. */
function smallerPlans(
  checkpoint: Checkpoint,
  { config, minTensorParallelSize }: ServingOptions,
): [number, ShardPlan][] {
  const { tensorParallelSize, visionParallel } = config;
  const min = minTensorParallelSize ?? tensorParallelSize;
  if (min > tensorParallelSize) {
    const problem = `--min-tensor-parallel-size is ${min}; --tensor-parallel-size is ${tensorParallelSize}`;
    throw new AppError('INVALID_REQUEST', problem, { details: { param: 'min-tensor-parallel-size' } });
  }
  const sizes = Array.from(
    { length: tensorParallelSize - min },
    (_, index) => tensorParallelSize - 1 - index,
  );
  return sizes.flatMap((worldSize): [number, ShardPlan][] => {
    try {
      return [[worldSize, makeShardPlan(checkpoint, { worldSize, visionParallel })]];
    } catch {
      return [];
    }
  });
}

/** A file that is missing altogether is worth a warning; keys that are absent mean, to most writers, their default. */
function logDefaults(defaultsTaken: Checkpoint['defaultsTaken'], logger: Logger): void {
  for (const level of ['warn', 'info'] as const) {
    const taken = defaultsTaken.filter(({ isFileMissing }) => isFileMissing === (level === 'warn'));
    if (taken.length === 0) continue;
    const defaults = Object.fromEntries(taken.map(({ setting, value }) => [setting, value]));
    logger[level]({ defaults }, 'settings that the checkpoint does not give; these defaults are taken');
  }
}
