// The grammar of JSON itself, of which every answer in a schema is made.
import { BLANKS, literal, NOTHING, type Expression, type GrammarRules } from './ebnf.js';
import { ANY_INTEGER, ANY_NUMBER } from './number-range.js';
import { STRING_CHARACTER } from './string-pattern.js';

const ESCAPE = '"\\\\" (["\\\\/bfnrt] | "u" [0-9A-Fa-f]{4})';
const ANY_STRING = `"\\"" (${STRING_CHARACTER} | ${ESCAPE})* "\\""`;
/** What stands behind a value or a name, told beforehand: few tokens need then be tried out wherever one may end. */
const BEHIND = `(= ${BLANKS} [,:}\\]])`;
/** One character of a string whose characters are counted. */
const COUNTED_CHARACTER = `(${STRING_CHARACTER} | "\\\\" ["\\\\/bfnrt])`;
const COMMA = `${BLANKS} "," ${BLANKS}`;
const COLON = `${BLANKS} ":" ${BLANKS}`;

/** Rules that are written once, when first asked for. */
export class JsonRules {
  readonly #rules: GrammarRules;
  #value: { readonly rule: string } | null = null;
  readonly #atoms = new Map<string, { readonly rule: string }>();

  constructor(rules: GrammarRules) {
    this.#rules = rules;
  }

  /** Any JSON. */
  get value(): Expression {
    if (this.#value !== null) return this.#value;
    this.#value = { rule: this.#rules.newName() };
    const atoms = [this.number, '"true"', '"false"', '"null"', this.string];
    this.#rules.set(this.#value.rule, {
      anyOf: [...atoms, this.array(this.#value, 0, null), this.map(this.#value, 0)],
    });
    return this.#value;
  }

  get string(): Expression {
    return this.#atom(ANY_STRING);
  }

  /** No escape in it has more than one character behind its backslash. */
  countedString(min: number): Expression {
    const repeated = min === 0 ? '*' : `{${min},}`;
    return this.#atom(`"\\"" ${COUNTED_CHARACTER}${repeated} "\\""`);
  }

  /** One rule for all strings of these bounds: its characters are what costs most to compile. */
  boundedString(min: number, max: number | null): Expression {
    const name = `string of ${min} to ${max}`;
    const known =
      this.#atoms.get(name) ??
      this.#rules.add({ inOrder: ['"\\""', { repeated: STRING_CHARACTER, min, max }, '"\\""', BEHIND] });
    this.#atoms.set(name, known);
    return known;
  }

  get number(): Expression {
    return this.#atom(ANY_NUMBER);
  }

  get integer(): Expression {
    return this.#atom(ANY_INTEGER);
  }

  #atom(text: string): Expression {
    const known = this.#atoms.get(text) ?? this.#rules.add(`(${text}) ${BEHIND}`);
    this.#atoms.set(text, known);
    return known;
  }

  array(item: Expression, min: number, max: number | null): Expression {
    return this.list('"["', [], item, min, max, '"]"');
  }

  /** Members of any names. */
  map(value: Expression, min: number): Expression {
    const member: Expression = { inOrder: [this.string, COLON, value] };
    return this.list('"{"', [], member, min, null, '"}"');
  }

  /** `first` in this order, then from `min` to `max` of `more`; null: no `more`. */
  list(
    open: string,
    first: readonly Expression[],
    more: Expression | null,
    min: number,
    max: number | null,
    close: string,
  ): Expression {
    const head: Expression[] = first.flatMap((each, index) => (index === 0 ? [each] : [COMMA, each]));
    if (more === null || max === 0)
      return { inOrder: first.length === 0 ? [open, BLANKS, close] : [open, BLANKS, ...head, BLANKS, close] };
    const next: Expression = { inOrder: [COMMA, more] };
    if (first.length > 0)
      return { inOrder: [open, BLANKS, ...head, { repeated: next, min, max }, BLANKS, close] };
    const filled: Expression = {
      inOrder: [
        open,
        BLANKS,
        more,
        { repeated: next, min: Math.max(min - 1, 0), max: max === null ? null : max - 1 },
        BLANKS,
        close,
      ],
    };
    return min > 0 ? filled : { anyOf: [filled, { inOrder: [open, BLANKS, close] }] };
  }

  /** Members in this order, of which those that are not required may be left out. */
  object(
    members: readonly { readonly name: string; readonly value: Expression; readonly isRequired: boolean }[],
  ): Expression {
    // By member: what may follow once one stands before it, and while none does.
    let rest: Expression = NOTHING;
    let first: Expression = NOTHING;
    for (const { name, value, isRequired } of [...members].reverse()) {
      const member: Expression = { inOrder: [literal(JSON.stringify(name)), COLON, value] };
      const withComma: Expression = { inOrder: [COMMA, member, rest] };
      const alone: Expression = { inOrder: [member, rest] };
      const nextRest: Expression = this.#rules.add(isRequired ? withComma : { anyOf: [withComma, rest] });
      first = isRequired ? alone : this.#rules.add({ anyOf: [alone, first] });
      rest = nextRest;
    }
    return { inOrder: ['"{"', BLANKS, first, BLANKS, '"}"'] };
  }
}
