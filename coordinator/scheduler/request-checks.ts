// What a request must satisfy to be able to run at all in this pool: checked on arrival, so that nothing waits for
// ever.
import { assert } from '../../common/assert.js';
import { AppError } from '../../common/errors.js';
import { hasRoom } from '../../common/fair-bound.js';
import type { SchedulerConfig, SequenceRequest } from './step-plan.js';
import type { WaitingQueue } from './waiting-queue.js';

/** Tokens that one sequence can have, prompt and output together. */
function maxSequenceTokens(config: SchedulerConfig): number {
  // The last token is sampled and never computed: it needs no place in the KV cache.
  return Math.min(config.maxModelLength, config.numBlocks * config.blockSize + 1);
}

/** The number of tokens that the sequence may produce, earlier ones included. */
export function checkRequest(request: SequenceRequest, config: SchedulerConfig): number {
  assert(
    request.numPromptTokens > 0 && request.numPromptTokens <= request.tokenIds.length,
    'a prompt has tokens',
  );
  const limit = maxSequenceTokens(config);
  const room = limit - request.numPromptTokens;
  if (request.isAccepted === true) return remainsOf(request, limit);
  const what = config.maxModelLength <= limit ? 'the context length' : 'what the KV cache holds';
  if (room < 1) {
    throw new AppError(
      'CONTEXT_LENGTH_EXCEEDED',
      `the prompt has ${request.numPromptTokens} tokens; ${what} is ${limit} tokens, prompt and answer together`,
      { details: { prompt_tokens: request.numPromptTokens, limit } },
    );
  }
  if (request.maxTokens !== null && request.maxTokens > room && request.maxTokensIsDefault !== true) {
    throw new AppError(
      'CONTEXT_LENGTH_EXCEEDED',
      `the prompt has ${request.numPromptTokens} tokens and max_tokens is ${request.maxTokens}, together ` +
        `${request.numPromptTokens + request.maxTokens}; ${what} is ${limit} tokens`,
      { details: { prompt_tokens: request.numPromptTokens, max_tokens: request.maxTokens, limit } },
    );
  }
  checkPictures(request, config);
  return Math.min(request.maxTokens ?? room, room);
}

/** Of a sequence that an earlier epoch had taken, whose KV cache may have been larger: it goes as far as this one's. */
function remainsOf({ tokenIds, numPromptTokens, maxTokens }: SequenceRequest, limit: number): number {
  if (tokenIds.length >= limit) {
    throw new AppError(
      'CONTEXT_LENGTH_EXCEEDED',
      `prompt and answer have ${tokenIds.length} tokens so far; the group that was formed again holds ${limit}`,
      { details: { tokens: tokenIds.length, limit } },
    );
  }
  const room = limit - numPromptTokens;
  return Math.min(maxTokens ?? room, room);
}

/** Refuses a request for which there is no room among those that wait. */
export function checkQueue(request: SequenceRequest, waiting: WaitingQueue, config: SchedulerConfig): void {
  const own = waiting.clients.find(request.client ?? '');
  const { maxWaiting, maxWaitingTokens } = config;
  if (!hasRoom(waiting.length, 1, own?.numWaiting ?? 0, maxWaiting))
    throw new AppError('QUEUE_FULL', `${waiting.length} requests wait already; the limit is ${maxWaiting}`, {
      details: { bound: 'requests', limit: maxWaiting },
    });
  const numTokens = request.tokenIds.length;
  // One that alone is longer is taken where nothing waits.
  if (waiting.numTokens === 0) return;
  if (!hasRoom(waiting.numTokens, numTokens, own?.numWaitingTokens ?? 0, maxWaitingTokens)) {
    throw new AppError(
      'QUEUE_FULL',
      `the prompt has ${numTokens} tokens, and ${waiting.numTokens} wait already; the limit is ${maxWaitingTokens}`,
      { details: { bound: 'tokens', tokens: numTokens, limit: maxWaitingTokens } },
    );
  }
}

function checkPictures(request: SequenceRequest, config: SchedulerConfig): void {
  let numTiles = 0;
  let previousEnd = 0;
  for (const picture of request.pictures) {
    const end = picture.firstPosition + picture.numTiles * config.tokensPerTile;
    assert(
      picture.firstPosition >= previousEnd && end <= request.numPromptTokens,
      'pictures stand in the prompt, in order',
    );
    previousEnd = end;
    numTiles += picture.numTiles;
  }
  if (numTiles > config.numTileSlots) {
    throw new AppError(
      'CONTEXT_LENGTH_EXCEEDED',
      `the pictures have ${numTiles} tiles; the limit is ${config.numTileSlots} tiles a request`,
      { details: { param: 'pictures', tiles: numTiles, limit: config.numTileSlots } },
    );
  }
}
