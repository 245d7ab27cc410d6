// The values that a template works with, as Python has them: an int is a bigint and a float a number, so that 3 and 3.0
// stay two things; a list is an array; what JavaScript has no word for is a class here. Nothing of JavaScript's own
// objects is reachable from them.

/** What a template does wrong, and what it raises itself. Its message may be shown to whoever sent the messages. */
export class TemplateError extends Error {}

export type Value = null | boolean | bigint | number | string | readonly Value[] | PythonObject;

abstract class PythonObject {
  /** As Python's type() names it, for messages. */
  abstract readonly typeName: string;
}

/** A name or an item that is not there: false, empty and '' where it is looked at, an error where it is used. */
export class Undefined extends PythonObject {
  readonly typeName = 'Undefined';

  constructor(readonly problem: string) {
    super();
  }
}

export class Tuple extends PythonObject {
  readonly typeName = 'tuple';

  /** `names`: of the items, for those that have names. */
  constructor(
    readonly items: readonly Value[],
    readonly names: readonly string[] = [],
  ) {
    super();
  }
}

/** Text that is marked as escaped: `|safe`, `|escape`. It behaves as text everywhere else. */
export class Markup extends PythonObject {
  readonly typeName = 'Markup';

  constructor(readonly text: string) {
    super();
  }
}

export class Range extends PythonObject {
  readonly typeName = 'range';

  constructor(
    readonly start: number,
    readonly stop: number,
    readonly step: number,
  ) {
    super();
  }

  get items(): bigint[] {
    const length = Math.max(0, Math.ceil((this.stop - this.start) / this.step));
    return Array.from({ length }, (_, index) => BigInt(this.start + index * this.step));
  }
}

/** What map, select and their like give: it can be walked once, and has no length. */
export class Generator extends PythonObject {
  readonly typeName = 'generator';
  #items: readonly Value[];

  constructor(items: readonly Value[]) {
    super();
    this.#items = items;
  }

  take(): readonly Value[] {
    const items = this.#items;
    this.#items = [];
    return items;
  }
}

/** A dictionary in order of insertion. Keys are equal as in Python: 1, 1.0 and True are one key. */
export class Dict extends PythonObject {
  readonly typeName = 'dict';
  readonly #entriesByKey = new Map<string, readonly [Value, Value]>();

  constructor(entries: Iterable<readonly [Value, Value]> = []) {
    super();
    for (const [key, value] of entries) this.set(key, value);
  }

  get size(): number {
    return this.#entriesByKey.size;
  }

  set(key: Value, value: Value): void {
    const hash = hashOf(key);
    this.#entriesByKey.set(hash, [this.#entriesByKey.get(hash)?.[0] ?? key, value]);
  }

  get(key: Value): Value | undefined {
    return this.#entriesByKey.get(hashOf(key))?.[1];
  }

  has(key: Value): boolean {
    return this.#entriesByKey.has(hashOf(key));
  }

  entries(): (readonly [Value, Value])[] {
    return [...this.#entriesByKey.values()];
  }

  keys(): Value[] {
    return this.entries().map(([key]) => key);
  }

  values(): Value[] {
    return this.entries().map(([, value]) => value);
  }
}

export class DictView extends PythonObject {
  readonly typeName: string;

  constructor(
    readonly kind: 'keys' | 'values' | 'items',
    readonly dict: Dict,
  ) {
    super();
    this.typeName = `dict_${kind}`;
  }

  get items(): Value[] {
    if (this.kind === 'items') return this.dict.entries().map((entry) => new Tuple(entry));
    return this.kind === 'keys' ? this.dict.keys() : this.dict.values();
  }
}

/** The only thing whose attributes a template can set. */
export class Namespace extends PythonObject {
  readonly typeName = 'Namespace';
  readonly attributes = new Map<string, Value>();

