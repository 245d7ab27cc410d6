// Grammar threads, as many as are needed up to a few: where a grammar is compiled, its sequences are served, for what
// is compiled cannot leave its thread. So a new one is compiled where nobody is served, while there is such a place. A
// thread that breaks, or compiles for too long, is given up; its sequences go on elsewhere.
import { AppError } from '../../common/errors.js';
import { MAX_GRAMMAR_THREADS, MAX_KEPT_GRAMMARS } from '../../common/limits.js';
import type { Grammar } from './grammar-host.js';
import { Place, type PlaceOptions } from './grammar-place.js';
import { Session, type GrammarRequest, type GrammarSession } from './grammar-session.js';

export interface GrammarPoolOptions extends PlaceOptions {
  readonly maxThreads?: number;
}

export class GrammarPool {
  readonly #options: GrammarPoolOptions;
  readonly #places = new Set<Place>();
  /** Grammars that are known not to compile, with why; the oldest are forgotten. */
  readonly #refused = new Map<string, string>();
  #numSessions = 0;
  #isClosed = false;

  constructor(options: GrammarPoolOptions) {
    this.#options = options;
  }

  get numThreads(): number {
    return this.#places.size;
  }

  open(request: GrammarRequest): GrammarSession {
    this.#numSessions += 1;
    const session = new Session(this.#numSessions, request);
    this.#place(session);
    return session;
  }

  close(): void {
    this.#isClosed = true;
    for (const place of this.#places) place.end();
    this.#places.clear();
  }

  #place(session: Session): void {
    const { grammar, param } = session.request;
    const known = this.#refused.get(grammar.key);
    if (known !== undefined) session.fail(cannotCompile(param, known));
    else if (this.#isClosed) session.fail(new AppError('DRAINING', 'the server is shutting down'));
    else this.#choose(grammar).add(session);
  }

  /** Where it is compiled already, where nobody is served, a new one, or where the fewest are served. */
  #choose({ key }: Grammar): Place {
    const places = [...this.#places];
    const { maxThreads = MAX_GRAMMAR_THREADS } = this.#options;
    const known =
      places.find((place) => place.has(key)) ?? places.find(({ numSessions }) => numSessions === 0);
    if (known !== undefined) return known;
    if (places.length >= maxThreads)
      return places.reduce((one, other) => (other.numSessions < one.numSessions ? other : one));
    const place = new Place(this.#options, {
      onBroken: (error, culprit) => this.#giveUp(place, error, culprit),
    });
    this.#places.add(place);
    return place;
  }

  /** `culprit`: the sequence whose call it could not answer. */
  #giveUp(place: Place, error: AppError, culprit: Session | null): void {
    this.#places.delete(place);
    place.end();
    const others = place.sessions.filter((session) => session !== culprit);
    if (culprit !== null) {
      const { grammar, param } = culprit.request;
      if (culprit.hasBegun) culprit.fail(error);
      else {
        this.#refuse(grammar.key, error.message);
        culprit.fail(cannotCompile(param, error.message));
      }
    }
    for (const session of others) {
      session.numMoves += 1;
      // Threads do not end by accident as often as that.
      if (session.numMoves > 3) session.fail(error);
      else this.#place(session);
    }
  }

  #refuse(key: string, problem: string): void {
    this.#refused.set(key, problem);
    const [oldest] = this.#refused.keys();
    if (this.#refused.size > MAX_KEPT_GRAMMARS) this.#refused.delete(oldest!);
  }
}

function cannotCompile(param: string, problem: string): AppError {
  return new AppError('INVALID_REQUEST', `${param} cannot be compiled: ${problem}`.slice(0, 1000), {
    details: { param },
  });
}
