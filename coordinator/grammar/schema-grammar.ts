// A JSON schema (2020-12, and what of draft 7 is common) as a grammar: every text that fits the grammar fits the
// schema. What cannot be held to is refused by name, never ignored; docs/structured-output.md has the list.
import { AppError } from '../../common/errors.js';
import { isDeeperThan } from '../../common/json-depth.js';
import {
  MAX_GRAMMAR_PARTS,
  MAX_LENGTH_RANGE_IN_GRAMMAR,
  MAX_SCHEMA_CHARS,
  MAX_SCHEMA_DEPTH,
} from '../../common/limits.js';
import { GrammarRules, literal, type Expression } from './ebnf.js';
import { JsonRules } from './json-rules.js';
import { decodePointer, isOfType, wholeFrom, wholeTo } from './schema-values.js';
import { isRecord, refuseUnsupported, typeOf, type SchemaObject } from './schema-keywords.js';
import { decimalsBetween, integersBetween, type Bound } from './number-range.js';
import { patternToExpression } from './string-pattern.js';

export interface SchemaOptions {
  /** Where the schema stands in the request. */
  readonly param: string;
  /** As OpenAI has it: objects name all they have, and all of it is required. */
  readonly isStrict: boolean;
  /** Schemas of strings whose maxLength is counted beside the grammar; default: none. */
  readonly counted?: ReadonlySet<unknown>;
}

/** In xgrammar's EBNF, with the rule `root`. Throws INVALID_REQUEST that names the schema, and the place in it. */
export function schemaToGrammar(
  schema: unknown,
  { param, isStrict, counted = new Set() }: SchemaOptions,
): string {
  checkSchemaSize(schema, param);
  return new SchemaReader(schema, param, isStrict, counted).read();
}

/** Throws INVALID_REQUEST where it is more than anybody reads. */
export function checkSchemaSize(schema: unknown, param: string): void {
  if (isDeeperThan(schema, 2 * MAX_SCHEMA_DEPTH))
    throw refusal(param, '', `is nested deeper than ${2 * MAX_SCHEMA_DEPTH}, which is the limit`);
  const numChars = JSON.stringify(schema)?.length ?? 0;
  if (numChars > MAX_SCHEMA_CHARS)
    throw refusal(param, '', `has ${numChars} characters; the limit is ${MAX_SCHEMA_CHARS}`);
}

function refusal(param: string, path: string, problem: string): AppError {
  return new AppError('INVALID_REQUEST', `${param}${path} ${problem}`, { details: { param } });
}

/** Where one stands in the schema, and how deep. */
interface Place {
  readonly path: string;
  readonly depth: number;
}

class SchemaReader {
  readonly #root: unknown;
  readonly #param: string;
  readonly #isStrict: boolean;
  readonly #counted: ReadonlySet<unknown>;
  readonly #rules = new GrammarRules();
  readonly #json = new JsonRules(this.#rules);
  /** By pointer. */
  readonly #references = new Map<string, { readonly rule: string }>();

  constructor(root: unknown, param: string, isStrict: boolean, counted: ReadonlySet<unknown>) {
    this.#root = root;
    this.#param = param;
    this.#isStrict = isStrict;
    this.#counted = counted;
  }

