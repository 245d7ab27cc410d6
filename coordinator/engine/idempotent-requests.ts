// Requests with an idempotency key. A call with a key that is known joins the request that has it: while that runs, and
// for some time after it has finished. A request that failed is forgotten, so that the key asks anew. Kept in memory: a
// coordinator that is restarted knows no keys, and computes a repeated call again.
import { createHash, webcrypto } from 'node:crypto';
import type { Clock, Timer } from '../../common/clock.js';
import { AppError } from '../../common/errors.js';
import {
  DEFAULT_IDEMPOTENCY_WINDOW_MS,
  DEFAULT_RECONNECT_GRACE_MS,
  MAX_IDEMPOTENCY_KEY_CHARS,
  MAX_KEPT_ANSWER_BYTES,
  MAX_KEPT_ANSWERS,
} from '../../common/limits.js';
import type { RequestSink } from '../requests/generation.js';
import { picturesOf, type PromptInput, type RequestSpec } from '../requests/request-spec.js';
import type { Engine, RequestHandle } from './engine.js';
import { SharedAnswer } from './shared-answer.js';

export interface IdempotentRequestsOptions {
  readonly engine: Pick<Engine, 'submit'>;
  readonly clock: Clock;
  /** How long a finished answer can be joined; 0: not at all. */
  readonly windowMs?: number;
  /** How long a request goes on that nobody reads any more; 0: not at all. */
  readonly graceMs?: number;
  readonly maxKept?: number;
  readonly maxKeptBytes?: number;
}

interface Entry {
  readonly key: string;
  readonly fingerprint: string;
  readonly answer: SharedAnswer;
  handle: RequestHandle | null;
  /** Of the grace while it runs, of the window once it has finished. */
  timer: Timer | null;
  keptBytes: number;
}

const KEY_PATTERN = /^[\x20-\x7e]*$/;

/** Throws INVALID_REQUEST. Null: the call has none. */
export function checkIdempotencyKey(key: string): string | null {
  if (key === '') return null;
  const reason =
    key.length > MAX_IDEMPOTENCY_KEY_CHARS
      ? `has ${key.length} characters; the limit is ${MAX_IDEMPOTENCY_KEY_CHARS}`
      : KEY_PATTERN.test(key)
        ? null
        : 'has characters other than printable ASCII';
  if (reason === null) return key;
  throw invalidKey(reason);
}

/** Of what is asked: equal for calls that may share an answer. Pictures are hashed on other threads. */
export async function fingerprintOf(spec: RequestSpec): Promise<string> {
  const { prompt, sampling, shape = null, choiceIndex = 0, splitsReasoning = true } = spec;
  const pictures = await Promise.all(
    picturesOf(prompt).map(({ data }) => webcrypto.subtle.digest('SHA-256', data)),
  );
  const fields = Object.entries(sampling).filter(([, value]) => value !== undefined);
  const hash = createHash('sha256');
  hash.update(
    JSON.stringify([prompt.kind, textOf(prompt), fields.sort(), shape, choiceIndex, splitsReasoning], plain),
  );
  for (const digest of pictures) hash.update(new Uint8Array(digest));
  return hash.digest('hex');
}

/** What a prompt says beside its pictures. */
function textOf(prompt: PromptInput): unknown {
  if (prompt.kind === 'text') return prompt.text;
  if (prompt.kind === 'tokens') return Array.from(prompt.tokenIds);
  const messages = prompt.messages.map(({ role, parts, toolCalls = [] }) => [
    role,
    parts.map((part) => (part.type === 'text' ? part.text : null)),
    toolCalls,
  ]);
  return [messages, prompt.tools ?? []];
}

export class IdempotentRequests {
  readonly #options: Required<IdempotentRequestsOptions>;
  readonly #entries = new Map<string, Entry>();
  /** Those that have finished, the oldest end first. */
  readonly #kept = new Set<Entry>();
  #keptBytes = 0;

