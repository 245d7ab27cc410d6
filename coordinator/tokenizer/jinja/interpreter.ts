// Statements to text: scopes, loops, macros, blocks. A loop's body has a scope of its own, an if's has none, as in
// Jinja.
import type { Expression, ForLoop, MacroBody, Statement, Target } from './ast.js';
import { Evaluator } from './evaluate.js';
import { LoopContext } from './loop-context.js';
import { Scope } from './scope.js';
import { textOf } from './text-of.js';
import {
  Callable,
  Dict,
  isTrue,
  itemsOf,
  Namespace,
  orElse,
  TemplateError,
  Tuple,
  Undefined,
  type Arguments,
  type Value,
} from './values.js';

/** What a statement asks of the loop around it. */
type Flow = 'break' | 'continue' | null;
/** `text` and its size so far. */
interface Output {
  readonly parts: string[];
  size: number;
}

export class Interpreter extends Evaluator {
  #root = new Scope(null);

  render(statements: readonly Statement[], globals: Iterable<readonly [string, Value]>): string {
    this.#root = new Scope(new Scope(null, globals));
    const blocks = new Map<string, Value>();
    for (const block of blocksIn(statements))
      blocks.set(block.name, new Callable(block.name, () => this.#text(block.body, new Scope(this.#root))));
    this.#root.set(
      'self',
      new Callable(
        'self',
        () => null,
        (name) => blocks.get(name),
      ),
    );
    return this.#text(statements, this.#root);
  }

  #text(statements: readonly Statement[], scope: Scope): string {
    const out: Output = { parts: [], size: 0 };
    this.#run(statements, scope, out);
    return out.parts.join('');
  }

