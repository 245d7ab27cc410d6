// Grammars as they are built: expressions over named rules, printed in the EBNF that xgrammar reads. Also what must
// hold of one: that every rule can come to an end, and that none begins with itself.

/** A string is a terminal, as printed. */
export type Expression =
  | string
  | { readonly anyOf: readonly Expression[] }
  | { readonly inOrder: readonly Expression[] }
  | { readonly rule: string }
  /** `max` null: no limit. */
  | { readonly repeated: Expression; readonly min: number; readonly max: number | null };

/** Between the parts of JSON. Without a bound: counting them would cost a state each, wherever they may stand. */
export const BLANKS = '[ \\n\\t]*';
export const NOTHING = '""';

const PLAIN = /^[A-Za-z0-9 !#$%&'()*+,./:;<=>?@_`{|}~-]$/;

function escaped(character: string, isPlain: boolean): string {
  if (isPlain) return character;
  const code = character.codePointAt(0)!;
  // An \x would take as many hexadecimal digits as follow.
  if (code < 0x10000) return `\\u${code.toString(16).padStart(4, '0')}`;
  return `\\U${code.toString(16).padStart(8, '0')}`;
}

/** Exactly this text, which must be well-formed. */
export function literal(text: string): string {
  return `"${Array.from(text, (character) => escaped(character, PLAIN.test(character))).join('')}"`;
}

/** Code points, both ends included. */
export type CharacterRange = readonly [first: number, last: number];

/** Any character beyond ASCII. */
export const BEYOND_ASCII = '[^\\u0000-\\u007f]';

/** One character of these ranges, all in ASCII: beyond it xgrammar compares the last byte alone. */
export function characterClass(ranges: readonly CharacterRange[]): string {
  const spell = (code: number): string => {
    const character = String.fromCodePoint(code);
    return escaped(character, /^[A-Za-z0-9]$/.test(character));
  };
  const parts = ranges.map(([first, last]) =>
    first === last ? spell(first) : `${spell(first)}-${spell(last)}`,
  );
  return `[${parts.join('')}]`;
}

export class GrammarRules {
  readonly #rules = new Map<string, Expression>();
  #numNames = 0;

  newName(): string {
    this.#numNames += 1;
    return `r${this.#numNames}`;
  }

  set(name: string, expression: Expression): void {
    this.#rules.set(name, expression);
  }

  add(expression: Expression): { readonly rule: string } {
    const rule = this.newName();
    this.set(rule, expression);
    return { rule };
  }

  has(name: string): boolean {
    return this.#rules.has(name);
  }

  /** With what is repeated counted as often as it may be. */
  numParts(): number {
    return [...this.#rules.values()].reduce((sum, expression) => sum + numParts(expression), 0);
  }

  /** Rules that no finite text fits. */
  endless(): string[] {
    const ending = new Set<string>();
    let numBefore = -1;
    while (ending.size !== numBefore) {
      numBefore = ending.size;
      for (const [name, expression] of this.#rules) if (ends(expression, ending)) ending.add(name);
    }
    return [...this.#rules.keys()].filter((name) => !ending.has(name));
  }

  /** A rule that may begin with itself; null: none does. */
  leftRecursive(): string | null {
    const done = new Set<string>();
    const onPath = new Set<string>();
    const visit = (name: string): string | null => {
      if (onPath.has(name)) return name;
      if (done.has(name)) return null;
      onPath.add(name);
      for (const first of firstRules(this.#rules.get(name)!)) {
        const found = visit(first);
        if (found !== null) return found;
      }
      onPath.delete(name);
      done.add(name);
      return null;
    };
    for (const name of this.#rules.keys()) {
      const found = visit(name);
      if (found !== null) return found;
    }
    return null;
  }

  /** `root`: what the whole text must be. */
  print(root: Expression): string {
    const lines = [...this.#rules].map(([name, expression]) => `${name} ::= ${print(expression)}`);
    return [...lines, `root ::= ${print(root)}`].join('\n') + '\n';
  }
}

/** Of a printed grammar: its rules, with `prefix` before each name, so that they can stand beside another's. */
export function renamed(grammar: string, prefix: string): string {
  return grammar.replace(TERMINAL_OR_RULE, (all, rule?: string) =>
    rule === undefined ? all : `${prefix}${rule}`,
  );
}

/** A text, a class of characters, or the name of a rule. */
const TERMINAL_OR_RULE = /"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|\b(root|r\d+)\b/g;

function print(expression: Expression): string {
  if (typeof expression === 'string') return expression;
  if ('rule' in expression) return expression.rule;
  if ('inOrder' in expression) return expression.inOrder.map(print).join(' ');
  if ('anyOf' in expression) return `(${expression.anyOf.map(print).join(' | ')})`;
  const { repeated, min, max } = expression;
  if (max === 0) return NOTHING;
  const body = `(${print(repeated)})`;
  if (max === null) return min === 0 ? `${body}*` : min === 1 ? `${body}+` : `${body}{${min},}`;
  return `${body}{${min},${max}}`;
}

function numParts(expression: Expression): number {
  if (typeof expression === 'string' || 'rule' in expression) return 1;
  if ('repeated' in expression)
    return numParts(expression.repeated) * Math.max(expression.min, expression.max ?? 0, 1);
  const parts = 'anyOf' in expression ? expression.anyOf : expression.inOrder;
  return parts.reduce((sum, each) => sum + numParts(each), 0);
}

function ends(expression: Expression, ending: ReadonlySet<string>): boolean {
  if (typeof expression === 'string') return true;
  if ('rule' in expression) return ending.has(expression.rule);
  if ('inOrder' in expression) return expression.inOrder.every((each) => ends(each, ending));
  if ('anyOf' in expression) return expression.anyOf.some((each) => ends(each, ending));
  return expression.min === 0 || ends(expression.repeated, ending);
}

/** Rules that it may begin with, before any character. */
function firstRules(expression: Expression): string[] {
  if (typeof expression === 'string') return [];
  if ('rule' in expression) return [expression.rule];
  if ('anyOf' in expression) return expression.anyOf.flatMap(firstRules);
  if ('repeated' in expression) return firstRules(expression.repeated);
  const first = expression.inOrder.find((each) => each !== BLANKS && each !== NOTHING);
  return first === undefined ? [] : firstRules(first);
}
