// Which bound on a string's length holds where in an answer. A grammar needs a state for each character that it counts,
// so long bounds are kept out of it and counted beside it: the schema becomes an automaton over the paths of JSON, by
// the subset construction, since at one place several schemas may apply (anyOf).
import { MAX_BOUNDED_PLACES, MAX_LENGTH_IN_GRAMMAR } from '../../common/limits.js';
import type { BoundedPlace, StringBounds } from '../requests/request-spec.js';
import { decodePointer } from './schema-values.js';
import { isRecord } from './schema-keywords.js';

export interface CountedStrings {
  /** Null: nothing is counted. */
  readonly bounds: StringBounds | null;
  /** The schemas of strings whose maxLength need not be in the grammar. */
  readonly schemas: ReadonlySet<unknown>;
}

/** What `true` says. */
const ANYTHING = {};
const NONE: CountedStrings = { bounds: null, schemas: new Set() };

/** Never throws: what is no schema bounds nothing, and is refused by who makes the grammar. */
export function countedStrings(root: unknown): CountedStrings {
  const builder = new PlaceBuilder(root);
  const start = builder.place([root]);
  if (start === null || builder.isTooLarge || builder.counted.size === 0) return NONE;
  const schemas = new Set([...builder.counted].filter((schema) => !builder.held.has(schema)));
  return schemas.size === 0 ? NONE : { bounds: builder.places, schemas };
}

class PlaceBuilder {
  readonly places: BoundedPlace[] = [];
  readonly counted = new Set<unknown>();
  /** Those that another schema of the same place forbids to count. */
  readonly held = new Set<unknown>();
  isTooLarge = false;
  readonly #root: unknown;
  readonly #ids = new Map<unknown, number>();
  readonly #known = new Map<string, number>();

  constructor(root: unknown) {
    this.#root = root;
  }

  /** Of the schemas one of which applies there. */
  place(schemas: readonly unknown[]): number | null {
    const all = new Set<unknown>();
    for (const schema of schemas) this.#expand(schema, all);
    if (all.size === 0 || this.isTooLarge) return null;
    const key = [...all]
      .map((schema) => this.#idOf(schema))
      .sort((a, b) => a - b)
      .join();
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const index = this.places.length;
    if (index >= MAX_BOUNDED_PLACES) {
      this.isTooLarge = true;
      return null;
    }
    this.#known.set(key, index);
    const place = { maxLength: this.#maxLength([...all]), ...NO_PLACES };
    this.places.push(place);
    Object.assign(place, this.#below([...all].filter(isRecord)));
    return index;
  }

  #idOf(schema: unknown): number {
    const id = this.#ids.get(schema) ?? this.#ids.size;
    this.#ids.set(schema, id);
    return id;
  }

  /** Adds what it comes to without $ref, anyOf, oneOf and allOf. */
  #expand(schema: unknown, into: Set<unknown>, seen = new Set<unknown>()): void {
    if (seen.has(schema)) return;
    seen.add(schema);
    if (!isRecord(schema)) {
      if (schema !== false) into.add(ANYTHING);
      return;
    }
    const { $ref: pointer } = schema;
    const branches = schema['anyOf'] ?? schema['oneOf'] ?? schema['allOf'];
    if (typeof pointer === 'string') this.#expand(this.#at(pointer), into, seen);
    else if (Array.isArray(branches)) for (const branch of branches) this.#expand(branch, into, seen);
    else into.add(schema);
  }

  #at(pointer: string): unknown {
    let target = this.#root;
    for (const part of pointer.split('/').slice(1)) {
      const key = decodePointer(part);
      if (typeof target !== 'object' || target === null || !Object.hasOwn(target, key)) return false;
      target = (target as Record<string, unknown>)[key];
    }
    return target;
  }

