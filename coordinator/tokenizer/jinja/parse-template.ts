// Statements: the tags that transformers' environment knows (Jinja's own, loop controls, generation), each to its end
// tag. Tags for other templates (include, import, extends) are refused here: a chat template stands alone.
import type { Expression, ForLoop, MacroBody, Statement, Target } from './ast.js';
import { tokenize } from './lexer.js';
import { ExpressionParser } from './parse-expression.js';
import { TokenStream } from './token-stream.js';

const ABSENT_TAGS = ['include', 'import', 'from', 'extends', 'autoescape'];

export function parseTemplate(source: string): Statement[] {
  return new StatementParser(new TokenStream(tokenize(source))).template();
}

class StatementParser extends ExpressionParser {
  readonly #blockNames = new Set<string>();
  #loopDepth = 0;

  template(): Statement[] {
    const statements = this.#until([]);
    this.stream.expect('end');
    return statements;
  }

  /** Up to a tag whose name is in `ends`, which is left to be read; its opening is skipped. */
  #until(ends: readonly string[]): Statement[] {
    return this.stream.nest(() => {
      const statements: Statement[] = [];
      for (;;) {
        const { kind, text } = this.stream.current;
        if (kind === 'end') {
          if (ends.length > 0) throw this.stream.unexpected(ends.join(' or '));
          return statements;
        }
        this.stream.next();
        if (kind === 'text') {
          statements.push({ kind: 'text', text });
        } else if (kind === 'open') {
          statements.push({ kind: 'print', value: this.tuple() });
          this.stream.expect('close');
        } else {
          if (this.stream.is('name', ...ends) && ends.length > 0) return statements;
          statements.push(...this.#statement());
        }
      }
    });
  }

