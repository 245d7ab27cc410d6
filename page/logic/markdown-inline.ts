// The text of a paragraph -> its parts: code, emphasis, links, TeX, line breaks. A mark without its partner is text.
// Each mark looks for its partner once and remembers that there is none, so that long lines of marks stay cheap.
export type Inline =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'code'; readonly text: string }
  | { readonly kind: 'math'; readonly tex: string; readonly isDisplay: boolean }
  | { readonly kind: 'strong' | 'emphasis' | 'deleted'; readonly inlines: readonly Inline[] }
  | { readonly kind: 'link'; readonly href: string; readonly inlines: readonly Inline[] }
  | { readonly kind: 'break' };

interface Found {
  readonly inline: Inline;
  readonly end: number;
}

type Rule = (text: string, at: number, depth: number, missing: Set<string>) => Found | null;

const ESCAPABLE = /[\\`*_{}[\]()#+\-.!|~$>]/;
const LINK =
  /^!?\[((?:[^[\]\\]|\\.){0,500})\]\(<?([^\s()<>]{1,2000}(?:\([^\s()<>]{0,200}\)[^\s()<>]{0,200})?)>?(?:\s+"[^"]{0,200}")?\)/;
const AUTOLINK = /^(?:<(https?:\/\/[^\s<>]{1,2000})>|(https?:\/\/[^\s<>"'`*]{1,2000}[^\s<>"'`*.,;:!?)\]]))/;
const WORD = /[\p{L}\p{N}]/u;
const MAX_DEPTH = 6;

/** Of http, https and mailto; null: it is not followed. */
function safeHref(href: string): string | null {
  return /^(https?:\/\/|mailto:)[^\s]+$/i.test(href) ? href : null;
}

export function parseInlines(text: string, depth = 0): Inline[] {
  const inlines: Inline[] = [];
  const missing = new Set<string>();
  let plain = '';
  const flush = (): void => {
    if (plain !== '') inlines.push({ kind: 'text', text: plain });
    plain = '';
  };
  for (let at = 0; at < text.length;) {
    const found = depth > MAX_DEPTH ? null : (RULES[text[at]!]?.(text, at, depth, missing) ?? null);
    if (found === null) {
      plain += text[at]!;
      at += 1;
      continue;
    }
    if (found.inline.kind === 'text') plain += found.inline.text;
    else {
      flush();
      inlines.push(found.inline);
    }
    at = found.end;
  }
  flush();
  return inlines;
}

/** Where `close` stands next, from `from` on; -1 is remembered. */
function partner(text: string, close: string, from: number, missing: Set<string>): number {
  if (missing.has(close)) return -1;
  const end = text.indexOf(close, from);
  if (end < 0) missing.add(close);
  return end;
}

const code: Rule = (text, at, _depth, missing) => {
  const mark = /^`+/.exec(text.slice(at, at + 20))![0];
  const end = partner(text, mark, at + mark.length, missing);
  if (end < 0) return { inline: { kind: 'text', text: mark }, end: at + mark.length };
  const inner = text.slice(at + mark.length, end).replaceAll('\n', ' ');
  const isPadded = inner.startsWith(' ') && inner.endsWith(' ') && inner.trim() !== '';
  return {
    inline: { kind: 'code', text: isPadded ? inner.slice(1, -1) : inner },
    end: end + mark.length,
  };
};

function math(text: string, at: number, open: string, close: string, missing: Set<string>): Found | null {
  const end = partner(text, close, at + open.length, missing);
  const tex = text.slice(at + open.length, end).trim();
  if (end < 0 || tex === '') return null;
  const isDisplay = open === '$$' || open === '\\[';
  return { inline: { kind: 'math', tex, isDisplay }, end: end + close.length };
}

const escape: Rule = (text, at, _depth, missing) => {
  const next = text[at + 1] ?? '';
  if (next === '(' || next === '[') {
    const found = math(text, at, `\\${next}`, next === '(' ? '\\)' : '\\]', missing);
    // It may still be arriving.
    return found ?? { inline: { kind: 'text', text: `\\${next}` }, end: at + 2 };
  }
  if (next === '\n') return { inline: { kind: 'break' }, end: at + 2 };
  return ESCAPABLE.test(next) ? { inline: { kind: 'text', text: next }, end: at + 2 } : null;
};

/** Amounts of money are no maths: a formula neither begins nor ends with white space, nor stands before a digit. */
const dollar: Rule = (text, at, _depth, missing) => {
  if (text[at + 1] === '$') return math(text, at, '$$', '$$', missing);
  if (/\s/.test(text[at + 1] ?? ' ')) return null;
  for (let from = at + 1; ;) {
    const end = partner(text, '$', from, missing);
    if (end < 0 || text.slice(at, end).includes('\n\n')) return null;
    const isClosing = !/\s/.test(text[end - 1]!) && text[end - 1] !== '\\' && !/\d/.test(text[end + 1] ?? '');
    if (isClosing && end > at + 1)
      return { inline: { kind: 'math', tex: text.slice(at + 1, end), isDisplay: false }, end: end + 1 };
    if (text[end - 1] !== '\\') return null;
    from = end + 1;
  }
};

const emphasis: Rule = (text, at, depth, missing) => {
  const mark = text[at]!;
  const isWordBefore = at > 0 && WORD.test(text[at - 1]!);
  // snake_case is no emphasis.
  if (mark === '_' && isWordBefore) return null;
  for (const [marks, kind] of [
    [mark.repeat(2), 'strong'],
    [mark, 'emphasis'],
  ] as const) {
    if (!text.startsWith(marks, at)) continue;
    const start = at + marks.length;
    if (/\s/.test(text[start] ?? ' ')) continue;
    const end = closing(text, marks, start, missing);
    if (end < 0) continue;
    return {
      inline: { kind, inlines: parseInlines(text.slice(start, end), depth + 1) },
      end: end + marks.length,
    };
  }
  return null;
};

/** Where marks that opened before `start` close; -1 is remembered: later ones of the same kind find none either. */
function closing(text: string, marks: string, start: number, missing: Set<string>): number {
  const unclosed = `closing ${marks}`;
  if (missing.has(unclosed)) return -1;
  for (let from = start; ;) {
    const end = partner(text, marks, from, missing);
    if (end < 0) {
      missing.add(unclosed);
      return -1;
    }
    // Of three marks the first closes what is inside.
    if (marks.length === 2 && text[end + 2] === marks[0] && text[end + 3] !== marks[0]) return end + 1;
    const isRun = marks.length === 1 && text[end + 1] === marks;
    const isInWord = marks[0] === '_' && WORD.test(text[end + marks.length] ?? ' ');
    if (end > start && !/\s/.test(text[end - 1]!) && text[end - 1] !== '\\' && !isRun && !isInWord)
      return end;
    from = end + (isRun ? 2 : 1);
  }
}

const deleted: Rule = (text, at, depth, missing) => {
  if (!text.startsWith('~~', at) || /\s/.test(text[at + 2] ?? ' ')) return null;
  const end = closing(text, '~~', at + 2, missing);
  if (end < 0) return null;
  return {
    inline: { kind: 'deleted', inlines: parseInlines(text.slice(at + 2, end), depth + 1) },
    end: end + 2,
  };
};

/** A picture in an answer is a link to it: the page loads nothing from elsewhere. */
const link: Rule = (text, at, depth) => {
  const match = LINK.exec(text.slice(at, at + 3000));
  if (match === null) return null;
  const href = safeHref(match[2]!);
  if (href === null) return null;
  const label = match[1] === '' ? href : match[1]!;
  return {
    inline: { kind: 'link', href, inlines: parseInlines(label, depth + 1) },
    end: at + match[0].length,
  };
};

const autolink: Rule = (text, at) => {
  if (at > 0 && WORD.test(text[at - 1]!)) return null;
  const match = AUTOLINK.exec(text.slice(at, at + 2100));
  if (match === null) return null;
  const href = match[1] ?? match[2]!;
  return {
    inline: { kind: 'link', href, inlines: [{ kind: 'text', text: href }] },
    end: at + match[0].length,
  };
};

/** Two spaces at a line's end break it, and so does the end itself: models write verses and addresses so. */
const newline: Rule = (_text, at) => ({ inline: { kind: 'break' }, end: at + 1 });

const RULES: Readonly<Record<string, Rule>> = {
  '`': code,
  '\\': escape,
  $: dollar,
  '*': emphasis,
  _: emphasis,
  '~': deleted,
  '[': link,
  '!': link,
  '<': autolink,
  h: autolink,
  '\n': newline,
};