  read(): string {
    const root = this.#reference('#', { path: '', depth: 0 });
    if (this.#rules.leftRecursive() !== null) throw this.#refuse('', 'refers to itself without end');
    if (this.#rules.endless().length > 0) throw this.#refuse('', 'fits no JSON of finite length');
    const numParts = this.#rules.numParts();
    if (numParts > MAX_GRAMMAR_PARTS)
      throw this.#refuse('', `comes to ${numParts} parts of a grammar; the limit is ${MAX_GRAMMAR_PARTS}`);
    return this.#rules.print(root);
  }

  #refuse(path: string, problem: string): AppError {
    return refusal(this.#param, path, problem);
  }

  #reference(pointer: string, place: Place): Expression {
    const known = this.#references.get(pointer);
    if (known !== undefined) return known;
    const target = this.#resolve(pointer, place);
    const reference = { rule: this.#rules.newName() };
    this.#references.set(pointer, reference);
    this.#rules.set(reference.rule, this.#visit(target, place));
    return reference;
  }

  #resolve(pointer: string, { path }: Place): unknown {
    if (pointer !== '#' && !pointer.startsWith('#/'))
      throw this.#refuse(`${path}.$ref`, 'refers to something outside the schema');
    let target = this.#root;
    for (const part of pointer.split('/').slice(1)) {
      const key = decodePointer(part);
      const isThere =
        (isRecord(target) && Object.hasOwn(target, key)) || (Array.isArray(target) && /^\d+$/.test(key));
      target = isThere ? (target as Record<string, unknown>)[key] : undefined;
      if (target === undefined)
        throw this.#refuse(`${path}.$ref`, `refers to "${pointer.slice(0, 100)}", which is not there`);
    }
    return target;
  }

  #visit(schema: unknown, place: Place): Expression {
    const { path, depth } = place;
    if (depth > MAX_SCHEMA_DEPTH)
      throw this.#refuse(path, `is nested deeper than ${MAX_SCHEMA_DEPTH}, which is the limit`);
    if (schema === true) return this.#json.value;
    if (schema === false) throw this.#refuse(path, 'is false, which no JSON fits');
    if (!isRecord(schema)) throw this.#refuse(path, 'is no schema: expected an object or true');
    refuseUnsupported(schema, (keyword, problem) => this.#refuse(`${path}.${keyword}`, problem));
    if (schema['$ref'] !== undefined) return this.#visitReference(schema, place);
    if (schema['const'] !== undefined || schema['enum'] !== undefined)
      return this.#visitValues(schema, place);
    if (schema['anyOf'] !== undefined || schema['oneOf'] !== undefined)
      return this.#visitAnyOf(schema, place);
    if (schema['allOf'] !== undefined) return this.#visitAllOf(schema, place);
    const type = typeOf(schema, (problem) => this.#refuse(`${path}.type`, problem));
    if (type === null) return this.#json.value;
    const parts = type.map((each) => this.#visitType(schema, each, place));
    return parts.length === 1 ? parts[0]! : { anyOf: parts };
  }

  #visitReference(schema: SchemaObject, place: Place): Expression {
    const { $ref: pointer } = schema;
    if (typeof pointer !== 'string') throw this.#refuse(`${place.path}.$ref`, 'is no string');
    return this.#reference(pointer, { ...place, depth: place.depth + 1 });
  }

  #visitValues(schema: SchemaObject, { path }: Place): Expression {
    const keyword = schema['const'] !== undefined ? 'const' : 'enum';
    const values = keyword === 'const' ? [schema['const']] : schema['enum'];
    if (!Array.isArray(values)) throw this.#refuse(`${path}.enum`, 'is no list');
    const types = typeOf(schema, (problem) => this.#refuse(`${path}.type`, problem));
    const fitting = values.filter((value) => types === null || types.some((type) => isOfType(value, type)));
    if (fitting.length === 0) throw this.#refuse(`${path}.${keyword}`, 'has no value of the type');
    return { anyOf: fitting.map((value) => literal(JSON.stringify(value))) };
  }

  #visitAnyOf(schema: SchemaObject, { path, depth }: Place): Expression {
    const keyword = schema['anyOf'] !== undefined ? 'anyOf' : 'oneOf';
    const branches = schema[keyword];
    if (!Array.isArray(branches) || branches.length === 0)
      throw this.#refuse(`${path}.${keyword}`, 'is no list of schemas');
    const { type } = schema;
    return {
      anyOf: branches.map((branch: unknown, index) => {
        const own = `${path}.${keyword}[${index}]`;
        if (type === undefined) return this.#visit(branch, { path: own, depth: depth + 1 });
        if (!isRecord(branch) || (branch['type'] !== undefined && branch['type'] !== type))
          throw this.#refuse(`${path}.type`, `beside ${keyword} must be the type of each of them`);
        return this.#visit({ ...branch, type }, { path: own, depth: depth + 1 });
      }),
    };
  }

  #visitAllOf(schema: SchemaObject, { path, depth }: Place): Expression {
    const all = schema['allOf'];
    if (!Array.isArray(all) || all.length !== 1)
      throw this.#refuse(`${path}.allOf`, 'is supported with one schema only');
    return this.#visit(all[0], { path: `${path}.allOf[0]`, depth: depth + 1 });
  }

