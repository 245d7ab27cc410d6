// An answer on its way out: whole, or as server-sent events that are written no faster than the client reads. A stream
// begins with the first of it, so that what is refused before has its own status; what fails later is told in the
// stream.
import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import { toAppError } from '../../../common/errors.js';
import { generateChoices, type ChoiceDeltas, type ChoicesSpec } from '../../engine/generate-choices.js';
import type { Engine } from '../../engine/engine.js';
import { mergeDeltas, type GenerationDelta } from '../../requests/generation.js';
import type { RequestStream } from '../../requests/request-stream.js';
import { serverTiming } from '../inference-messages.js';
import { usageOf, type AnswerForm } from './answer-form.js';
import { toHttpError } from './http-errors.js';

const STREAM_HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache',
  // Proxies that gather what they pass on would hold tokens back.
  'x-accel-buffering': 'no',
};
/** Written ahead of the client, beside what its connection holds. */
const HIGH_WATER_MARK_BYTES = 16 * 1024;

export interface AnswerOptions {
  readonly engine: Pick<Engine, 'submit'>;
  readonly choices: ChoicesSpec;
  readonly form: AnswerForm;
  readonly isStream: boolean;
  readonly includesUsage: boolean;
  /** The client has left, or its time is up. */
  readonly signal: AbortSignal;
  /** A stream that has begun failed. */
  readonly onFailure: (error: unknown) => void;
}

/** Rejects with what failed before anything was sent. */
export async function sendAnswer(reply: FastifyReply, options: AnswerOptions): Promise<FastifyReply> {
  const { engine, choices, form, isStream, signal } = options;
  const deltas = generateChoices(engine, choices, signal);
  if (!isStream) {
    const answers = await collect(deltas);
    const [first] = answers.values();
    if (answers.size === 1 && first!.end !== null) reply.header('server-timing', serverTiming(first!.end));
    return reply.send(form.whole(answers));
  }
  const first = await deltas.next();
  return reply.headers(STREAM_HEADERS).send(toEvents(first, deltas, options));
}

async function collect(deltas: AsyncIterable<ChoiceDeltas>): Promise<Map<number, GenerationDelta>> {
  const answers = new Map<number, GenerationDelta>();
  for await (const some of deltas) for (const [number, delta] of some) addDelta(answers, number, delta);
  return answers;
}

function addDelta(answers: Map<number, GenerationDelta>, number: number, delta: GenerationDelta): void {
  const before = answers.get(number);
  if (before === undefined) answers.set(number, delta);
  else mergeDeltas(before, delta);
}

/** Pushed as it comes while there is room, and merged meanwhile. */
function toEvents(
  first: IteratorResult<ChoiceDeltas, undefined>,
  deltas: RequestStream<ChoiceDeltas>,
  { form, choices, includesUsage, signal, onFailure }: AnswerOptions,
): Readable {
  const ended = new Map<number, GenerationDelta>();
  const events = new Readable({
    highWaterMark: HIGH_WATER_MARK_BYTES,
    read: () => deltas.resume(),
    destroy: (error, done) => {
      deltas.cancel();
      done(error);
    },
  });
  const take = (some: ChoiceDeltas): boolean => {
    let text = '';
    for (const [number, delta] of some) {
      if (delta.end !== null) ended.set(number, delta);
      for (const chunk of form.chunks(number, delta)) text += toEvent(chunk);
    }
    return text === '' || events.push(text);
  };
  const finish = async (): Promise<void> => {
    try {
      if (first.done !== true) take(first.value);
      await deltas.forEach(take);
      if (includesUsage) events.push(toEvent(form.usageChunk(usageOf(ended, choices.numChoices))));
    } catch (error) {
      onFailure(error);
      // Nobody is there to be told, where it was not cancelled by its id.
      if (signal.aborted && toAppError(error).code === 'CANCELLED') return void events.push(null);
      events.push(toEvent(toHttpError(error).body));
    }
    if (events.destroyed) return;
    events.push('data: [DONE]\n\n');
    events.push(null);
  };
  void finish();
  return events;
}

function toEvent(data: object): string {
  return `data: ${JSON.stringify(data)}\n\n`;
}
