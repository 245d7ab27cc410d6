// Traces of requests, from the client's context down to the ranks: one span for a request, one for each part of its
// life, and of some of the steps that it was in one for each rank. Ranks report their times with each step, so spans of
// theirs are made here: workers need no exporter, and no clocks have to agree.
import {
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  type Attributes,
  type Context,
  type Span,
  type Tracer,
} from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { AppError } from '../../common/errors.js';
import type { EpochRuntime } from '../engine/epoch-runtime.js';
import type { ServiceListener } from '../engine/service-listener.js';
import type { CompletedStep } from '../executor/completed-step.js';
import type { RankInfo } from '../executor/rank-info.js';
import type { Interruption, Stage } from '../requests/life-cycle.js';
import type { RequestOrigin } from '../requests/request-spec.js';
import type { RefusedCall, RequestEvent } from '../requests/request-store.js';
import type { Request, RequestEnd } from '../requests/request.js';

export interface TracingOptions {
  readonly tracer: Tracer;
  readonly modelName: string;
  /** A time of the coordinator's clock as milliseconds since 1970. */
  readonly toEpochMs: (atMs: number) => number;
}

/** Of the steps of a request: the first, for they hold its prompt, then one in so many. */
const FIRST_STEPS = 4;
const STEP_INTERVAL = 64;
/** Traces that get spans of one step; with many at once a few show the same ranks. */
const MAX_TRACED_A_STEP = 8;

/** From the stage to the next one of these, or to its end. */
const PARTS: readonly (readonly [name: string, from: Stage, to: Stage])[] = [
  ['encode', 'received', 'encoded'],
  ['queue', 'encoded', 'running'],
  ['prefill', 'running', 'first-token'],
  ['decode', 'first-token', 'ended'],
];

/** Events of a request's span. */
const HAPPENINGS: ReadonlySet<RequestEvent['stage']> = new Set<Interruption>([
  'interrupted',
  'resumed',
  'paused',
  'unpaused',
]);

interface Trace {
  readonly span: Span;
  readonly context: Context;
  numSteps: number;
}

const propagator = new W3CTraceContextPropagator();
const carrierGetter = {
  keys: (origin: RequestOrigin) => Object.keys(origin),
  get: (origin: RequestOrigin, key: string) =>
    key === 'traceparent' ? (origin.traceparent ?? undefined) : (origin.tracestate ?? undefined),
};

export class Tracing implements ServiceListener {
  readonly #options: TracingOptions;
  /** Of requests in the server that are recorded. */
  readonly #traces = new Map<Request, Trace>();
  #ranks: readonly RankInfo[] = [];

  constructor(options: TracingOptions) {
    this.#options = options;
  }

  onStage({ request, stage, atMs, end }: RequestEvent): void {
    if (stage === 'received') {
      this.#begin(request);
      return;
    }
    const traced = this.#traces.get(request);
    if (traced === undefined) return;
    if (HAPPENINGS.has(stage)) traced.span.addEvent(stage, this.#options.toEpochMs(atMs));
    if (stage === 'ended') this.#end(request, traced, end!);
  }

  onRefused({ origin, error, requestId }: RefusedCall): void {
    const span = this.#startRequest(origin, requestId, undefined);
    fail(span, error);
    span.end();
  }

  onEpochFormed({ group }: EpochRuntime): void {
    this.#ranks = group.ranks;
  }

  onStep(step: CompletedStep): void {
    let numTraced = 0;
    for (const [request, traced] of this.#traces) {
      if (request.timeOf('running') === null || numTraced === MAX_TRACED_A_STEP) continue;
      traced.numSteps += 1;
      if (traced.numSteps > FIRST_STEPS && traced.numSteps % STEP_INTERVAL !== 0) continue;
      this.#addStep(traced, step);
      numTraced += 1;
    }
  }

  #begin(request: Request): void {
    const { origin, requestId } = request.spec;
    const startTime = this.#options.toEpochMs(request.timeOf('received')!);
    const span = this.#startRequest(origin, requestId, startTime);
    if (!span.isRecording()) return;
    const context = trace.setSpan(ROOT_CONTEXT, span);
    this.#traces.set(request, { span, context, numSteps: 0 });
  }

  #startRequest(origin: RequestOrigin | undefined, requestId: string, startTime: number | undefined): Span {
    const { tracer, modelName } = this.#options;
    const parent =
      origin === undefined ? ROOT_CONTEXT : propagator.extract(ROOT_CONTEXT, origin, carrierGetter);
    const attributes = { 'skein.request.id': requestId, 'gen_ai.request.model': modelName };
    return tracer.startSpan(
      origin?.route ?? 'internal',
      { kind: SpanKind.SERVER, attributes, ...(startTime === undefined ? {} : { startTime }) },
      parent,
    );
  }

  #end(request: Request, { span, context }: Trace, end: RequestEnd): void {
    this.#traces.delete(request);
    const endMs = request.timeOf('ended')!;
    for (const [name, from, to] of PARTS) {
      const fromMs = request.timeOf(from);
      if (fromMs === null) break;
      this.#child(name, context, [fromMs, request.timeOf(to) ?? endMs]);
    }
    span.setAttributes({
      'gen_ai.usage.input_tokens': request.numPromptTokens,
      'gen_ai.usage.output_tokens': request.producedIds.length,
      'skein.usage.cached_tokens': request.numCachedTokens,
      'skein.interruptions': request.numInterruptions,
      'skein.pauses': request.pause.numPauses,
    });
    if (end instanceof AppError) fail(span, end);
    else span.setAttribute('gen_ai.response.finish_reasons', [end.finishReason]);
    span.end(this.#options.toEpochMs(endMs));
  }

  /** A rank's span ends with the step: when exactly it began is not known, how long it took is. */
  #addStep({ context }: Trace, step: CompletedStep): void {
    const { sentAtMs, doneAtMs } = step;
    const attributes = { 'skein.step': step.step, 'skein.step.tokens': step.numTokens };
    const own = this.#child('step', context, [sentAtMs, doneAtMs], attributes);
    step.ranks.forEach(({ stepNs, collectiveNs, samplingNs, planWaitNs }, rank) => {
      const info = this.#ranks[rank];
      this.#child(`rank ${rank}`, own, [Math.max(doneAtMs - stepNs / 1e6, sentAtMs), doneAtMs], {
        'skein.rank': rank,
        'skein.rank.compute_ms': (stepNs - collectiveNs - samplingNs) / 1e6,
        'skein.rank.all_reduce_wait_ms': collectiveNs / 1e6,
        'skein.rank.sampling_ms': samplingNs / 1e6,
        'skein.rank.plan_wait_ms': step.followsIdleTime ? 0 : planWaitNs / 1e6,
        ...(info === undefined
          ? {}
          : { 'host.name': info.host, 'process.pid': info.pid, 'skein.device': info.device }),
      });
    });
  }

  /** `times`: from and to, of the coordinator's clock. Returns the context for children of its own. */
  #child(
    name: string,
    parent: Context,
    times: readonly [number, number],
    attributes: Attributes = {},
  ): Context {
    const { tracer, toEpochMs } = this.#options;
    const span = tracer.startSpan(name, { startTime: toEpochMs(times[0]), attributes }, parent);
    span.end(toEpochMs(times[1]));
    return trace.setSpan(parent, span);
  }
}

function fail(span: Span, { code, message }: AppError): void {
  span.setAttribute('error.type', code);
  // Who left has not failed.
  if (code === 'CANCELLED') return;
  span.setStatus({ code: SpanStatusCode.ERROR, message: code === 'INTERNAL' ? 'internal error' : message });
}