  #visitType(schema: SchemaObject, type: string, place: Place): Expression {
    switch (type) {
      case 'null':
        return '"null"';
      case 'boolean':
        return '("true" | "false")';
      case 'integer':
      case 'number':
        return this.#visitNumber(schema, type, place);
      case 'string':
        return this.#visitString(schema, place);
      case 'array':
        return this.#visitArray(schema, place);
      default:
        return this.#visitObject(schema, place);
    }
  }

  #visitNumber(schema: SchemaObject, type: 'integer' | 'number', place: Place): Expression {
    const min = this.#bound(schema, 'minimum', 'exclusiveMinimum', (one, other) => one > other, place);
    const max = this.#bound(schema, 'maximum', 'exclusiveMaximum', (one, other) => one < other, place);
    if (min === null && max === null) return type === 'integer' ? this.#json.integer : this.#json.number;
    const numbers =
      type === 'integer'
        ? integersBetween(min === null ? null : wholeFrom(min), max === null ? null : wholeTo(max))
        : decimalsBetween(min, max);
    if (numbers === null) throw this.#refuse(place.path, 'has bounds that no number lies between');
    return numbers;
  }

  /** The tighter of both. */
  #bound(
    schema: SchemaObject,
    inclusive: string,
    exclusive: string,
    isTighter: (one: number, other: number) => boolean,
    { path }: Place,
  ): Bound | null {
    let bound: Bound | null = null;
    for (const keyword of [inclusive, exclusive]) {
      const value = schema[keyword];
      if (value === undefined) continue;
      if (typeof value !== 'number' || Math.abs(value) > Number.MAX_SAFE_INTEGER)
        throw this.#refuse(`${path}.${keyword}`, `must be a number within ${Number.MAX_SAFE_INTEGER} of 0`);
      const isExclusive = keyword === exclusive;
      if (bound === null || isTighter(value, bound.value) || (value === bound.value && isExclusive))
        bound = { value, isExclusive };
    }
    return bound;
  }

  #visitString(schema: SchemaObject, { path }: Place): Expression {
    const { pattern, minLength, maxLength } = schema;
    const hasLength = minLength !== undefined || maxLength !== undefined;
    if (pattern === undefined && !hasLength) return this.#json.string;
    if (pattern === undefined) {
      const [min, max] = this.#counts(schema, 'minLength', 'maxLength', path);
      if (this.#counted.has(schema)) return this.#json.countedString(min);
      const range = (max ?? min) - min;
      if (range > MAX_LENGTH_RANGE_IN_GRAMMAR)
        throw this.#refuse(
          `${path}.maxLength`,
          `is ${range} above minLength, where other schemas apply too; the limit there is ${MAX_LENGTH_RANGE_IN_GRAMMAR}`,
        );
      return this.#json.boundedString(min, max);
    }
    if (hasLength) throw this.#refuse(`${path}.pattern`, 'is not supported beside minLength and maxLength');
    if (typeof pattern !== 'string') throw this.#refuse(`${path}.pattern`, 'is no string');
    try {
      return { inOrder: ['"\\""', patternToExpression(pattern), '"\\""'] };
    } catch (error) {
      throw this.#refuse(`${path}.pattern`, (error as Error).message);
    }
  }

  #counts(
    schema: SchemaObject,
    minKeyword: string,
    maxKeyword: string,
    path: string,
  ): [number, number | null] {
    const [min = 0, max = null] = [minKeyword, maxKeyword].map((keyword) => {
      const value = schema[keyword];
      if (value === undefined) return undefined;
      if (!Number.isSafeInteger(value) || (value as number) < 0)
        throw this.#refuse(`${path}.${keyword}`, 'must be a whole number, 0 or more');
      return value as number;
    });
    if (max !== null && min > max) throw this.#refuse(`${path}.${minKeyword}`, `is above ${maxKeyword}`);
    return [min, max];
  }

  #visitArray(schema: SchemaObject, { path, depth }: Place): Expression {
    const below = (keyword: string): Place => ({ path: `${path}.${keyword}`, depth: depth + 1 });
    const isTuple = Array.isArray(schema['items']);
    const prefix = isTuple ? schema['items'] : (schema['prefixItems'] ?? []);
    if (!Array.isArray(prefix)) throw this.#refuse(`${path}.prefixItems`, 'is no list of schemas');
    const more = isTuple ? schema['additionalItems'] : schema['items'];
    const [min, max] = this.#counts(schema, 'minItems', 'maxItems', path);
    if (max !== null && max < prefix.length)
      throw this.#refuse(`${path}.maxItems`, 'is below the number of prefixItems');
    const first = prefix.map((each: unknown, index) => this.#visit(each, below(`prefixItems[${index}]`)));
    // What follows a tuple is left out, unless it is asked for.
    const isClosed = more === false || (more === undefined && first.length > 0 && min <= first.length);
    if (isClosed && min > first.length)
      throw this.#refuse(`${path}.minItems`, 'is above the number of items that may be');
    const item = isClosed ? null : this.#visit(more ?? true, below('items'));
    return this.#json.list(
      '"["',
      first,
      item,
      Math.max(min - first.length, 0),
      max === null ? null : max - first.length,
      '"]"',
    );
  }

  #visitObject(schema: SchemaObject, { path, depth }: Place): Expression {
    const below = (keyword: string): Place => ({ path: `${path}${keyword}`, depth: depth + 1 });
    const { properties = {}, required = [], additionalProperties: additional = true } = schema;
    if (!isRecord(properties)) throw this.#refuse(`${path}.properties`, 'is no object');
    if (!Array.isArray(required) || !required.every((name) => typeof name === 'string'))
      throw this.#refuse(`${path}.required`, 'is no list of names');
    if (this.#isStrict && additional !== false)
      throw this.#refuse(`${path}.additionalProperties`, 'must be false where strict is true');
    const names = new Set([...Object.keys(properties), ...required]);
    const values = new Map<string, unknown>(Object.entries(properties));
    if (names.size === 0 && additional === false) return this.#json.object([]);
    if (names.size === 0) return this.#json.map(this.#visit(additional, below('.additionalProperties')), 0);
    const members = [...names].flatMap((name) => {
      const isRequired = required.includes(name);
      if (this.#isStrict && !isRequired)
        throw this.#refuse(`${path}.required`, `must have "${name.slice(0, 50)}" where strict is true`);
      const value = values.has(name) ? values.get(name) : additional;
      // It must not be there.
      if (value === false && !isRequired) return [];
      return [{ name, value: this.#visit(value, below(`.properties.${name.slice(0, 50)}`)), isRequired }];
    });
    return this.#json.object(members);
  }
}
