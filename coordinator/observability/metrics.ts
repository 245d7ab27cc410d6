// Every metric of the service: name, meaning, labels, bounds. docs/metrics.md is made of this. Suffixes are those that
// dashboards and autoscalers for vLLM know. Labels have few values, all known here or small in number: error codes,
// ranks, routes; nothing that a client chooses.
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { BatchHistogram } from './batch-histogram.js';
import * as buckets from './buckets.js';

const PREFIX = 'skein_';

export class Metrics {
  readonly registry = new Registry();

  // ---- Requests ----
  readonly requestsReceived = this.#counter(
    'requests_received_total',
    'Requests that arrived, by the call they came with; of a call for n answers, n.',
    ['route'],
  );
  readonly requestSuccess = this.#counter(
    'request_success_total',
    'Requests that were answered to their end.',
    ['finished_reason'],
  );
  readonly requestFailure = this.#counter(
    'request_failure_total',
    'Requests that ended with an error, by its code (docs/errors.md); those refused before they were taken included.',
    ['code'],
  );
  readonly requestsRefused = this.#counter(
    'requests_refused_total',
    'Of these, requests that were told when to come back, by what was short: places for requests, tokens that may wait, memory, or time until their deadline.',
    ['reason'],
  );
  readonly requestsInterrupted = this.#counter(
    'requests_interrupted_total',
    'Requests whose epoch ended while they ran or waited in it; they go on in the next one.',
  );
  readonly requests = this.#gauge(
    'num_requests',
    'Requests in the server, by what came last in their lives.',
    ['stage'],
  );
  readonly requestsRunning = this.#gauge(
    'num_requests_running',
    'Requests that are computed in the present steps.',
  );
  readonly requestsWaiting = this.#gauge(
    'num_requests_waiting',
    'Requests in the server that are not computed: encoded, queued, preempted, or waiting for a group. Those that are paused are not counted.',
  );
  readonly requestsPaused = this.#gauge(
    'num_requests_paused',
    'Requests that are not computed because their clients have not read what there is.',
  );
  readonly requestPauses = this.#counter('request_pauses_total', 'How often requests were paused so.');
  readonly estimatedWait = this.#gauge(
    'estimated_wait_seconds',
    'How long a request of priority 0 from a client without others would wait, by the measured rate; 0 while none is measured.',
  );
  readonly timeToFirstToken = this.#histogram(
    'time_to_first_token_seconds',
    'From the arrival of a request to its first token.',
    buckets.FIRST_TOKEN_SECONDS,
  );
  readonly interTokenLatency = this.#batch(
    'inter_token_latency_seconds',
    'Between the tokens of a request, each gap by itself, time without a group included; across a pause there is none.',
    buckets.TOKEN_SECONDS,
  );
  readonly timePerOutputToken = this.#histogram(
    'request_time_per_output_token_seconds',
    'Of an answered request: time after its first token, by each token after it.',
    buckets.TOKEN_SECONDS,
  );
  readonly endToEndLatency = this.#histogram(
    'e2e_request_latency_seconds',
    'Of an answered request: from its arrival to its end.',
    buckets.REQUEST_SECONDS,
  );
  readonly encodingTime = this.#histogram(
    'request_encoding_time_seconds',
    'From the arrival of a request until its text and pictures are encoded.',
    buckets.WAIT_SECONDS,
  );
  readonly queueTime = this.#histogram(
    'request_queue_time_seconds',
    'From then until it is in a step for the first time.',
    buckets.WAIT_SECONDS,
  );
  readonly prefillTime = this.#histogram(
    'request_prefill_time_seconds',
    'From then to its first token.',
    buckets.FIRST_TOKEN_SECONDS,
  );
  readonly decodeTime = this.#histogram(
    'request_decode_time_seconds',
    'Of an answered request: from its first token to its end.',
    buckets.REQUEST_SECONDS,
  );
  readonly inferenceTime = this.#histogram(
    'request_inference_time_seconds',
    'Of an answered request: from its first step to its end.',
    buckets.REQUEST_SECONDS,
  );

  // ---- Tokens ----
  readonly promptTokens = this.#counter(
    'prompt_tokens_total',
    'Tokens of prompts, counted with the first token of the answer; those from the prefix cache included.',
  );
  readonly cachedPromptTokens = this.#counter(
    'prompt_tokens_cached_total',
    'Of these, tokens whose keys and values were in the prefix cache.',
  );
  readonly generationTokens = this.#counter('generation_tokens_total', 'Tokens that requests were given.');
  readonly requestPromptTokens = this.#histogram(
    'request_prompt_tokens',
    'Of an answered request: tokens of its prompt.',
    buckets.TOKENS,
  );
  readonly requestGenerationTokens = this.#histogram(
    'request_generation_tokens',
    'Of an answered request: tokens of its answer.',
    buckets.TOKENS,
  );
  readonly pictureTiles = this.#counter('picture_tiles_total', 'Tiles of pictures in answered requests.');

  // ---- Cache and scheduling ----
  readonly kvCacheUsage = this.#gauge(
    'kv_cache_usage_perc',
    'Share of the KV cache that sequences hold, 0 to 1; prefixes that nobody holds are not counted.',
  );
  readonly kvCacheBlocks = this.#gauge(
    'kv_cache_blocks',
    'Blocks of the KV cache: held by sequences, kept for their prefix, or free.',
    ['state'],
  );
  readonly prefixCacheQueries = this.#counter(
    'prefix_cache_queries_total',
    'Tokens of sequences that were looked for in the prefix cache, as each was admitted.',
  );
  readonly prefixCacheHits = this.#counter('prefix_cache_hits_total', 'Of these, tokens that were found.');
  readonly preemptions = this.#counter(
    'num_preemptions_total',
    'Sequences that gave up their blocks to others, to be computed again.',
  );
  readonly wastedRows = this.#counter(
    'wasted_rows_total',
    'Tokens computed for sequences that turned out to have ended: what running ahead costs.',
  );
  readonly picturesSent = this.#counter(
    'pictures_sent_total',
    'Pictures whose pixels were sent to the ranks.',
  );
  readonly tilesEncoded = this.#counter('vision_tiles_total', 'Tiles that went through the vision tower.');
  readonly requestMemory = this.#gauge(
    'request_memory_bytes',
    'Of requests in the server, as they came, within --request-memory.',
  );
  readonly pictureMemory = this.#gauge(
    'picture_memory_bytes',
    'Of decoded pictures on their way to the ranks, within --picture-memory.',
  );

  // ---- Steps and ranks ----
  readonly stepTokens = this.#batch(
    'iteration_tokens_total',
    'Tokens computed in a step: prompts and answers together.',
    buckets.STEP_TOKENS,
  );
  readonly stepTime = this.#batch(
    'step_time_seconds',
    'Of a step on the rank that took the longest.',
    buckets.STEP_SECONDS,
  );
  readonly rankStepTime = this.#counter(
    'rank_step_seconds_total',
    'What ranks spent: waiting for a plan where there was work, computing, waiting in collectives, sampling.',
    ['rank', 'phase'],
  );
  readonly rankSkew = this.#batch(
    'rank_compute_skew_seconds',
    'Of a step: how much longer than the fastest the slowest rank computed, waiting for others not counted.',
    buckets.DELAY_SECONDS,
  );
  readonly slowestSteps = this.#counter(
    'rank_slowest_steps_total',
    'Steps in which this rank computed the longest; counted for groups of two ranks and more.',
    ['rank'],
  );

  // ---- Groups ----
  readonly ready = this.#gauge('ready', '1: requests are taken, and a group serves or will soon; else 0.');
  readonly state = this.#gauge('engine_state', '1 for the state that the service is in, 0 for the others.', [
    'state',
  ]);
  readonly groupEpoch = this.#gauge('group_epoch', 'Number of the epoch that serves; 0: none does.');
  readonly ranks = this.#gauge('ranks', 'Ranks of the group that serves.');
  readonly epochsFormed = this.#counter('epochs_formed_total', 'Groups that were formed.');
  readonly epochFailures = this.#counter(
    'epoch_failures_total',
    'Epochs that ended unasked, by the code of what ended them.',
    ['cause'],
  );
  readonly recoveries = this.#counter(
    'recoveries_total',
    'Groups formed in place of a lost one, by what ended that.',
    ['cause'],
  );
  readonly recoveryTime = this.#histogram(
    'recovery_time_seconds',
    'From the known end of an epoch to the first token of the next, or to its group where nobody waited for one.',
    buckets.RECOVERY_SECONDS,
  );

  // ---- The coordinator ----
  readonly eventLoopDelay = this.#batch(
    'event_loop_delay_seconds',
    'How late the coordinator gets to what is due, looked at fifty times a second.',
    buckets.DELAY_SECONDS,
  );
  readonly buildInfo = this.#gauge('build_info', '1, with the version of the coordinator.', ['version']);

  /** `modelName` is a label of every series, as in vLLM. */
  constructor(modelName: string) {
    this.registry.setDefaultLabels({ model_name: modelName });
  }

  #counter<Label extends string = never>(
    name: string,
    help: string,
    labelNames: Label[] = [],
  ): Counter<Label> {
    return new Counter({ name: PREFIX + name, help, labelNames, registers: [this.registry] });
  }

  #gauge<Label extends string = never>(name: string, help: string, labelNames: Label[] = []): Gauge<Label> {
    return new Gauge({ name: PREFIX + name, help, labelNames, registers: [this.registry] });
  }

  /** For what comes once in a request or an epoch. */
  #histogram(name: string, help: string, bounds: readonly number[]): Histogram {
    return new Histogram({ name: PREFIX + name, help, buckets: [...bounds], registers: [this.registry] });
  }

  /** For what comes with every token or step. */
  #batch(name: string, help: string, bounds: readonly number[]): BatchHistogram {
    return new BatchHistogram({ name: PREFIX + name, help, buckets: bounds, registry: this.registry });
  }
}
