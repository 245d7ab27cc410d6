// Jinja templates of checkpoints, rendered as transformers renders them: its environment is Jinja's sandbox with
// trim_blocks, lstrip_blocks, loop controls, and a few names of its own. Written here because the one kept library for
// JavaScript that takes untrusted templates renders most of what that environment accepts to other text, or refuses it
// (test/unit/coordinator/tokenizer/template-cases.test.ts has the table). Templates reach nothing but the values they
// are given.
import type { Statement } from './ast.js';
import { Budget, type BudgetLimits } from './budget.js';
import { makeGlobals } from './globals.js';
import { Interpreter } from './interpreter.js';
import { parseTemplate } from './parse-template.js';
import type { Value } from './values.js';

export class Template {
  readonly #statements: readonly Statement[];

  /** Throws TemplateError, with the line: a mistake, or something that is not supported, by name. */
  constructor(source: string) {
    this.#statements = parseTemplate(source);
  }

  /** Throws TemplateError where the template raises, and BudgetError where it costs too much. */
  render(values: Iterable<readonly [string, Value]>, limits: BudgetLimits, now = new Date()): string {
    const interpreter = new Interpreter(new Budget(limits));
    return interpreter.render(this.#statements, [...makeGlobals(now), ...values]);
  }
}
