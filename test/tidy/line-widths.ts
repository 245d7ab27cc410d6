// How wide prose is: comments of every language here, and the paragraphs of documents. Code is the formatters' matter.

const MAX_PROSE_COLUMNS = 120;

interface Language {
  /** A line that is nothing but comment. */
  readonly comment: RegExp;
  /** A comment behind code, once the line's strings are taken out. */
  readonly trailing: RegExp;
}

const SLASHES: Language = { comment: /^\s*(\/\/|\/\*|\*(\s|\/|$))/, trailing: /\s(\/\/|\/\*)\s/ };
const HASH: Language = { comment: /^\s*#/, trailing: /\s#\s/ };
const LANGUAGES: readonly (readonly [RegExp, Language])[] = [
  [/\.(tsx?|css|mjs|cjs|js|cc|h|cu|cuh|inc|proto)$/, SLASHES],
  [/\.(py|sh|cmake|yaml|yml|service|env)$|(^|\/)(CMakeLists\.txt|Containerfile\.\w+)$/, HASH],
];

const STRINGS = /'(\\.|[^'\\])*'|"(\\.|[^"\\])*"|`(\\.|[^`\\])*`/g;

/** Which files have prose that is measured. */
export function hasProse(file: string): boolean {
  return file.endsWith('.md') || LANGUAGES.some(([files]) => files.test(file));
}

/** A line that cannot be broken within the width, such as a long link, is left alone. */
function isTooWide(line: string): boolean {
  const text = line.replace(/^\s*(\/\/+|\/?\*+|#+|[-*]|\d+\.)?\s*/, '');
  const start = line.length - text.length;
  return line.length > MAX_PROSE_COLUMNS && start + text.split(/\s/, 1)[0]!.length <= MAX_PROSE_COLUMNS;
}

function isProseOf(language: Language, line: string): boolean {
  return language.comment.test(line) || language.trailing.test(line.replace(STRINGS, "''"));
}

/** Numbers of the lines that are prose, counted from 0. */
function proseLines(file: string, lines: readonly string[]): number[] {
  const language = LANGUAGES.find(([files]) => files.test(file))?.[1];
  let isInside = false;
  return [...lines.keys()].filter((index) => {
    const line = lines[index]!;
    if (language === undefined) {
      // A document: fenced code and tables stay as they are.
      if (/^\s*```/.test(line)) isInside = !isInside;
      return !isInside && !/^\s*\|/.test(line);
    }
    // A docstring begins a line and may end any; other strings of several lines are code.
    const begins = file.endsWith('.py') && !isInside && /^\s*r?"""/.test(line);
    const isDocstring = isInside || begins;
    const numQuotes = (line.match(/"""/g) ?? []).length;
    if (isDocstring) isInside = numQuotes === (begins ? 1 : 0);
    return isDocstring || isProseOf(language, line);
  });
}

/** Every line of prose beyond the width, as `file:line: columns`. */
export function wideLines(file: string, text: string): string[] {
  const lines = text.split('\n');
  return proseLines(file, lines)
    .filter((index) => isTooWide(lines[index]!))
    .map((index) => `${file}:${index + 1}: ${lines[index]!.length} columns`);
}
