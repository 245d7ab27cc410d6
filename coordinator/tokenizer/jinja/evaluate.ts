// Expressions to values, in a scope.
import type { CallArguments, CompareOperator, Expression } from './ast.js';
import { Attributes } from './attributes.js';
import type { Budget } from './budget.js';
import { FILTERS } from './filters.js';
import { areEqual, arithmetic, compare, isMember, negate, plus, slice } from './operators.js';
import type { Runtime } from './runtime.js';
import type { Scope } from './scope.js';
import { TESTS } from './tests.js';
import { textOf } from './text-of.js';
import {
  Callable,
  Dict,
  isText,
  isTrue,
  itemsOf,
  orElse,
  refuseUndefined,
  TemplateError,
  Tuple,
  typeName,
  Undefined,
  type Arguments,
  type Value,
} from './values.js';

export class Evaluator implements Runtime {
  readonly #attributes: Attributes;

  constructor(readonly budget: Budget) {
    this.#attributes = new Attributes(budget);
  }

  attribute(object: Value, name: string): Value {
    return this.#attributes.attribute(object, name);
  }

  item(object: Value, key: Value): Value {
    return this.#attributes.item(object, key);
  }

  hasFilter(name: string): boolean {
    return FILTERS.has(name);
  }

  filter(name: string, value: Value, args: Arguments): Value {
    this.budget.look();
    const filter = FILTERS.get(name);
    if (filter === undefined) throw new TemplateError(`No filter named '${name}'.`);
    return filter(value, args, this);
  }

  test(name: string, value: Value, args: Arguments): boolean {
    const test = TESTS.get(name);
    if (test === undefined) throw new TemplateError(`No test named '${name}'.`);
    return test(value, args, this);
  }

  call(callee: Value, args: Arguments): Value {
    this.budget.look();
    refuseUndefined(callee);
    if (callee instanceof Callable) return this.budget.nest(() => callee.call(args));
    throw new TemplateError(`'${typeName(callee)}' object is not callable`);
  }

  evaluate(expression: Expression, scope: Scope): Value {
    this.budget.step();
    const inner = (part: Expression): Value => this.evaluate(part, scope);
    switch (expression.kind) {
      case 'constant':
        return expression.value;
      case 'name':
        return orElse(scope.get(expression.name), () => new Undefined(`'${expression.name}' is undefined`));
      case 'list':
        return expression.items.map(inner);
      case 'tuple':
        return new Tuple(expression.items.map(inner));
      case 'dict':
        return new Dict(expression.entries.map(([key, value]) => [inner(key), inner(value)] as const));
      case 'concat':
        return this.budget.checkText(expression.items.map((item) => textOf(inner(item))).join(''));
      case 'not':
        return !isTrue(inner(expression.operand));
      case 'negate':
        return negate(inner(expression.operand));
      case 'plus':
        return plus(inner(expression.operand));
      case 'and':
      case 'or': {
        const left = inner(expression.left);
        return isTrue(left) === (expression.kind === 'and') ? inner(expression.right) : left;
      }
      case 'arithmetic':
        return arithmetic(expression.operator, inner(expression.left), inner(expression.right), this.budget);
      case 'compare':
        return this.#compare(inner(expression.first), expression.rest, scope);
      case 'condition':
        return this.#condition(expression, scope);
      case 'attribute':
        return this.attribute(inner(expression.object), expression.name);
      case 'item':
        return this.item(inner(expression.object), inner(expression.key));
      case 'slice': {
        const object = inner(expression.object);
        const [start, stop, step] = expression.bounds.map((bound) => (bound === null ? null : inner(bound)));
        return slice(object, start!, stop!, step!);
      }
      case 'call':
        return this.call(inner(expression.callee), this.args(expression.args, scope));
      case 'filter':
        return this.filter(expression.name, inner(expression.operand!), this.args(expression.args, scope));
      case 'test': {
        const value = inner(expression.operand);
        return this.test(expression.name, value, this.args(expression.args, scope)) !== expression.isNegated;
      }
    }
  }

  args(args: CallArguments, scope: Scope): Arguments {
    const positional = args.positional.map((value) => this.evaluate(value, scope));
    const named = new Map(args.named.map(([name, value]) => [name, this.evaluate(value, scope)] as const));
    if (args.restPositional !== null) positional.push(...itemsOf(this.evaluate(args.restPositional, scope)));
    if (args.restNamed !== null) {
      const rest = this.evaluate(args.restNamed, scope);
      if (!(rest instanceof Dict)) throw new TemplateError('argument after ** must be a mapping');
      for (const [name, value] of rest.entries()) {
        if (!isText(name)) throw new TemplateError('keywords must be strings');
        named.set(textOf(name), value);
      }
    }
    return { positional, named };
  }

  #condition(expression: Extract<Expression, { kind: 'condition' }>, scope: Scope): Value {
    if (isTrue(this.evaluate(expression.test, scope))) return this.evaluate(expression.then, scope);
    if (expression.otherwise !== null) return this.evaluate(expression.otherwise, scope);
    return new Undefined('the inline if-expression evaluated to false and no else section was defined.');
  }

  #compare(first: Value, rest: readonly (readonly [CompareOperator, Expression])[], scope: Scope): boolean {
    let left = first;
    for (const [operator, expression] of rest) {
      const right = this.evaluate(expression, scope);
      if (!holds(operator, left, right)) return false;
      left = right;
    }
    return true;
  }
}

function holds(operator: CompareOperator, left: Value, right: Value): boolean {
  switch (operator) {
    case '==':
      return areEqual(left, right);
    case '!=':
      return !areEqual(left, right);
    case 'in':
      return isMember(left, right);
    case 'not in':
      return !isMember(left, right);
    case '<':
      return compare(left, right, operator) < 0;
    case '<=':
      return compare(left, right, operator) <= 0;
    case '>':
      return compare(left, right, operator) > 0;
    case '>=':
      return compare(left, right, operator) >= 0;
  }
}