  set(name: string, value: Value): void {
    if (name.startsWith('_')) throw new TemplateError(`a namespace cannot hold ${name}`);
    this.attributes.set(name, value);
  }
}

export interface Arguments {
  readonly positional: readonly Value[];
  readonly named: ReadonlyMap<string, Value>;
}

export class Callable extends PythonObject {
  constructor(
    readonly name: string,
    readonly call: (args: Arguments) => Value,
    /** Attributes that templates may read, such as a loop's index. */
    readonly attribute: (name: string) => Value | undefined = () => undefined,
    readonly typeName = 'builtin_function_or_method',
  ) {
    super();
  }
}

function hashOf(key: Value): string {
  if (key === null) return 'N';
  if (typeof key === 'string') return `s${key}`;
  if (key instanceof Markup) return `s${key.text}`;
  if (typeof key === 'boolean') return key ? 'n1' : 'n0';
  if (typeof key === 'bigint') return `n${key}`;
  if (typeof key === 'number') return Number.isInteger(key) ? `n${BigInt(key)}` : `f${key}`;
  if (key instanceof Tuple) {
    return `t${key.items
      .map(hashOf)
      .map((hash) => `${hash.length}:${hash}`)
      .join('')}`;
  }
  throw new TemplateError(`unhashable type: '${typeName(key)}'`);
}

export function typeName(value: Value): string {
  if (value === null) return 'NoneType';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'bigint') return 'int';
  if (typeof value === 'number') return 'float';
  if (typeof value === 'string') return 'str';
  return value instanceof PythonObject ? value.typeName : 'list';
}

export function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value);
}

/** Text, marked as escaped or not. */
export function isText(value: Value): value is string | Markup {
  return typeof value === 'string' || value instanceof Markup;
}

export function isNumber(value: Value): value is bigint | number | boolean {
  return typeof value === 'bigint' || typeof value === 'number' || typeof value === 'boolean';
}

/** Whole numbers become ints, other numbers floats; objects become dictionaries. For data of JSON's kinds. */
export function fromJson(value: unknown): Value {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
  if (typeof value === 'number') return Number.isInteger(value) ? BigInt(value) : value;
  if (Array.isArray(value)) return value.map(fromJson);
  if (typeof value === 'object') {
    return new Dict(Object.entries(value).map(([key, item]) => [key, fromJson(item)] as const));
  }
  throw new TemplateError(`no value for a template: ${typeof value}`);
}

/** For look-ups: None is a value, so that ?? will not do. */
export function orElse(value: Value | undefined, fallback: () => Value): Value {
  return value === undefined ? fallback() : value;
}

export function refuseUndefined(value: Value): void {
  if (value instanceof Undefined) throw new TemplateError(value.problem);
}

export function isTrue(value: Value): boolean {
  if (value === null || value instanceof Undefined) return false;
  if (typeof value === 'boolean') return value;
  if (typeof value === 'bigint') return value !== 0n;
  if (typeof value === 'number') return value !== 0;
  if (typeof value === 'string') return value !== '';
  if (value instanceof Markup) return value.text !== '';
  if (isList(value)) return value.length > 0;
  if (value instanceof Dict) return value.size > 0;
  if (value instanceof Tuple || value instanceof Range || value instanceof DictView)
    return value.items.length > 0;
  return true;
}

/** The items of anything that can be walked. */
export function itemsOf(value: Value): readonly Value[] {
  if (isList(value)) return value;
  if (typeof value === 'string') return [...value];
  if (value instanceof Markup) return [...value.text];
  if (value instanceof Dict) return value.keys();
  if (value instanceof Tuple || value instanceof Range || value instanceof DictView) return value.items;
  if (value instanceof Generator) return value.take();
  if (value instanceof Undefined) return [];
  refuseUndefined(value);
  throw new TemplateError(`'${typeName(value)}' object is not iterable`);
}

export function isIterable(value: Value): boolean {
  return (
    isList(value) ||
    isText(value) ||
    [Dict, Tuple, Range, DictView, Generator, Undefined].some((kind) => value instanceof kind)
  );
}

/** In code points. */
export function lengthOf(value: Value): number {
  if (typeof value === 'string') return codePointLength(value);
  if (value instanceof Markup) return codePointLength(value.text);
  if (value instanceof Generator || !isIterable(value)) {
    refuseUndefined(value);
    throw new TemplateError(`object of type '${typeName(value)}' has no len()`);
  }
  return value instanceof Dict ? value.size : itemsOf(value).length;
}

const SURROGATE = /[\ud800-\udfff]/;

function codePointLength(text: string): number {
  return SURROGATE.test(text) ? [...text].length : text.length;
}

/** For positions in code points: the text as an array where it has characters of two units, else itself. */
export function codePoints(text: string): string | readonly string[] {
  return SURROGATE.test(text) ? [...text] : text;
}