  /** The longest of their bounds is counted where each of the others is kept by the grammar and is no longer. */
  #maxLength(schemas: readonly unknown[]): number | null {
    const long = schemas.filter(isCountable);
    if (long.length === 0) return null;
    const maxLength = Math.max(...long.map((schema) => schema.maxLength));
    const isSafe = schemas.every((schema) => longestString(schema) <= maxLength);
    for (const schema of long) {
      if (isSafe && schema.maxLength === maxLength) this.counted.add(schema);
      else this.held.add(schema);
    }
    return isSafe ? maxLength : null;
  }

  #below(schemas: readonly Record<string, unknown>[]): Omit<BoundedPlace, 'maxLength'> {
    const objects = schemas.filter((schema) => mayBe(schema, 'object')).map(toMembers);
    const arrays = schemas.filter((schema) => mayBe(schema, 'array')).map(toItems);
    const names = new Set(objects.flatMap(({ named }) => [...named.keys()]));
    const members = [...names].map((name) => {
      const values = objects.map(({ named, others }) => (named.has(name) ? named.get(name) : others));
      return [name, this.place(values)] as const;
    });
    const numPrefix = Math.max(0, ...arrays.map(({ prefix }) => prefix.length));
    const prefixItems = Array.from({ length: numPrefix }, (_, index) =>
      this.place(arrays.map(({ prefix, more }) => (index < prefix.length ? prefix[index] : more))),
    );
    return {
      // A name may be "__proto__".
      members: Object.assign(Object.create(null) as object, Object.fromEntries(members)),
      otherMembers: this.place(objects.map(({ others }) => others)),
      prefixItems,
      items: this.place(arrays.map(({ more }) => more)),
    };
  }
}

const NO_PLACES = { members: {}, otherMembers: null, prefixItems: [], items: null };

function isCountable(schema: unknown): schema is { readonly maxLength: number } {
  if (!isRecord(schema)) return false;
  const { pattern, minLength = 0, maxLength } = schema;
  return (
    mayBe(schema, 'string') &&
    schema['const'] === undefined &&
    schema['enum'] === undefined &&
    pattern === undefined &&
    typeof minLength === 'number' &&
    Number.isSafeInteger(maxLength) &&
    (maxLength as number) > MAX_LENGTH_IN_GRAMMAR &&
    minLength <= (maxLength as number)
  );
}

/** Characters of the longest string that it may be, at most: escapes in values may be counted as several. */
function longestString(schema: unknown): number {
  if (!isRecord(schema)) return Infinity;
  const values = schema['const'] !== undefined ? [schema['const']] : schema['enum'];
  if (Array.isArray(values))
    return Math.max(
      0,
      ...values.map((value) => (typeof value === 'string' ? JSON.stringify(value).length : 0)),
    );
  if (!mayBe(schema, 'string')) return 0;
  const { maxLength } = schema;
  return typeof maxLength === 'number' ? maxLength : Infinity;
}

/** As the grammar takes it: without a type, what its keywords are about. */
function mayBe(schema: Record<string, unknown>, type: string): boolean {
  const { type: own } = schema;
  if (own !== undefined) return Array.isArray(own) ? own.includes(type) : own === type;
  return true;
}

function toMembers(schema: Record<string, unknown>): {
  readonly named: ReadonlyMap<string, unknown>;
  readonly others: unknown;
} {
  const { properties = {}, required = [], additionalProperties: others = true } = schema;
  const named = new Map<string, unknown>(isRecord(properties) ? Object.entries(properties) : []);
  if (Array.isArray(required))
    for (const name of required) if (typeof name === 'string' && !named.has(name)) named.set(name, others);
  // Beside named ones the grammar has no others.
  return { named, others: named.size > 0 ? false : others };
}

function toItems(schema: Record<string, unknown>): {
  readonly prefix: readonly unknown[];
  readonly more: unknown;
} {
  const { items, prefixItems, additionalItems } = schema;
  if (Array.isArray(items)) return { prefix: items, more: additionalItems ?? true };
  return { prefix: Array.isArray(prefixItems) ? prefixItems : [], more: items ?? true };
}
