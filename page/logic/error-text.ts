// What an error means to who asked: a title in plain words and what can be done. The server's own message, which names
// the field and the limit, stands below it as it is.
import { ApiError } from './api.js';

export interface ErrorText {
  readonly title: string;
  /** Empty: the message says it all. */
  readonly advice: string;
  readonly message: string;
  readonly code: string;
  readonly requestId: string | null;
  /** Until a retry makes sense; null: the same call fails again, or nobody knows. */
  readonly retryAfterMs: number | null;
}

const TEXTS: Readonly<Record<string, readonly [title: string, advice: string]>> = {
  invalid_request: ['The request was not accepted', 'Change what the message names and ask again.'],
  invalid_picture: ['A picture could not be used', 'Remove it, or save it anew as PNG or JPEG.'],
  context_length_exceeded: [
    'The conversation is too long for the model',
    'Start a new conversation, leave out pictures, or ask for fewer tokens.',
  ],
  model_not_found: ['The model is not served here', ''],
  queue_full: ['The server is busy', 'It holds as many requests as it takes at once.'],
  not_ready: ['The model is not ready yet', 'The group is being formed; weights may still be loading.'],
  draining: ['The server is shutting down', 'It takes no new requests.'],
  worker_lost: ['A worker was lost while this was computed', ''],
  rank_hung: ['A worker stopped answering while this was computed', ''],
  step_timeout: ['A step took too long', ''],
  poisoned_request: ['This request cannot be computed', 'It ended the group twice and is not tried again.'],
  deadline_exceeded: ['The time for this request is over', ''],
  device_out_of_memory: ['The device is out of memory', ''],
  device_error: ['A device failed', ''],
  collective_error: ['The workers lost each other', ''],
  internal: ['Something went wrong in the server', 'Its log has the details, under the id of the request.'],
  unreachable: ['The server cannot be reached', 'Check that it still runs and that the network is there.'],
  connection_lost: ['The connection was lost', 'What arrived so far is kept.'],
};

export function errorText(error: unknown): ErrorText {
  if (!(error instanceof ApiError)) {
    const message = error instanceof Error ? error.message : String(error);
    return {
      ...{ title: 'Something went wrong in this page', advice: '', message },
      ...{ code: 'page', requestId: null, retryAfterMs: null },
    };
  }
  const { code, status, requestId, retryAfterMs } = error.fields;
  const [title, advice] = TEXTS[code] ?? [`The server answered with an error (${status})`, ''];
  // Where the server itself is gone, nobody says when to try again.
  const isTransport = code === 'unreachable' || code === 'connection_lost';
  return {
    ...{ title, advice, code, requestId },
    message: isTransport ? '' : error.message,
    retryAfterMs: isTransport ? 0 : retryAfterMs,
  };
}
