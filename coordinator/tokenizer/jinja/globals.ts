// The names that every template knows: Jinja's, and those that transformers adds.
import { MAX_TEMPLATE_RANGE_LENGTH } from '../../../common/limits.js';
import { bind } from './arguments.js';
import { integerArgument } from './string-methods.js';
import { formatTime } from './format-time.js';
import { textOf } from './text-of.js';
import {
  Callable,
  Dict,
  itemsOf,
  Namespace,
  Range,
  TemplateError,
  type Arguments,
  type Value,
} from './values.js';

function range(args: Arguments): Value {
  const [a, b, c] = bind('range', ['start', ['stop', null], ['step', 1n]], args);
  const first = integerArgument(a!, 'range');
  const [start, stop] = b === null ? [0, first] : [first, integerArgument(b!, 'range')];
  const step = integerArgument(c!, 'range');
  if (step === 0) throw new TemplateError('range() arg 3 must not be zero');
  if (Math.ceil((stop - start) / step) > MAX_TEMPLATE_RANGE_LENGTH)
    throw new TemplateError(`range() of more than ${MAX_TEMPLATE_RANGE_LENGTH} numbers`);
  return new Range(start, stop, step);
}

function makeDict({ positional, named }: Arguments): Dict {
  const [source] = positional;
  const entries =
    source === undefined
      ? []
      : source instanceof Dict
        ? source.entries()
        : itemsOf(source).map((pair) => {
            const [key, value, ...rest] = itemsOf(pair);
            if (key === undefined || value === undefined || rest.length > 0)
              throw new TemplateError('dict() needs pairs');
            return [key, value] as const;
          });
  return new Dict([...entries, ...named]);
}

function makeNamespace(args: Arguments): Namespace {
  const namespace = new Namespace();
  for (const [name, value] of makeDict(args).entries()) namespace.set(textOf(name), value);
  return namespace;
}

function joiner(args: Arguments): Value {
  const [separator] = bind('joiner', [['sep', ', ']], args);
  let isFirst = true;
  return new Callable('joiner', () => {
    if (!isFirst) return separator!;
    isFirst = false;
    return '';
  });
}

function cycler({ positional }: Arguments): Value {
  if (positional.length === 0) throw new TemplateError('at least one item has to be provided');
  let at = 0;
  const next = (): Value => {
    const item = positional[at]!;
    at = (at + 1) % positional.length;
    return item;
  };
  const reset = (): Value => {
    at = 0;
    return null;
  };
  return new Callable(
    'cycler',
    () => {
      throw new TemplateError("'Cycler' object is not callable");
    },
    (name) => {
      if (name === 'current') return positional[at]!;
      if (name === 'next') return new Callable(name, next);
      return name === 'reset' ? new Callable(name, reset) : undefined;
    },
    'Cycler',
  );
}

function raiseException(args: Arguments): never {
  throw new TemplateError(textOf(bind('raise_exception', ['message'], args)[0]!));
}

/** `now` is a rendering's: all of it has one time. */
export function makeGlobals(now: Date): [string, Value][] {
  return [
    ['range', new Callable('range', range)],
    [
      'dict',
      new Callable('dict', makeDict, (name) =>
        name === 'fromkeys' ? new Callable(name, fromKeys) : undefined,
      ),
    ],
    ['namespace', new Callable('namespace', makeNamespace)],
    ['joiner', new Callable('joiner', joiner)],
    ['cycler', new Callable('cycler', cycler)],
    ['raise_exception', new Callable('raise_exception', raiseException)],
    [
      'strftime_now',
      new Callable('strftime_now', (args) =>
        formatTime(now, textOf(bind('strftime_now', ['format'], args)[0]!)),
      ),
    ],
  ];
}

function fromKeys(args: Arguments): Value {
  const [keys, value] = bind('fromkeys', ['iterable', ['value', null]], args);
  return new Dict(itemsOf(keys!).map((key) => [key, value!] as const));
}
