// What both generating endpoints have in common: sampling options in the names of OpenAI's API -> SamplingInput. Ranges
// are checked where those of every API are.
import type { SamplingInput } from '../../../common/sampling.js';
import { invalid } from '../request-checks.js';
import { EXACT_SEED, toSeed } from './exact-seed.js';
import type { GenerationBody } from './request-schemas.js';

/** `topLogprobs`: alternatives to each token; undefined: no log-probabilities. */
export function parseSampling(body: GenerationBody, topLogprobs: number | undefined): SamplingInput {
  const { stop, seed } = body;
  return {
    temperature: body.temperature,
    // As other servers have it, -1 is off.
    topK: body.top_k === -1 ? 0 : body.top_k,
    topP: body.top_p,
    minP: body.min_p,
    repetitionPenalty: body.repetition_penalty,
    presencePenalty: body.presence_penalty,
    frequencyPenalty: body.frequency_penalty,
    seed: seed === undefined ? undefined : toSeed(seed, body[EXACT_SEED]),
    maxTokens: body.max_completion_tokens ?? body.max_tokens,
    minTokens: body.min_tokens,
    ignoreEos: body.ignore_eos,
    stop: typeof stop === 'string' ? [stop] : stop,
    stopTokenIds: body.stop_token_ids,
    logitBias: parseLogitBias(body.logit_bias ?? {}),
    topLogprobs,
    skipSpecialTokens: body.skip_special_tokens,
  };
}

function parseLogitBias(entries: Readonly<Record<string, number>>): Map<number, number> {
  const biases = new Map<number, number>();
  for (const [key, bias] of Object.entries(entries)) {
    if (!/^\d{1,10}$/.test(key))
      throw invalid('logit_bias', `has "${key.slice(0, 50)}", which is no token id`);
    const id = Number(key);
    if (biases.has(id)) throw invalid('logit_bias', `names token ${id} twice`);
    biases.set(id, bias);
  }
  return biases;
}
