// How far one sequence is in its grammar, whichever thread has it.
import { AppError } from '../../common/errors.js';
import type { TokenMask } from '../executor/step-loop.js';
import type { GrammarCall } from './grammar-calls.js';
import type { Grammar, SessionOptions } from './grammar-host.js';

export interface GrammarRequest extends SessionOptions {
  readonly grammar: Grammar;
  /** Of a failure: the field that the grammar was made of. */
  readonly param: string;
}

/** How far one sequence is in its grammar. */
export interface GrammarSession {
  /** Of the token that follows those it has been told of. Rejects where there is none. */
  nextMask(): Promise<TokenMask>;
  accept(tokenIds: readonly number[]): void;
  close(): void;
}

/** Where its calls go. */
interface SessionPlace {
  call(call: GrammarCall): void;
  remove(session: Session): void;
}

export class Session implements GrammarSession {
  readonly id: number;
  readonly request: GrammarRequest;
  readonly tokenIds: number[] = [];
  /** Threads that it was on and that are no more. */
  numMoves = 0;
  /** It has had a mask: its grammar compiles. */
  hasBegun = false;
  place: SessionPlace | null = null;
  #failure: AppError | null = null;
  #mask: TokenMask | null = null;
  #waiting: PromiseWithResolvers | null = null;

  constructor(id: number, request: GrammarRequest) {
    this.id = id;
    this.request = request;
  }

  nextMask(): Promise<TokenMask> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    if (this.#mask !== null) return Promise.resolve(this.#mask);
    this.#waiting ??= withResolvers();
    return this.#waiting.promise;
  }

  accept(tokenIds: readonly number[]): void {
    if (this.#failure !== null) return;
    this.tokenIds.push(...tokenIds);
    this.#mask = null;
    // Whose list it is may go on with it.
    this.place?.call({ kind: 'accept', session: this.id, tokenIds: [...tokenIds] });
  }

  close(): void {
    this.fail(new AppError('CANCELLED', 'the request is over'));
    this.place?.remove(this);
    this.place = null;
  }

  give(mask: TokenMask): void {
    this.hasBegun = true;
    this.#mask = mask;
    this.#waiting?.resolve(mask);
    this.#waiting = null;
  }

  fail(error: AppError): void {
    this.#failure ??= error;
    this.#waiting?.reject(this.#failure);
    this.#waiting = null;
  }
}

interface PromiseWithResolvers {
  readonly promise: Promise<TokenMask>;
  readonly resolve: (mask: TokenMask) => void;
  readonly reject: (error: AppError) => void;
}

function withResolvers(): PromiseWithResolvers {
  let resolve!: (mask: TokenMask) => void;
  let reject!: (error: AppError) => void;
  const promise = new Promise<TokenMask>((onMask, onError) => {
    resolve = onMask;
    reject = onError;
  });
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}
