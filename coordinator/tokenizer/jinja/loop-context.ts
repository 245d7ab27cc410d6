// The name `loop` inside a loop. Items are taken one ahead only where somebody asks for what is ahead.
import { bind } from './arguments.js';
import { areEqual } from './operators.js';
import { Callable, TemplateError, Undefined, type Arguments, type Value } from './values.js';

export class LoopContext {
  /** What the template sees. */
  readonly value: Callable;
  readonly #ahead: Value[] = [];
  #index = -1n;
  #current: Value = null;
  #previous: Value = new Undefined('there is no previous item');
  #lastChanged: readonly Value[] | null = null;
  readonly #items: Iterator<Value>;
  readonly #depth: number;

  constructor(items: Iterator<Value>, depth: number, again: (args: Arguments) => Value) {
    this.#items = items;
    this.#depth = depth;
    this.value = new Callable('loop', again, (name) => this.#attribute(name), 'LoopContext');
  }

  get item(): Value {
    return this.#current;
  }

  /** False after the last item. */
  advance(): boolean {
    if (!this.#look(1)) return false;
    if (this.#index >= 0n) this.#previous = this.#current;
    this.#current = this.#ahead.shift()!;
    this.#index += 1n;
    return true;
  }

  /** Whether there are so many more items; takes them. */
  #look(count: number): boolean {
    while (this.#ahead.length < count) {
      const next = this.#items.next();
      if (next.done === true) return false;
      this.#ahead.push(next.value);
    }
    return true;
  }

  get #numLeft(): bigint {
    this.#look(Infinity);
    return BigInt(this.#ahead.length);
  }

  #attribute(name: string): Value | undefined {
    switch (name) {
      case 'index':
        return this.#index + 1n;
      case 'index0':
        return this.#index;
      case 'revindex':
        return this.#numLeft + 1n;
      case 'revindex0':
        return this.#numLeft;
      case 'length':
        return this.#index + 1n + this.#numLeft;
      case 'first':
        return this.#index === 0n;
      case 'last':
        return !this.#look(1);
      case 'depth':
        return BigInt(this.#depth + 1);
      case 'depth0':
        return BigInt(this.#depth);
      case 'previtem':
        return this.#previous;
      case 'nextitem':
        return this.#look(1) ? this.#ahead[0]! : new Undefined('there is no next item');
      case 'cycle':
        return new Callable(name, (args) => {
          bind('cycle', [], { positional: [], named: args.named });
          if (args.positional.length === 0) throw new TemplateError('no items for cycling given');
          return args.positional[Number(this.#index % BigInt(args.positional.length))]!;
        });
      case 'changed':
        return new Callable(name, ({ positional }) => this.#hasChanged(positional));
    }
    return undefined;
  }

  #hasChanged(values: readonly Value[]): boolean {
    const last = this.#lastChanged;
    const isSame = last !== null && areEqual(last, values);
    if (!isSame) this.#lastChanged = values;
    return !isSame;
  }
}