  /** The body after a tag's own close, and the end tag. */
  #body(end: string): Statement[] {
    this.stream.expect('closeBlock');
    const statements = this.#until([end]);
    this.stream.next();
    return statements;
  }

  #statement(): Statement[] {
    const name = this.stream.expect('name').text;
    const statements = this.#tag(name);
    this.stream.expect('closeBlock');
    return statements;
  }

  #tag(name: string): Statement[] {
    switch (name) {
      case 'if':
        return [this.#ifTag()];
      case 'for':
        return [this.#forTag()];
      case 'break':
      case 'continue':
        if (this.#loopDepth === 0) throw this.stream.error(`${name} outside a loop`);
        return [{ kind: name }];
      case 'set':
        return [this.#setTag()];
      case 'macro':
        return [{ kind: 'macro', macro: this.#macroTag() }];
      case 'call':
        return [this.#callTag()];
      case 'filter':
        return [{ kind: 'filterBlock', filter: this.#filterChain(), body: this.#body('endfilter') }];
      case 'with':
        return [this.#withTag()];
      case 'block':
        return [this.#blockTag()];
      case 'print':
        return this.#printTag();
      case 'generation':
        return this.#body('endgeneration');
    }
    if (ABSENT_TAGS.includes(name)) throw this.stream.error(`the tag ${name} is not supported`);
    throw this.stream.error(`unknown tag ${name}`);
  }

  #ifTag(): Statement {
    const branches: [Expression, Statement[]][] = [];
    for (;;) {
      const test = this.tuple({ hasCondition: false });
      this.stream.expect('closeBlock');
      branches.push([test, this.#until(['elif', 'else', 'endif'])]);
      const end = this.stream.next().text;
      if (end === 'elif') continue;
      const otherwise = end === 'else' ? this.#body('endif') : [];
      return { kind: 'if', branches, otherwise };
    }
  }

  #forTag(): ForLoop {
    const target = this.target({ allowsNamespace: false, endsAtIn: true });
    this.stream.expect('name', 'in');
    const iterable = this.tuple({ hasCondition: false });
    const test = this.stream.skip('name', 'if') ? this.expression() : null;
    const isRecursive = this.stream.skip('name', 'recursive');
    this.stream.expect('closeBlock');
    this.#loopDepth += 1;
    const body = this.#until(['endfor', 'else']);
    this.#loopDepth -= 1;
    const otherwise = this.stream.next().text === 'else' ? this.#body('endfor') : [];
    return { kind: 'for', target, iterable, test, isRecursive, body, otherwise };
  }

  #setTag(): Statement {
    const target = this.target({ allowsNamespace: true });
    if (this.stream.skip('operator', '=')) return { kind: 'set', target, value: this.tuple() };
    const filter = this.stream.skip('operator', '|') ? this.#filterChain() : null;
    return { kind: 'setBlock', target, filter, body: this.#body('endset') };
  }

  /** `upper|replace('a', 'b')`, applied to a block. */
  #filterChain(): Expression {
    let filter = this.filter(null);
    while (this.stream.skip('operator', '|')) filter = this.filter(filter);
    return filter;
  }

  #macroTag(): MacroBody {
    const name = this.stream.expect('name').text;
    const signature = this.#signature();
    return this.#finishMacro(name, signature, this.#callableBody('endmacro'));
  }

  #callTag(): Statement {
    const signature = this.stream.isOperator('(') ? this.#signature() : { parameters: [], defaults: [] };
    const call = this.expression();
    if (call.kind !== 'call') throw this.stream.error('the tag call needs a call');
    return {
      kind: 'callBlock',
      call,
      caller: this.#finishMacro('caller', signature, this.#callableBody('endcall')),
    };
  }

  /** A loop around the definition is none for its body. */
  #callableBody(end: string): Statement[] {
    const outer = this.#loopDepth;
    this.#loopDepth = 0;
    const body = this.#body(end);
    this.#loopDepth = outer;
    return body;
  }

  #signature(): Pick<MacroBody, 'parameters' | 'defaults'> {
    const parameters: string[] = [];
    const defaults: Expression[] = [];
    this.stream.expect('operator', '(');
    while (!this.stream.isOperator(')')) {
      if (parameters.length > 0) this.stream.expect('operator', ',');
      parameters.push(this.stream.expect('name').text);
      if (this.stream.skip('operator', '=')) defaults.push(this.expression());
      else if (defaults.length > 0)
        throw this.stream.error('a parameter without a default after one with it');
    }
    this.stream.next();
    return { parameters, defaults };
  }

  #finishMacro(
    name: string,
    signature: Pick<MacroBody, 'parameters' | 'defaults'>,
    body: readonly Statement[],
  ): MacroBody {
    const names = namesIn(body);
    const takes = (special: string): boolean => names.has(special) && !signature.parameters.includes(special);
    return {
      name,
      ...signature,
      body,
      takes: { varargs: takes('varargs'), kwargs: takes('kwargs'), caller: takes('caller') },
    };
  }

  #withTag(): Statement {
    const bindings: [Target, Expression][] = [];
    while (!this.stream.is('closeBlock')) {
      if (bindings.length > 0) this.stream.expect('operator', ',');
      const target = { kind: 'name', name: this.stream.expect('name').text } as const;
      this.stream.expect('operator', '=');
      bindings.push([target, this.expression()]);
    }
    return { kind: 'with', bindings, body: this.#body('endwith') };
  }

  #blockTag(): Statement {
    const name = this.stream.expect('name').text;
    if (this.#blockNames.has(name)) throw this.stream.error(`the block ${name} is defined twice`);
    this.#blockNames.add(name);
    const isScoped = this.stream.skip('name', 'scoped');
    if (this.stream.is('name', 'required')) throw this.stream.error('a required block is not supported');
    const body = this.#callableBody('endblock');
    this.stream.skip('name', name);
    return { kind: 'block', name, isScoped, body };
  }

  #printTag(): Statement[] {
    const statements: Statement[] = [{ kind: 'print', value: this.expression() }];
    while (this.stream.skip('operator', ',')) statements.push({ kind: 'print', value: this.expression() });
    return statements;
  }
}

/** Every name that is read anywhere in there, however deep. */
function namesIn(value: unknown, names = new Set<string>()): Set<string> {
  if (Array.isArray(value)) {
    for (const item of value) namesIn(item, names);
  } else if (
    typeof value === 'object' &&
    value !== null &&
    Object.getPrototypeOf(value) === Object.prototype
  ) {
    const { kind, name } = value as { kind?: unknown; name?: unknown };
    if (kind === 'name' && typeof name === 'string') names.add(name);
    for (const item of Object.values(value)) namesIn(item, names);
  }
  return names;
}
