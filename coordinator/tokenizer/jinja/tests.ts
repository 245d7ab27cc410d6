// Jinja's tests: `value is name(arguments)`.
import { bind, type Parameter } from './arguments.js';
import { arithmetic, areEqual, compare, isMember } from './operators.js';
import type { Runtime } from './runtime.js';
import { textOf } from './text-of.js';
import {
  Callable,
  Dict,
  isIterable,
  isList,
  isText,
  Markup,
  Range,
  Tuple,
  Undefined,
  type Arguments,
  type Value,
} from './values.js';

export type Test = (value: Value, args: Arguments, runtime: Runtime) => boolean;

function test(
  run: (value: Value, args: Value[], runtime: Runtime) => boolean,
  ...parameters: Parameter[]
): Test {
  return (value, args, runtime) => run(value, bind('the test', parameters, args), runtime);
}

const isEqual = test((value, [other]) => areEqual(value, other!), 'other');
const isUnequal = test((value, [other]) => !areEqual(value, other!), 'other');
const isGreater = test((value, [other]) => compare(value, other!, '>') > 0, 'other');
const isAtLeast = test((value, [other]) => compare(value, other!, '>=') >= 0, 'other');
const isLess = test((value, [other]) => compare(value, other!) < 0, 'other');
const isAtMost = test((value, [other]) => compare(value, other!, '<=') <= 0, 'other');

function rest(value: Value, divisor: Value, runtime: Runtime): Value {
  return arithmetic('%', value, divisor, runtime.budget);
}

export const TESTS: ReadonlyMap<string, Test> = new Map<string, Test>([
  ['defined', test((value) => !(value instanceof Undefined))],
  ['undefined', test((value) => value instanceof Undefined)],
  ['none', test((value) => value === null)],
  ['true', test((value) => value === true)],
  ['false', test((value) => value === false)],
  ['boolean', test((value) => typeof value === 'boolean')],
  ['integer', test((value) => typeof value === 'bigint')],
  ['float', test((value) => typeof value === 'number')],
  ['number', test((value) => ['bigint', 'number', 'boolean'].includes(typeof value))],
  ['string', test((value) => isText(value))],
  ['mapping', test((value) => value instanceof Dict)],
  ['iterable', test((value) => isIterable(value))],
  [
    'sequence',
    test(
      (value) =>
        isText(value) ||
        isList(value) ||
        [Dict, Tuple, Range, Undefined].some((kind) => value instanceof kind),
    ),
  ],
  ['callable', test((value) => value instanceof Callable || value instanceof Undefined)],
  ['escaped', test((value) => value instanceof Markup)],
  ['sameas', test((value, [other]) => value === other, 'other')],
  ['in', test((value, [container]) => isMember(value, container!), 'seq')],
  ['odd', test((value, _, runtime) => areEqual(rest(value, 2n, runtime), 1n))],
  ['even', test((value, _, runtime) => areEqual(rest(value, 2n, runtime), 0n))],
  ['divisibleby', test((value, [divisor], runtime) => areEqual(rest(value, divisor!, runtime), 0n), 'num')],
  ['lower', test((value) => isCase(textOf(value), (text) => text.toLowerCase()))],
  ['upper', test((value) => isCase(textOf(value), (text) => text.toUpperCase()))],
  ['filter', test((value, _, runtime) => isText(value) && runtime.hasFilter(textOf(value)))],
  ['test', test((value) => isText(value) && TESTS.has(textOf(value)))],
  ...(['eq', 'equalto', '=='] as const).map((name) => [name, isEqual] as const),
  ...(['ne', '!='] as const).map((name) => [name, isUnequal] as const),
  ...(['gt', 'greaterthan', '>'] as const).map((name) => [name, isGreater] as const),
  ...(['ge', '>='] as const).map((name) => [name, isAtLeast] as const),
  ...(['lt', 'lessthan', '<'] as const).map((name) => [name, isLess] as const),
  ...(['le', '<='] as const).map((name) => [name, isAtMost] as const),
]);

/** Has letters, and all of them in this case. */
function isCase(text: string, change: (text: string) => string): boolean {
  return change(text) === text && /[\p{Lu}\p{Ll}\p{Lt}]/u.test(text);
}