  #write(out: Output, text: string): void {
    out.size += text.length;
    this.budget.checkSize(out.size);
    out.parts.push(text);
  }

  #run(statements: readonly Statement[], scope: Scope, out: Output): Flow {
    for (const statement of statements) {
      const flow = this.#statement(statement, scope, out);
      if (flow !== null) return flow;
    }
    return null;
  }

  #statement(statement: Statement, scope: Scope, out: Output): Flow {
    this.budget.step();
    switch (statement.kind) {
      case 'text':
        this.#write(out, statement.text);
        return null;
      case 'print':
        this.#write(out, textOf(this.evaluate(statement.value, scope)));
        return null;
      case 'if': {
        const branch = statement.branches.find(([test]) => isTrue(this.evaluate(test, scope)));
        return this.#run(branch?.[1] ?? statement.otherwise, scope, out);
      }
      case 'for': {
        const iterable = this.evaluate(statement.iterable, scope);
        this.#loop(statement, iterable, scope, out, 0);
        return null;
      }
      case 'break':
      case 'continue':
        return statement.kind;
      case 'set':
        this.#assign(statement.target, this.evaluate(statement.value, scope), scope);
        return null;
      case 'setBlock': {
        const text = this.#text(statement.body, new Scope(scope));
        const value = statement.filter === null ? text : this.#filtered(statement.filter, text, scope);
        this.#assign(statement.target, value, scope);
        return null;
      }
      case 'macro':
        scope.set(statement.macro.name, this.#macro(statement.macro, scope));
        return null;
      case 'callBlock':
        this.#write(out, textOf(this.#callBlock(statement.call, statement.caller, scope)));
        return null;
      case 'filterBlock': {
        const text = this.#text(statement.body, new Scope(scope));
        this.#write(out, textOf(this.#filtered(statement.filter, text, scope)));
        return null;
      }
      case 'with': {
        const inner = new Scope(scope);
        for (const [target, value] of statement.bindings)
          this.#assign(target, this.evaluate(value, scope), inner);
        return this.#run(statement.body, inner, out);
      }
      case 'block':
        this.#write(out, this.#text(statement.body, new Scope(statement.isScoped ? scope : this.#root)));
        return null;
    }
  }

  /** A filter, or a chain of them, over the text of a block. */
  #filtered(filter: Expression, text: string, scope: Scope): Value {
    if (filter.kind !== 'filter') throw new TemplateError('a block needs a filter');
    const value = filter.operand === null ? text : this.#filtered(filter.operand, text, scope);
    return this.filter(filter.name, value, this.args(filter.args, scope));
  }

  #assign(target: Target, value: Value, scope: Scope): void {
    switch (target.kind) {
      case 'name':
        scope.set(target.name, value);
        return;
      case 'namespace': {
        const namespace = scope.get(target.name);
        if (!(namespace instanceof Namespace))
          throw new TemplateError('cannot assign attribute on non-namespace object');
        namespace.set(target.attribute, value);
        return;
      }
      case 'tuple': {
        const items = itemsOf(value);
        if (items.length !== target.items.length) {
          throw new TemplateError(`expected ${target.items.length} values to unpack, got ${items.length}`);
        }
        target.items.forEach((item, index) => this.#assign(item, items[index]!, scope));
      }
    }
  }

  #loop(loop: ForLoop, iterable: Value, scope: Scope, out: Output, depth: number): void {
    const again = (args: Arguments): Value => {
      if (!loop.isRecursive)
        throw new TemplateError("The loop must have the 'recursive' marker to be called recursively.");
      const inner: Output = { parts: [], size: 0 };
      this.#loop(loop, args.positional[0] ?? null, scope, inner, depth + 1);
      return inner.parts.join('');
    };
    const context = new LoopContext(this.#passing(loop, itemsOf(iterable), scope), depth, again);
    let hasRun = false;
    while (context.advance()) {
      hasRun = true;
      this.budget.step();
      const inner = new Scope(scope, [['loop', context.value]]);
      this.#assign(loop.target, context.item, inner);
      if (this.#run(loop.body, inner, out) === 'break') break;
    }
    if (!hasRun) this.#run(loop.otherwise, new Scope(scope), out);
  }

  /** What the loop's own condition lets through, looked at when its turn comes. */
  *#passing(loop: ForLoop, items: readonly Value[], scope: Scope): Iterator<Value> {
    for (const item of items) {
      if (loop.test !== null) {
        const inner = new Scope(scope);
        this.#assign(loop.target, item, inner);
        if (!isTrue(this.evaluate(loop.test, inner))) continue;
      }
      yield item;
    }
  }

  #callBlock(call: Expression, caller: MacroBody, scope: Scope): Value {
    if (call.kind !== 'call') throw new TemplateError('the tag call needs a call');
    const args = this.args(call.args, scope);
    const named = new Map([...args.named, ['caller', this.#macro(caller, scope)] as const]);
    return this.call(this.evaluate(call.callee, scope), { ...args, named });
  }

  #macro(macro: MacroBody, scope: Scope): Callable {
    const facts = new Map<string, Value>([
      ['name', macro.name],
      ['arguments', new Tuple([...macro.parameters])],
      ['catch_kwargs', macro.takes.kwargs],
      ['catch_varargs', macro.takes.varargs],
      ['caller', macro.takes.caller],
    ]);
    return new Callable(
      macro.name,
      (args) => this.#text(macro.body, this.#bindMacro(macro, args, scope)),
      (name) => facts.get(name),
      'Macro',
    );
  }

  #bindMacro(macro: MacroBody, args: Arguments, scope: Scope): Scope {
    const { parameters, defaults, takes, name } = macro;
    const inner = new Scope(scope);
    const named = new Map(args.named);
    const caller = parameters.includes('caller') ? undefined : named.get('caller');
    if (caller !== undefined) named.delete('caller');
    parameters.forEach((parameter, index) => {
      const given = index < args.positional.length ? args.positional[index] : named.get(parameter);
      if (index < args.positional.length && named.has(parameter))
        throw new TemplateError(`macro '${name}' got multiple values for argument '${parameter}'`);
      named.delete(parameter);
      const fallback = defaults[index - (parameters.length - defaults.length)];
      const value = orElse(given, () =>
        fallback === undefined
          ? new Undefined(`parameter '${parameter}' was not provided`)
          : this.evaluate(fallback, inner),
      );
      inner.set(parameter, value);
    });
    const rest = args.positional.slice(parameters.length);
    if (takes.varargs) inner.set('varargs', new Tuple(rest));
    else if (rest.length > 0)
      throw new TemplateError(`macro '${name}' takes not more than ${parameters.length} argument(s)`);
    if (takes.kwargs) inner.set('kwargs', new Dict(named));
    else if (named.size > 0)
      throw new TemplateError(`macro '${name}' takes no keyword argument '${[...named.keys()][0]}'`);
    if (takes.caller)
      inner.set(
        'caller',
        orElse(caller, () => new Undefined('No caller defined')),
      );
    else if (caller !== undefined)
      throw new TemplateError(`macro '${name}' was invoked with two values for the special caller argument.`);
    return inner;
  }
}

function* blocksIn(statements: readonly Statement[]): Generator<Extract<Statement, { kind: 'block' }>> {
  for (const statement of statements) {
    if (statement.kind === 'block') yield statement;
    if (statement.kind === 'if') for (const [, body] of statement.branches) yield* blocksIn(body);
    if (statement.kind === 'if' || statement.kind === 'for') yield* blocksIn(statement.otherwise);
    if ('body' in statement) yield* blocksIn(statement.body);
  }
}
