// What documents and comments point at exists: links and their headings, paths in code spans, other documents, and the
// folders and files that the table of layers names.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import path from 'node:path/posix';
import { repoPath } from '../support/paths.js';
import { documentFiles, OUR_FOLDERS, readSource, sourceFiles } from '../support/source-files.js';
import { LAYERS } from './typescript-imports.js';

/** A heading's anchor, as GitHub makes it. */
function anchorOf(heading: string): string {
  return heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');
}

/** The text with its fenced code blanked, line by line. */
function withoutCode(text: string): string {
  return text.replace(/^```.*?^```/gms, (code) => code.replace(/[^\n]/g, ''));
}

/** A heading that comes again has its number behind it; a comment in a block of code is none. */
function anchorsIn(text: string): string[] {
  const anchors = [...withoutCode(text).matchAll(/^#+ (.*)$/gm)].map((match) => anchorOf(match[1]!));
  return anchors.map((anchor, index) => {
    const numBefore = anchors.slice(0, index).filter((earlier) => earlier === anchor).length;
    return numBefore === 0 ? anchor : `${anchor}-${numBefore}`;
  });
}

/** Links of a document into the repository that lead nowhere. */
export function deadLinks(
  file: string,
  text: string,
  exists: (target: string) => boolean,
  read: (target: string) => string,
): string[] {
  const dead: string[] = [];
  for (const [, link] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(link!)) continue;
    const [target, anchor] = link!.split('#') as [string, string?];
    const resolved = target === '' ? file : path.join(path.dirname(file), target);
    if (!exists(resolved)) dead.push(`${file}: ${link}`);
    else if (anchor !== undefined && !anchorsIn(read(resolved)).includes(anchor))
      dead.push(`${file}: ${link}: no such heading`);
  }
  return dead;
}

/** Code spans that name a path of the repository which does not exist; braces and stars stand for several. */
export function deadPaths(file: string, text: string, exists: (target: string) => boolean): string[] {
  const spans = [...text.matchAll(/`([^`\n]+)`/g)].map((match) => match[1]!);
  return spans
    .filter((span) => /^[\w.-]+(\/[\w.-]+)*\/?$/.test(span) && OUR_FOLDERS.includes(span.split('/')[0]!))
    .filter((span) => span.includes('/') && !exists(span.replace(/\/$/, '')))
    .map((span) => `${file}: ${span}`);
}

/** Documents that a text names, links aside, and the repository does not hold: by the ends of their paths. */
export function unknownDocuments(file: string, text: string, known: readonly string[]): string[] {
  return [...text.replace(/\]\([^)]*\)/g, ']').matchAll(/[\w-]+(?:\/[\w-]+)*\.md\b/g)]
    .map((match) => match[0])
    .filter((name) => !known.some((document) => `/${document}`.endsWith(`/${name}`)))
    .map((name) => `${file}: ${name}`);
}

/** Rows of a table without a head, which are shown as they are written. */
export function headlessTables(file: string, text: string): string[] {
  const lines = withoutCode(text).split('\n');
  const isRow = (index: number): boolean => lines[index]?.startsWith('|') ?? false;
  return lines
    .map((_, index) => index)
    .filter((index) => isRow(index) && !isRow(index - 1) && !/^\|[ :|-]+\|$/.test(lines[index + 1] ?? ''))
    .map((index) => `${file}:${index + 1}`);
}

const exists = (target: string): boolean => existsSync(repoPath(target));

describe('documents', () => {
  const files = documentFiles();

  it('have links that lead somewhere', () => {
    assert.ok(files.includes('README.md') && files.includes('docs/performance.md'));
    assert.deepEqual(
      files.flatMap((file) => deadLinks(file, readSource(file), exists, readSource)),
      [],
    );
  });

  it('name only folders and files that exist', () => {
    assert.deepEqual(
      files.flatMap((file) => deadPaths(file, readSource(file), exists)),
      [],
    );
  });

  it('have tables with a head', () => {
    assert.deepEqual(headlessTables('a.md', '| a |\n|---|\n| 1 |\n\n```\n| 2 |\n```\n| 3 |\n'), ['a.md:8']);
    assert.deepEqual(
      files.flatMap((file) => headlessTables(file, readSource(file))),
      [],
    );
  });

  it('are in the repository when a comment or a document cites them', () => {
    const citing = [...sourceFiles(), ...files].filter((file) => file !== 'test/tidy/documents.test.ts');
    assert.deepEqual(
      citing.flatMap((file) => unknownDocuments(file, readSource(file), files)),
      [],
    );
  });
});

describe('the table of layers', () => {
  it('names only folders and files that exist', () => {
    const named = Object.entries(LAYERS).flatMap(([layer, allowed]) => [layer, ...allowed]);
    assert.deepEqual(
      named.filter((name) => !exists(name)),
      [],
    );
  });
});

describe('the checks of documents', () => {
  const has = (target: string): boolean => ['docs/a.md', 'native/core'].includes(target);

  it('find dead links, headings, paths and citations', () => {
    const read = (): string => '# One heading: of two\n';
    assert.deepEqual(deadLinks('docs/b.md', '[x](a.md#one-heading-of-two) [y](https://x.y)', has, read), []);
    assert.deepEqual(deadLinks('docs/b.md', '[x](c.md) [y](a.md#other)', has, read), [
      'docs/b.md: c.md',
      'docs/b.md: a.md#other: no such heading',
    ]);
    assert.deepEqual(deadPaths('a.md', '`native/core/` `native/gone` `any/thing` `native`', has), [
      'a.md: native/gone',
    ]);
    assert.deepEqual(
      unknownDocuments('a.ts', '// gone.md, b.md, docs/a/b.md, docs/b.md [x](c.md)', ['docs/a/b.md']),
      ['a.ts: gone.md', 'a.ts: docs/b.md'],
    );
  });

  it('take headings as GitHub does', () => {
    const read = (): string => '# Twice\n```sh\n# a comment\n```\n## Twice\n';
    assert.deepEqual(deadLinks('docs/b.md', '[x](a.md#twice) [y](a.md#twice-1)', has, read), []);
    assert.deepEqual(deadLinks('docs/b.md', '[x](a.md#a-comment) [y](a.md#twice-2)', has, read), [
      'docs/b.md: a.md#a-comment: no such heading',
      'docs/b.md: a.md#twice-2: no such heading',
    ]);
  });
});
