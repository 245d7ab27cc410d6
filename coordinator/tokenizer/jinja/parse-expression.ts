// Expressions, by Jinja's grammar: its precedence is Python's but for powers and signs.
import type { CallArguments, CompareOperator, Expression, Filter, Target } from './ast.js';
import { checkFilter, checkMethod, checkName, checkTest } from './catalogue.js';
import type { ArithmeticOperator } from './operators.js';
import type { TokenStream } from './token-stream.js';

const COMPARISONS = ['==', '!=', '<', '<=', '>', '>='];
const CONSTANTS: ReadonlyMap<string, boolean | null> = new Map([
  ...(['true', 'True'] as const).map((name) => [name, true] as const),
  ...(['false', 'False'] as const).map((name) => [name, false] as const),
  ...(['none', 'None'] as const).map((name) => [name, null] as const),
]);
/** Words that cannot begin an argument of a test that stands without parentheses. */
const AFTER_TEST = ['else', 'or', 'and'];

export const NO_ARGUMENTS: CallArguments = {
  positional: [],
  named: [],
  restPositional: null,
  restNamed: null,
};

export class ExpressionParser {
  constructor(protected readonly stream: TokenStream) {}

  /** `hasCondition`: `a if b else c` may follow without parentheses. */
  expression(hasCondition = true): Expression {
    return this.stream.nest(() => (hasCondition ? this.#conditional() : this.#or()));
  }

  #conditional(): Expression {
    let value = this.#or();
    while (this.stream.skip('name', 'if')) {
      const test = this.#or();
      const otherwise = this.stream.skip('name', 'else') ? this.expression() : null;
      value = { kind: 'condition', test, then: value, otherwise };
    }
    return value;
  }

  #or(): Expression {
    let left = this.#and();
    while (this.stream.skip('name', 'or')) left = { kind: 'or', left, right: this.#and() };
    return left;
  }

  #and(): Expression {
    let left = this.#not();
    while (this.stream.skip('name', 'and')) left = { kind: 'and', left, right: this.#not() };
    return left;
  }

  #not(): Expression {
    if (!this.stream.is('name', 'not')) return this.#comparison();
    this.stream.next();
    return { kind: 'not', operand: this.stream.nest(() => this.#not()) };
  }

  #comparison(): Expression {
    const first = this.#sum();
    const rest: [CompareOperator, Expression][] = [];
    for (;;) {
      if (this.stream.isOperator(...COMPARISONS)) {
        rest.push([this.stream.next().text as CompareOperator, this.#sum()]);
      } else if (this.stream.skip('name', 'in')) {
        rest.push(['in', this.#sum()]);
      } else if (this.stream.is('name', 'not') && this.stream.following.text === 'in') {
        this.stream.next();
        this.stream.next();
        rest.push(['not in', this.#sum()]);
      } else {
        return rest.length === 0 ? first : { kind: 'compare', first, rest };
      }
    }
  }

  #binary(operators: readonly string[], operand: () => Expression): Expression {
    let left = operand();
    while (this.stream.isOperator(...operators)) {
      const operator = this.stream.next().text as ArithmeticOperator;
      left = { kind: 'arithmetic', operator, left, right: operand() };
    }
    return left;
  }

  #sum(): Expression {
    return this.#binary(['+', '-'], () => this.#concatenation());
  }

  #concatenation(): Expression {
    const items = [this.#product()];
    while (this.stream.skip('operator', '~')) items.push(this.#product());
    return items.length === 1 ? items[0]! : { kind: 'concat', items };
  }

  #product(): Expression {
    return this.#binary(['*', '/', '//', '%'], () => this.#power());
  }

  #power(): Expression {
    return this.#binary(['**'], () => this.#unary(true));
  }

  /** A sign takes the filters that follow with it only where it stands itself in a sign. */
  #unary(hasFilters: boolean): Expression {
    return this.stream.nest(() => {
      let value: Expression;
      if (this.stream.skip('operator', '-')) value = { kind: 'negate', operand: this.#unary(false) };
      else if (this.stream.skip('operator', '+')) value = { kind: 'plus', operand: this.#unary(false) };
      else value = this.#primary();
      value = this.#postfix(value);
      return hasFilters ? this.#filtersAndTests(value) : value;
    });
  }

  #primary(): Expression {
    const token = this.stream.next();
    switch (token.kind) {
      case 'name':
        if (CONSTANTS.has(token.text)) return { kind: 'constant', value: CONSTANTS.get(token.text)! };
        checkName(token.text, this.stream);
        return { kind: 'name', name: token.text };
      case 'string': {
        let text = token.text;
        while (this.stream.is('string')) text += this.stream.next().text;
        return { kind: 'constant', value: text };
      }
      case 'integer':
        return { kind: 'constant', value: BigInt(token.text.replaceAll('_', '').toLowerCase()) };
      case 'float':
        return { kind: 'constant', value: Number(token.text.replaceAll('_', '')) };
      case 'operator':
        if (token.text === '(') return this.#parenthesised();
        if (token.text === '[') return { kind: 'list', items: this.#listUntil(']') };
        if (token.text === '{') return this.#dictionary();
        break;
      default:
    }
    throw this.stream.error(`unexpected '${token.text}' in an expression`);
  }

  #parenthesised(): Expression {
    const value = this.tuple({ isEmptyAllowed: true });
    this.stream.expect('operator', ')');
    return value;
  }

  /** One expression, or several with commas between them. */
  tuple(options: { hasCondition?: boolean; isEmptyAllowed?: boolean } = {}): Expression {
    const items: Expression[] = [];
    let isTuple = false;
    while (!this.#endsTuple()) {
      items.push(this.expression(options.hasCondition ?? true));
      if (!this.stream.skip('operator', ',')) break;
      isTuple = true;
    }
    if (items.length === 1 && !isTuple) return items[0]!;
    if (items.length === 0 && options.isEmptyAllowed !== true) throw this.stream.unexpected('an expression');
    return { kind: 'tuple', items };
  }

  #endsTuple(): boolean {
    return this.stream.is('close') || this.stream.is('closeBlock') || this.stream.isOperator(')');
  }

  #listUntil(end: string): Expression[] {
    const items: Expression[] = [];
    while (!this.stream.skip('operator', end)) {
      if (items.length > 0) this.stream.expect('operator', ',');
      if (this.stream.skip('operator', end)) break;
      items.push(this.expression());
    }
    return items;
  }

  #dictionary(): Expression {
    const entries: [Expression, Expression][] = [];
    while (!this.stream.skip('operator', '}')) {
      if (entries.length > 0) this.stream.expect('operator', ',');
      if (this.stream.skip('operator', '}')) break;
      const key = this.expression();
      this.stream.expect('operator', ':');
      entries.push([key, this.expression()]);
    }
    return { kind: 'dict', entries };
  }

  #postfix(value: Expression): Expression {
    for (;;) {
      if (this.stream.skip('operator', '.')) value = this.#afterDot(value);
      else if (this.stream.skip('operator', '[')) value = this.#subscript(value);
      else if (this.stream.isOperator('(')) value = this.#call(value);
      else return value;
    }
  }

