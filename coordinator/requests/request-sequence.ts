// A request as an epoch takes it: what was produced so far follows the prompt.
import type { MaskSource, SequenceRequest } from '../executor/step-loop.js';
import type { EncodedRequest } from './encoded-request.js';
import { clientOf } from './request-spec.js';
import type { Request } from './request.js';

export type RequestSequence = SequenceRequest &
  Pick<EncodedRequest, 'pictures'> & { readonly masks: MaskSource | null };

/** `maxTokens`: that an epoch let it produce; null: none has taken it. */
export function toRequestSequence(
  request: Request,
  { tokenIds: promptIds, sampling, pictures, constraint = null }: EncodedRequest,
  maxTokens: number | null,
): RequestSequence {
  const { sequenceId, spec, producedIds, isSuspect, pause } = request;
  return {
    sequenceId,
    tokenIds: producedIds.after(promptIds),
    numPromptTokens: promptIds.length,
    maxTokens: maxTokens ?? sampling.maxTokens,
    maxTokensIsDefault: sampling.maxTokensIsDefault,
    isAccepted: maxTokens !== null,
    prefillsAlone: isSuspect,
    priority: spec.priority ?? 0,
    client: clientOf(spec),
    arrivedMs: request.timeOf('received')!,
    hasRun: request.timeOf('running') !== null,
    isPaused: pause.isPaused,
    // Masks say when it may end.
    sampling: constraint === null ? sampling.params : { ...sampling.params, minTokens: 0 },
    isMasked: constraint !== null,
    masks: constraint,
    pictures,
  };
}
