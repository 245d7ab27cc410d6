// Markdown as models write it -> blocks of plain data, which a view turns into elements: no HTML is made, and none is
// taken. Headings, paragraphs, lists, quotes, tables, code, rules, emphasis, links and TeX ($$, \[, \(, $). Text that
// is still arriving parses too: what is open at its end is as if it were closed there, or is text.
import { parseInlines, type Inline } from './markdown-inline.js';

export type Block =
  | { readonly kind: 'heading'; readonly level: number; readonly source: string }
  | { readonly kind: 'paragraph'; readonly source: string }
  | { readonly kind: 'code'; readonly language: string; readonly text: string }
  | { readonly kind: 'math'; readonly tex: string }
  | { readonly kind: 'quote'; readonly blocks: readonly Block[] }
  | { readonly kind: 'list'; readonly start: number | null; readonly items: readonly (readonly Block[])[] }
  | {
      readonly kind: 'table';
      readonly head: readonly string[];
      readonly rows: readonly (readonly string[])[];
    }
  | { readonly kind: 'rule' };

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^\s`]*)[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|(\d{1,9})[.)])(\s+|$)/;
const TABLE_RULE = /^ {0,3}\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;
/** A paragraph that opens and closes as displayed maths. */
const DISPLAY = [
  ['$$', '$$'],
  ['\\[', '\\]'],
] as const;
/** Deeper nesting is text: nobody reads it, and each level costs a pass. */
const MAX_DEPTH = 8;
/** Of displayed maths: what is not closed by then is none. */
const MAX_MATH_LINES = 100;

export function parseMarkdown(text: string): Block[] {
  return parseLines(text.replaceAll('\r\n', '\n').split('\n'), 0);
}

export { parseInlines, type Inline };

function parseLines(lines: readonly string[], depth: number): Block[] {
  const blocks: Block[] = [];
  let index = 0;
  while (index < lines.length) {
    const line = lines[index]!;
    if (line.trim() === '') {
      index += 1;
      continue;
    }
    const [block, next] = parseBlock(lines, index, depth);
    blocks.push(block);
    index = next;
  }
  return blocks;
}

/** The block that begins in a line, and the line after it. */
function parseBlock(lines: readonly string[], start: number, depth: number): [Block, number] {
  const line = lines[start]!;
  const fence = FENCE.exec(line);
  if (fence !== null) return parseCode(lines, start, fence);
  const math = parseDisplayMath(lines, start);
  if (math !== null) return math;
  const heading = HEADING.exec(line);
  if (heading !== null)
    return [{ kind: 'heading', level: heading[1]!.length, source: heading[2]! }, start + 1];
  if (RULE.test(line)) return [{ kind: 'rule' }, start + 1];
  if (depth < MAX_DEPTH && QUOTE.test(line)) return parseQuote(lines, start, depth);
  if (depth < MAX_DEPTH && ITEM.test(line)) return parseList(lines, start, depth);
  if (isTable(lines, start)) return parseTable(lines, start);
  let end = start + 1;
  while (end < lines.length && !endsParagraph(lines, end)) end += 1;
  return [{ kind: 'paragraph', source: lines.slice(start, end).join('\n').trim() }, end];
}

function parseCode(lines: readonly string[], start: number, fence: RegExpExecArray): [Block, number] {
  const [, mark, language] = fence;
  const isEnd = (line: string): boolean => {
    const trimmed = line.trim();
    return trimmed.length >= mark!.length && trimmed === mark![0]!.repeat(trimmed.length);
  };
  let end = start + 1;
  while (end < lines.length && !isEnd(lines[end]!)) end += 1;
  return [{ kind: 'code', language: language!, text: lines.slice(start + 1, end).join('\n') }, end + 1];
}

/** Null: none begins here, or it is not closed (yet). */
function parseDisplayMath(lines: readonly string[], start: number): [Block, number] | null {
  const first = lines[start]!.trim();
  const marks = DISPLAY.find(([open]) => first.startsWith(open));
  if (marks === undefined) return null;
  const [open, close] = marks;
  const tex: string[] = [];
  const last = Math.min(lines.length, start + MAX_MATH_LINES);
  for (let index = start; index < last; index += 1) {
    const line = index === start ? first.slice(open.length) : lines[index]!;
    const end = line.indexOf(close);
    if (end < 0) {
      tex.push(line);
      if (line.trim() === '' && index > start) return null;
      continue;
    }
    // What follows on the line makes it a part of a paragraph.
    if (!/^\s*[.,;:]?\s*$/.test(line.slice(end + close.length))) return null;
    tex.push(line.slice(0, end));
    return [{ kind: 'math', tex: tex.join('\n').trim() }, index + 1];
  }
  return null;
}

function parseQuote(lines: readonly string[], start: number, depth: number): [Block, number] {
  let end = start;
  while (end < lines.length && QUOTE.test(lines[end]!)) end += 1;
  const inner = lines.slice(start, end).map((line) => line.replace(QUOTE, ''));
  return [{ kind: 'quote', blocks: parseLines(inner, depth + 1) }, end];
}

function parseList(lines: readonly string[], start: number, depth: number): [Block, number] {
  const first = ITEM.exec(lines[start]!)!;
  const isOrdered = first[3] !== undefined;
  const items: string[][] = [];
  let indent = 0;
  let index = start;
  for (; index < lines.length; index += 1) {
    const line = lines[index]!;
    const item = ITEM.exec(line);
    const current = items.at(-1);
    const isInside = current !== undefined && line.startsWith(' '.repeat(indent)) && line.trim() !== '';
    if (isInside) {
      current.push(line.slice(indent));
    } else if (item !== null && (item[3] !== undefined) === isOrdered && !RULE.test(line)) {
      indent = Math.min(item[0].length, item[1]!.length + item[2]!.length + 1);
      items.push([line.slice(item[0].length)]);
    } else if (line.trim() === '') {
      const next = lines[index + 1] ?? '';
      const goesOn =
        next.startsWith(' '.repeat(indent)) || (ITEM.exec(next)?.[3] !== undefined) === isOrdered;
      if (next.trim() === '' || !goesOn || (!ITEM.test(next) && !next.startsWith(' '.repeat(indent)))) break;
      current?.push('');
    } else if (
      current !== undefined &&
      current.at(-1) !== '' &&
      item === null &&
      !endsParagraph(lines, index)
    ) {
      current.push(line.trim());
    } else break;
  }
  const list = items.map((item) => parseLines(item, depth + 1));
  return [{ kind: 'list', start: isOrdered ? Number(first[3]) : null, items: list }, index];
}

function isTable(lines: readonly string[], start: number): boolean {
  const rule = lines[start + 1];
  return lines[start]!.includes('|') && rule !== undefined && rule.includes('-') && TABLE_RULE.test(rule);
}

function parseTable(lines: readonly string[], start: number): [Block, number] {
  const head = cellsOf(lines[start]!);
  let end = start + 2;
  while (end < lines.length && lines[end]!.includes('|')) end += 1;
  const rows = lines.slice(start + 2, end).map((line) => {
    const cells = cellsOf(line);
    return head.map((_, column) => cells[column] ?? '');
  });
  return [{ kind: 'table', head, rows }, end];
}

function cellsOf(line: string): string[] {
  const inner = line
    .trim()
    .replace(/^\|/, '')
    .replace(/(?<!\\)\|$/, '');
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll('\\|', '|'));
}

function endsParagraph(lines: readonly string[], index: number): boolean {
  const line = lines[index]!;
  return (
    line.trim() === '' ||
    FENCE.test(line) ||
    HEADING.test(line) ||
    RULE.test(line) ||
    QUOTE.test(line) ||
    ITEM.test(line) ||
    isTable(lines, index) ||
    parseDisplayMath(lines, index) !== null
  );
}
