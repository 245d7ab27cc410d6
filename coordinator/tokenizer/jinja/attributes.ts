// `value.name` and `value[key]`: attributes first or items first, as Jinja's sandbox does it, and the methods that
// Python's values have. The sandbox hides what changes a value in place and every name that begins with an underscore.
import { bind, type Parameter } from './arguments.js';
import { formatBraces } from './brace-format.js';
import type { Budget } from './budget.js';
import { areEqual, escapedText, itemAt } from './operators.js';
import { integerArgument, STRING_METHODS } from './string-methods.js';
import { repr, textOf } from './text-of.js';
import {
  Callable,
  Dict,
  DictView,
  isList,
  isText,
  Markup,
  Namespace,
  orElse,
  Range,
  refuseUndefined,
  TemplateError,
  Tuple,
  typeName,
  Undefined,
  type Arguments,
  type Value,
} from './values.js';

const MUTATING: Readonly<Record<string, readonly string[]>> = {
  list: ['append', 'clear', 'pop', 'reverse', 'insert', 'sort', 'extend', 'remove'],
  dict: ['clear', 'pop', 'popitem', 'setdefault', 'update'],
};

export class Attributes {
  readonly #budget: Budget;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  /** `object.name`: an attribute, else an item. */
  attribute(object: Value, name: string): Value {
    refuseUndefined(object);
    return orElse(this.own(object, name), () => orElse(itemAt(object, name), () => missing(object, name)));
  }

  /** `object[key]`: an item, else an attribute. */
  item(object: Value, key: Value): Value {
    refuseUndefined(object);
    const item = itemAt(object, key);
    if (item !== undefined) return item;
    const attribute = isText(key) ? this.own(object, textOf(key)) : undefined;
    return orElse(attribute, () => missing(object, key));
  }

  /** What Python's getattr finds. */
  own(object: Value, name: string): Value | undefined {
    const isHidden = /^__\w+__$/.test(name) || (MUTATING[typeName(object)] ?? []).includes(name);
    if (isHidden)
      return new Undefined(`access to attribute '${name}' of '${typeName(object)}' object is unsafe.`);
    if (isText(object)) return this.#textMethod(object, name);
    if (isList(object)) return listMethod(object, name);
    if (object instanceof Tuple)
      return object.names.includes(name)
        ? object.items[object.names.indexOf(name)]
        : tupleMethod(object.items, name);
    if (object instanceof Range) return rangeAttribute(object, name);
    if (object instanceof Dict) return dictMethod(object, name);
    if (object instanceof DictView) return name === 'mapping' ? object.dict : undefined;
    if (object instanceof Namespace) return object.attributes.get(name);
    if (object instanceof Callable) return object.attribute(name);
    return numberAttribute(object, name);
  }

  #textMethod(object: string | Markup, name: string): Value | undefined {
    const text = textOf(object);
    const isMarkup = object instanceof Markup;
    if (name === 'format') {
      return new Callable(name, (args) => {
        const filled = formatBraces(text, isMarkup ? escapeArguments(args) : args, this, this.#budget);
        return isMarkup ? new Markup(filled) : filled;
      });
    }
    const method = STRING_METHODS.get(name);
    if (method === undefined) return undefined;
    return new Callable(name, (args) => {
      const result = method(text, args, this.#budget);
      return isMarkup && typeof result === 'string' ? new Markup(result) : result;
    });
  }
}

function missing(object: Value, key: Value): Undefined {
  return new Undefined(`'${typeName(object)} object' has no attribute ${repr(key)}`);
}

function escapeArguments(args: Arguments): Arguments {
  return {
    positional: args.positional.map((value) => (isText(value) ? escapedText(value) : value)),
    named: new Map(
      [...args.named].map(([name, value]) => [name, isText(value) ? escapedText(value) : value]),
    ),
  };
}

function method(name: string, parameters: readonly Parameter[], run: (args: Value[]) => Value): Callable {
  return new Callable(name, (args) => run(bind(name, parameters, args)));
}

function listMethod(items: readonly Value[], name: string): Value | undefined {
  switch (name) {
    case 'index':
      return method(name, ['value', ['start', 0n], ['stop', null]], ([value, start, stop]) => {
        const first = Math.max(0, integerArgument(start!, 'start'));
        const end = stop === null ? items.length : integerArgument(stop!, 'stop');
        const at = items.findIndex((item, index) => index >= first && index < end && areEqual(item, value!));
        if (at < 0) throw new TemplateError(`${repr(value!)} is not in list`);
        return BigInt(at);
      });
    case 'count':
      return method(name, ['value'], ([value]) =>
        BigInt(items.filter((item) => areEqual(item, value!)).length),
      );
    case 'copy':
      return method(name, [], () => [...items]);
  }
  return undefined;
}

function tupleMethod(items: readonly Value[], name: string): Value | undefined {
  return name === 'copy' ? undefined : listMethod(items, name);
}

function rangeAttribute(range: Range, name: string): Value | undefined {
  if (name === 'start' || name === 'stop' || name === 'step') return BigInt(range[name]);
  return tupleMethod(range.items, name);
}

function dictMethod(dict: Dict, name: string): Value | undefined {
  switch (name) {
    case 'get':
      return method(name, ['key', ['default', null]], ([key, fallback]) =>
        orElse(dict.get(key!), () => fallback!),
      );
    case 'keys':
    case 'values':
    case 'items':
      return method(name, [], () => new DictView(name, dict));
    case 'copy':
      return method(name, [], () => new Dict(dict.entries()));
    case 'fromkeys':
      return method(name, ['iterable', ['value', null]], ([keys, value]) => {
        if (!isList(keys!)) throw new TemplateError('fromkeys needs a list');
        return new Dict(keys.map((key) => [key, value!] as const));
      });
  }
  return undefined;
}

function numberAttribute(value: Value, name: string): Value | undefined {
  if (typeof value === 'number') {
    if (name === 'is_integer') return method(name, [], () => Number.isInteger(value));
    return name === 'real' ? value : name === 'imag' ? 0 : undefined;
  }
  if (typeof value !== 'bigint' && typeof value !== 'boolean') return undefined;
  const integer = BigInt(value);
  switch (name) {
    case 'real':
    case 'numerator':
      return integer;
    case 'imag':
      return 0n;
    case 'denominator':
      return 1n;
    case 'is_integer':
      return method(name, [], () => true);
    case 'bit_length':
      return method(name, [], () => {
        const size = integer < 0n ? -integer : integer;
        return BigInt(size === 0n ? 0 : size.toString(2).length);
      });
  }
  return undefined;
}