  #afterDot(object: Expression): Expression {
    const token = this.stream.next();
    if (token.kind === 'name') return { kind: 'attribute', object, name: token.text };
    if (token.kind === 'integer') {
      return { kind: 'item', object, key: { kind: 'constant', value: BigInt(token.text) } };
    }
    throw this.stream.error('expected a name or a number after a dot');
  }

  #subscript(object: Expression): Expression {
    const keys: Expression[] = [];
    let slice: Expression | null = null;
    do {
      if (this.stream.isOperator(']')) break;
      const start = this.stream.isOperator(':') ? null : this.expression();
      if (this.stream.isOperator(':')) slice = this.#slice(object, start);
      else keys.push(start!);
    } while (this.stream.skip('operator', ','));
    this.stream.expect('operator', ']');
    if (slice !== null && keys.length === 0) return slice;
    if (slice !== null || keys.length === 0) throw this.stream.error('expected one subscript');
    return { kind: 'item', object, key: keys.length === 1 ? keys[0]! : { kind: 'tuple', items: keys } };
  }

  #slice(object: Expression, start: Expression | null): Expression {
    const bound = (): Expression | null =>
      this.stream.skip('operator', ':') && !this.stream.isOperator(':', ']', ',') ? this.expression() : null;
    const stop = bound();
    return { kind: 'slice', object, bounds: [start, stop, bound()] };
  }

  #call(callee: Expression): Expression {
    if (callee.kind === 'attribute') checkMethod(callee.name, this.stream);
    return { kind: 'call', callee, args: this.callArguments() };
  }

  callArguments(): CallArguments {
    this.stream.expect('operator', '(');
    const positional: Expression[] = [];
    const named: [string, Expression][] = [];
    let restPositional: Expression | null = null;
    let restNamed: Expression | null = null;
    let isFirst = true;
    while (!this.stream.isOperator(')')) {
      if (!isFirst) {
        this.stream.expect('operator', ',');
        if (this.stream.isOperator(')')) break;
      }
      isFirst = false;
      if (this.stream.skip('operator', '*')) restPositional = this.expression();
      else if (this.stream.skip('operator', '**')) restNamed = this.expression();
      else if (
        this.stream.is('name') &&
        this.stream.following.text === '=' &&
        this.stream.following.kind === 'operator'
      ) {
        const name = this.stream.next().text;
        this.stream.next();
        named.push([name, this.expression()]);
      } else {
        if (named.length > 0 || restNamed !== null) throw this.stream.error('an argument after named ones');
        positional.push(this.expression());
      }
    }
    this.stream.expect('operator', ')');
    return { positional, named, restPositional, restNamed };
  }

  #filtersAndTests(value: Expression): Expression {
    for (;;) {
      if (this.stream.skip('operator', '|')) value = this.filter(value);
      else if (this.stream.skip('name', 'is')) value = this.#test(value);
      else if (this.stream.isOperator('(')) value = this.#call(value);
      else return value;
    }
  }

  /** After the bar. */
  filter(operand: Expression | null): Filter {
    const name = this.#dottedName();
    checkFilter(name, this.stream);
    const args = this.stream.isOperator('(') ? this.callArguments() : NO_ARGUMENTS;
    return { kind: 'filter', operand, name, args };
  }

  #dottedName(): string {
    let name = this.stream.expect('name').text;
    while (this.stream.skip('operator', '.')) name += `.${this.stream.expect('name').text}`;
    return name;
  }

  #test(operand: Expression): Expression {
    const isNegated = this.stream.skip('name', 'not');
    const name = this.#dottedName();
    checkTest(name, this.stream);
    let args = NO_ARGUMENTS;
    const { kind, text } = this.stream.current;
    if (this.stream.isOperator('(')) {
      args = this.callArguments();
    } else if (
      (['name', 'string', 'integer', 'float'].includes(kind) || this.stream.isOperator('[', '{')) &&
      !(kind === 'name' && AFTER_TEST.includes(text))
    ) {
      if (this.stream.is('name', 'is')) throw this.stream.error('two tests in a chain');
      if (!this.stream.is('name', 'if', 'in', 'not'))
        args = { ...NO_ARGUMENTS, positional: [this.#postfix(this.#primary())] };
    }
    return { kind: 'test', operand, name, isNegated, args };
  }

  /** What a value is assigned to; `endsAtIn`: of a loop. */
  target(options: { readonly allowsNamespace: boolean; readonly endsAtIn?: boolean }): Target {
    const items: Target[] = [];
    let isTuple = false;
    while (!this.#endsTuple() && !this.stream.isOperator('=', '|')) {
      if (options.endsAtIn === true && this.stream.is('name', 'in')) break;
      items.push(this.#singleTarget(options.allowsNamespace));
      if (!this.stream.skip('operator', ',')) break;
      isTuple = true;
    }
    if (items.length === 1 && !isTuple) return items[0]!;
    if (items.length === 0) throw this.stream.unexpected('a name');
    return { kind: 'tuple', items };
  }

  #singleTarget(allowsNamespace: boolean): Target {
    if (this.stream.skip('operator', '(')) {
      const inner = this.stream.nest(() => this.target({ allowsNamespace }));
      this.stream.expect('operator', ')');
      return inner;
    }
    const name = this.stream.expect('name').text;
    if (CONSTANTS.has(name)) throw this.stream.error(`cannot assign to ${name}`);
    if (!allowsNamespace || !this.stream.skip('operator', '.')) return { kind: 'name', name };
    return { kind: 'namespace', name, attribute: this.stream.expect('name').text };
  }
}