  constructor(options: IdempotentRequestsOptions) {
    this.#options = {
      windowMs: DEFAULT_IDEMPOTENCY_WINDOW_MS,
      graceMs: DEFAULT_RECONNECT_GRACE_MS,
      maxKept: MAX_KEPT_ANSWERS,
      maxKeptBytes: MAX_KEPT_ANSWER_BYTES,
      ...options,
    };
  }

  /**
   * What takes the place of the engine for a call with this key. A deadline is the call's, not the request's: others
   * may have later ones.
   */
  withKey(key: string, fingerprint: string): Pick<Engine, 'submit'> {
    return { submit: (spec, sink) => this.#submit(key, fingerprint, spec, sink) };
  }

  /** Answers that are kept, and their bytes. */
  get kept(): { readonly count: number; readonly bytes: number } {
    return { count: this.#kept.size, bytes: this.#keptBytes };
  }

  /** Forgets all keys. What runs goes on for its readers. */
  stop(): void {
    for (const entry of this.#entries.values()) entry.timer?.cancel();
    this.#entries.clear();
    this.#kept.clear();
    this.#keptBytes = 0;
  }

  #submit(key: string, fingerprint: string, spec: RequestSpec, sink: RequestSink): RequestHandle {
    const present = this.#entries.get(key);
    if (present === undefined) return this.#begin(key, fingerprint, spec, sink);
    if (present.fingerprint === fingerprint) return present.answer.join(sink);
    sink.onFailure(invalidKey('was used for another request; a key stands for one'));
    return { cancel: () => undefined, setPaused: () => undefined };
  }

  #begin(key: string, fingerprint: string, spec: RequestSpec, sink: RequestSink): RequestHandle {
    const answer = new SharedAnswer({
      onAbandoned: () => this.#abandoned(entry),
      onJoinedAgain: () => this.#clearTimer(entry),
      onPaused: (isPaused) => entry.handle?.setPaused(isPaused),
      onEnd: (hasFinished) => this.#ended(entry, hasFinished),
    });
    const entry: Entry = { key, fingerprint, answer, handle: null, timer: null, keptBytes: 0 };
    this.#entries.set(key, entry);
    const reader = answer.join(sink);
    entry.handle = this.#options.engine.submit(spec, answer);
    return reader;
  }

  #abandoned(entry: Entry): void {
    const cancel = (): void =>
      entry.handle?.cancel(new AppError('CANCELLED', 'nobody reads the answer any more'));
    const { graceMs, clock } = this.#options;
    if (graceMs === 0) cancel();
    else entry.timer = clock.setTimer(graceMs, cancel);
  }

  #ended(entry: Entry, hasFinished: boolean): void {
    this.#clearTimer(entry);
    const { clock, windowMs, maxKept, maxKeptBytes } = this.#options;
    if (!hasFinished || windowMs === 0) {
      this.#forget(entry);
      return;
    }
    entry.keptBytes = entry.answer.bytes;
    entry.timer = clock.setTimer(windowMs, () => this.#forget(entry));
    this.#kept.add(entry);
    this.#keptBytes += entry.keptBytes;
    for (const oldest of this.#kept) {
      if (this.#kept.size <= maxKept && this.#keptBytes <= maxKeptBytes) break;
      this.#forget(oldest);
    }
  }

  #forget(entry: Entry): void {
    this.#clearTimer(entry);
    if (this.#entries.get(entry.key) === entry) this.#entries.delete(entry.key);
    if (this.#kept.delete(entry)) this.#keptBytes -= entry.keptBytes;
  }

  #clearTimer(entry: Entry): void {
    entry.timer?.cancel();
    entry.timer = null;
  }
}

function invalidKey(reason: string): AppError {
  return new AppError('INVALID_REQUEST', `idempotency_key ${reason}`, {
    details: { param: 'idempotency_key' },
  });
}

/** What JSON has no form for. */
function plain(_name: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  return value instanceof Map ? [...(value as Map<unknown, unknown>)] : value;
}
