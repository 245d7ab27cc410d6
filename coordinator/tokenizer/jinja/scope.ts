// Names of a template and what they stand for: a chain of scopes, innermost first.
import type { Value } from './values.js';

export class Scope {
  readonly #values = new Map<string, Value>();
  readonly #parent: Scope | null;

  constructor(parent: Scope | null, entries: Iterable<readonly [string, Value]> = []) {
    this.#parent = parent;
    for (const [name, value] of entries) this.#values.set(name, value);
  }

  get(name: string): Value | undefined {
    const value = this.#values.get(name);
    return value === undefined ? this.#parent?.get(name) : value;
  }

  set(name: string, value: Value): void {
    this.#values.set(name, value);
  }
}
