// The one queue of a simulation: what happens, when, in a fixed order. Between two events every promise that is ready
// runs on, so that nothing but the seed decides what comes next.

interface Event {
  readonly atMs: number;
  readonly order: number;
  readonly what: string;
  readonly run: () => void;
  isCancelled: boolean;
}

export interface Scheduled {
  cancel(): void;
}

export class EventQueue {
  #nowMs = 0;
  #order = 0;
  readonly #heap: Event[] = [];
  /** Told of every event before it runs; null: nobody asks. */
  trace: ((atMs: number, what: string) => void) | null = null;
  numEvents = 0;

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Events that are still to come, cancelled ones excepted. */
  get pending(): string[] {
    return this.#heap.filter(({ isCancelled }) => !isCancelled).map(({ what }) => what);
  }

  at(atMs: number, what: string, run: () => void): Scheduled {
    const event = { atMs: Math.max(atMs, this.#nowMs), order: this.#order++, what, run, isCancelled: false };
    this.#push(event);
    return {
      cancel: () => {
        event.isCancelled = true;
      },
    };
  }

  after(delayMs: number, what: string, run: () => void): Scheduled {
    return this.at(this.#nowMs + delayMs, what, run);
  }

  /** Runs the next event and what it makes ready. Returns what it was; null: there is none before `limitMs`. */
  async step(limitMs: number): Promise<string | null> {
    for (;;) {
      const event = this.#heap[0];
      if (event === undefined || event.atMs > limitMs) return null;
      this.#pop();
      if (event.isCancelled) continue;
      this.#nowMs = event.atMs;
      this.numEvents += 1;
      this.trace?.(event.atMs, event.what);
      event.run();
      await settle();
      return event.what;
    }
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let index = heap.push(event) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!isBefore(event, heap[parent]!)) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child += 1;
      if (!isBefore(heap[child]!, last)) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = last;
  }
}

function isBefore(first: Event, second: Event): boolean {
  return first.atMs < second.atMs || (first.atMs === second.atMs && first.order < second.order);
}

/**
 * A tick that is queued from a promise's callback runs when none is ready any more; no turn of the platform's event
 * loop is needed.
 */
export function settle(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}
