// The answers of one call over gRPC: as messages of what comes, written no faster than the client reads, or whole.
import type * as grpc from '@grpc/grpc-js';
import type { GenerateRequest__Output } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import type { Engine } from '../engine/engine.js';
import { generateChoices } from '../engine/generate-choices.js';
import { generate, generateWhole, type WholeGeneration } from '../engine/generate.js';
import { emptyDelta, mergeDeltas, type GenerationEnd } from '../requests/generation.js';
import type { RequestSpec } from '../requests/request-spec.js';
import { DeltaEncoder } from './delta-encoder.js';

/** Its messages are bytes already. */
export type DeltaCall = grpc.ServerWritableStream<GenerateRequest__Output, Buffer>;

export interface AskedAnswers {
  readonly engine: Pick<Engine, 'submit'>;
  readonly spec: RequestSpec;
  /** To the one prompt. */
  readonly numChoices: number;
}

/** Resolves with how the call ended; null: its client has left. */
export async function streamAnswers(
  call: DeltaCall,
  asked: AskedAnswers,
  signal: AbortSignal,
): Promise<GenerationEnd | null> {
  return asked.numChoices === 1 ? streamOne(call, asked, signal) : streamSeveral(call, asked, signal);
}

async function streamOne(
  call: DeltaCall,
  { engine, spec }: AskedAnswers,
  signal: AbortSignal,
): Promise<GenerationEnd | null> {
  const generation = generate(engine, spec, signal);
  const { deltas, requestId } = generation;
  const encoder = new DeltaEncoder(requestId);
  let isFirst = true;
  let end: GenerationEnd | null = null;
  resumeWithRoom(call, deltas);
  await deltas.forEach((delta) => {
    const promptTokenIds = isFirst ? generation.promptTokenIds : null;
    isFirst = false;
    end = delta.end;
    return call.write(encoder.encode(delta, promptTokenIds)) || call.destroyed;
  }, signal);
  return end;
}

async function streamSeveral(
  call: DeltaCall,
  { engine, spec, numChoices }: AskedAnswers,
  signal: AbortSignal,
): Promise<GenerationEnd | null> {
  const encoders = Array.from({ length: numChoices }, (_, index) => new DeltaEncoder(spec.requestId, index));
  const ends: GenerationEnd[] = [];
  let promptTokenIds: Uint32Array | null = null;
  const onPrompt = (_prompt: number, tokenIds: Uint32Array): void => void (promptTokenIds = tokenIds);
  const deltas = generateChoices(engine, { specs: [spec], numChoices, onPrompt }, signal);
  resumeWithRoom(call, deltas);
  await deltas.forEach((byChoice) => {
    let hasRoom = true;
    for (const [index, delta] of byChoice) {
      hasRoom = call.write(encoders[index]!.encode(delta, promptTokenIds));
      promptTokenIds = null;
      if (delta.end !== null) ends.push(delta.end);
    }
    return hasRoom || call.destroyed;
  }, signal);
  return ends.length < numChoices ? null : endOfAll(ends);
}

/** While there is no room, deltas merge. */
function resumeWithRoom(call: DeltaCall, deltas: { resume(): void }): void {
  call.on('drain', () => deltas.resume());
  call.on('close', () => deltas.resume());
}

/** In order of their index. */
export async function wholeAnswers(
  { engine, spec, numChoices }: AskedAnswers,
  signal: AbortSignal,
): Promise<WholeGeneration[]> {
  if (numChoices === 1) return [await generateWhole(engine, spec, signal)];
  const totals = Array.from({ length: numChoices }, emptyDelta);
  let promptTokenIds: Uint32Array = new Uint32Array();
  const onPrompt = (_prompt: number, tokenIds: Uint32Array): void => void (promptTokenIds = tokenIds);
  const deltas = generateChoices(engine, { specs: [spec], numChoices, onPrompt }, signal);
  await deltas.forEach((byChoice) => {
    for (const [index, delta] of byChoice) mergeDeltas(totals[index]!, delta);
    return true;
  }, signal);
  const { requestId } = spec;
  return totals.map((total) => ({ ...total, requestId, promptTokenIds, end: total.end! }));
}

/** Of the call: as long as its last answer, with all tokens. `ends`: at least one, in the order of their time. */
export function endOfAll(ends: readonly GenerationEnd[]): GenerationEnd {
  const last = ends.at(-1)!;
  const completionTokens = ends.reduce((sum, { usage }) => sum + usage.completionTokens, 0);
  return { ...last, usage: { ...last.usage, completionTokens } };
}
