// What one rendering may cost. Every step of the interpreter and everything that can grow asks here, so that a template
// can neither run for ever nor fill memory, however it is written.
import { MAX_TEMPLATE_CALL_DEPTH, MAX_TEMPLATE_INTEGER_BITS } from '../../../common/limits.js';
import { TemplateError } from './values.js';

export interface BudgetLimits {
  readonly timeoutMs: number;
  /** Of any one text, list or output. */
  readonly maxSize: number;
}

/** A limit of the rendering was passed: no template can catch or cause it in any other way. */
export class BudgetError extends TemplateError {}

const STEPS_BETWEEN_LOOKS = 256;

export class Budget {
  readonly #endMs: number;
  #steps = 0;
  #depth = 0;
  readonly #limits: BudgetLimits;

  constructor(limits: BudgetLimits) {
    this.#limits = limits;
    this.#endMs = performance.now() + limits.timeoutMs;
  }

  step(): void {
    this.#steps += 1;
    if (this.#steps % STEPS_BETWEEN_LOOKS === 0) this.look();
  }

  /** Before anything whose cost grows with its input. */
  look(): void {
    if (performance.now() > this.#endMs)
      throw new BudgetError(`took longer than ${this.#limits.timeoutMs} ms`);
  }

  checkSize(size: number): void {
    if (size > this.#limits.maxSize) {
      throw new BudgetError(
        `makes ${size} characters or items; at most ${this.#limits.maxSize} are accepted`,
      );
    }
  }

  checkText(text: string): string {
    this.checkSize(text.length);
    return text;
  }

  checkIntegerBits(bits: number): void {
    if (bits > MAX_TEMPLATE_INTEGER_BITS)
      throw new BudgetError(`makes a number of more than ${MAX_TEMPLATE_INTEGER_BITS} bits`);
  }

  /** Calls of macros, and expressions within each other. */
  nest<T>(run: () => T): T {
    if (this.#depth >= MAX_TEMPLATE_CALL_DEPTH)
      throw new BudgetError(`nests calls deeper than ${MAX_TEMPLATE_CALL_DEPTH}`);
    this.#depth += 1;
    try {
      return run();
    } finally {
      this.#depth -= 1;
    }
  }
}
