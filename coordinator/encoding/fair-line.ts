// Who is next of those that wait for a thread or for memory: the best priority, and within it clients in turn, by what
// they asked for: start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996, section 2). So a client that has sent a
// thousand at once holds up another one's first by what one of its own takes. Pure.

/** Who asks. */
export interface Asker {
  /** Of requests without a key all are one client's. */
  readonly client: string;
  /** Smaller goes first. */
  readonly priority: number;
}

export const NOBODY: Asker = { client: '', priority: 0 };

interface Place<Item> extends Asker {
  readonly item: Item;
  readonly startTag: number;
}

/** So many clients are remembered; beyond them those that wait. */
const MANY_CLIENTS = 1024;

export class FairLine<Item> {
  /** In order. */
  readonly #places: Place<Item>[] = [];
  /** The start tag of what was taken last. */
  #virtualTime = 0;
  /** By client: where what it asks for next starts, unless that is past. */
  readonly #finishTags = new Map<string, number>();

  get length(): number {
    return this.#places.length;
  }

  get first(): Item | undefined {
    return this.#places[0]?.item;
  }

  /** Clients that are remembered. */
  get numClients(): number {
    return this.#finishTags.size;
  }

  numOf(client: string): number {
    return this.#places.reduce((count, place) => count + (place.client === client ? 1 : 0), 0);
  }

  /** `cost`: of the item, in whatever the line's items have in common; more than 0. */
  add(item: Item, { client, priority }: Asker, cost: number): void {
    if (this.#finishTags.size >= MANY_CLIENTS && !this.#finishTags.has(client)) this.#forget();
    const startTag = Math.max(this.#virtualTime, this.#finishTags.get(client) ?? 0);
    this.#finishTags.set(client, startTag + cost);
    const place = { item, client, priority, startTag };
    let index = this.#places.length;
    while (index > 0 && goesBefore(place, this.#places[index - 1]!)) index -= 1;
    this.#places.splice(index, 0, place);
  }

  take(): Item | undefined {
    const place = this.#places.shift();
    if (place === undefined) return undefined;
    this.#virtualTime = Math.max(this.#virtualTime, place.startTag);
    return place.item;
  }

  /** It has left; what it would have cost stays its client's. False: it did not wait. */
  remove(item: Item): boolean {
    const index = this.#places.findIndex((place) => place.item === item);
    if (index >= 0) this.#places.splice(index, 1);
    return index >= 0;
  }

  /**
   * First those whose turn has passed. That may be nobody: where every client comes but once, each starts at the same
   * time, which never passes. Keys are not checked, so there may be any number of such clients.
   */
  #forget(): void {
    for (const [client, finishTag] of this.#finishTags)
      if (finishTag <= this.#virtualTime) this.#finishTags.delete(client);
    if (this.#finishTags.size < MANY_CLIENTS) return;
    const waiting = new Set(this.#places.map(({ client }) => client));
    for (const client of this.#finishTags.keys()) if (!waiting.has(client)) this.#finishTags.delete(client);
  }
}

/** Of equals the one that came first. */
function goesBefore(one: Place<unknown>, other: Place<unknown>): boolean {
  return one.priority === other.priority ? one.startTag < other.startTag : one.priority < other.priority;
}
