// Who is served how much: the tokens that each client was given, weighted by what they cost. Clients that wait share
// the engine evenly by these counters: the virtual token counter of "Fairness in Serving Large Language Models" (Sheng
// et al., OSDI 2024, algorithm 2). A client that joins those that wait begins where the least served of them stands, so
// what it did not ask for earlier is no credit. Beyond the paper, what it was given while nobody else waited is held
// against it no further than by the paper's bound for clients that always wait, what can run at once: else one that
// used an idle server would pay for it later. A client without sequences is forgotten.

/** The paper's weights: an answer's token needs a step of its own, a prompt's shares one with its neighbours. */
const PROMPT_TOKEN_COST = 1;
export const ANSWER_TOKEN_COST = 2;
/** Nothing is computed for it, but its place in the KV cache is held. */
const CACHED_TOKEN_COST = 0.1;

export interface Client {
  readonly name: string;
  /** Cost of what it was given. */
  served: number;
  /** Sequences of it that have not ended, and of these those that wait, with their tokens. */
  numSequences: number;
  numWaiting: number;
  numWaitingTokens: number;
}

export class Clients {
  readonly #clients = new Map<string, Client>();
  readonly #maxDebt: number;
  /** Where nobody waits: whose counter a client that comes is measured by. */
  #lastAdmitted: Client | null = null;

  /** `numKvTokens`: what the cache holds, and so what can run at once. */
  constructor(numKvTokens: number) {
    this.#maxDebt = ANSWER_TOKEN_COST * numKvTokens;
  }

  get size(): number {
    return this.#clients.size;
  }

  find(name: string): Client | undefined {
    return this.#clients.get(name);
  }

  /** A sequence of it has come. */
  arrive(name: string): Client {
    let client = this.#clients.get(name);
    if (client === undefined) {
      client = { name, served: 0, numSequences: 0, numWaiting: 0, numWaitingTokens: 0 };
      this.#clients.set(name, client);
    }
    client.numSequences += 1;
    return client;
  }

  /** A sequence of it has ended. */
  leave(client: Client): void {
    client.numSequences -= 1;
    if (client.numSequences === 0) this.#clients.delete(client.name);
  }

  /** A sequence of it begins to wait. */
  wait(client: Client, numTokens: number): void {
    if (client.numWaiting === 0) {
      const least = this.#leastServed();
      client.served = Math.min(Math.max(client.served, least), least + this.#maxDebt);
    }
    client.numWaiting += 1;
    client.numWaitingTokens += numTokens;
  }

  /** It waits no more. */
  stopWaiting(client: Client, numTokens: number): void {
    client.numWaiting -= 1;
    client.numWaitingTokens -= numTokens;
  }

  /** Of its prompt, and what an earlier epoch had made of the answer. */
  admitted(client: Client, numComputed: number, numCached: number): void {
    client.served += PROMPT_TOKEN_COST * numComputed + CACHED_TOKEN_COST * numCached;
    this.#lastAdmitted = client;
  }

  #leastServed(): number {
    let least = Infinity;
    for (const { served, numWaiting } of this.#clients.values())
      if (numWaiting > 0 && served < least) least = served;
    return least === Infinity ? (this.#lastAdmitted?.served ?? 0) : least;
  }
}
