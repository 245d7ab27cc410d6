// Habits of every source file: an opening comment, no leftovers, and a length that fits (long files are listed, with
// the reason, in test/tidy/long-files.json; the rooms that a request crosses have no such exceptions).
import assert from 'node:assert/strict';
import { allFiles, readSource, sourceFiles } from '../support/source-files.js';
import { hasProse, wideLines } from './line-widths.js';

const MAX_LINES = 400;
/** What a request crosses is read by whoever changes any of it. */
const ROOMS = /^coordinator\/(cluster|encoding|engine|executor|gateway|requests|scheduler|serving)\//;
const MAX_ROOM_LINES = 300;
const LEFTOVER = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X', 'HA' + 'CK'].join('|')})\\b`);

interface LongFile {
  readonly lines: number;
  readonly reason: string;
}

/** Whether the first line that is neither a #! line nor empty begins a comment. */
export function opensWithComment(text: string): boolean {
  const first = text
    .replace(/^#!.*\n/, '')
    .split('\n')
    .find((line) => line.trim() !== '');
  return first !== undefined && /^\s*(\/\/|\/\*|#(?!\s*(include|pragma|ifndef|define))|""")/.test(first);
}

export function leftoversIn(text: string): string[] {
  return text.split('\n').filter((line) => LEFTOVER.test(line));
}

/** What the ratchet says of one file: null when it fits, or stays within what is listed for it. */
export function lengthProblem(file: string, numLines: number, listed: LongFile | undefined): string | null {
  if (ROOMS.test(file)) {
    return numLines <= MAX_ROOM_LINES
      ? null
      : `${file} has ${numLines} lines, more than ${MAX_ROOM_LINES}: split it`;
  }
  if (numLines <= MAX_LINES) {
    return listed === undefined
      ? null
      : `${file} has ${numLines} lines: take it off test/tidy/long-files.json`;
  }
  if (listed === undefined)
    return `${file} has ${numLines} lines, more than ${MAX_LINES}: split it, or list it with a reason`;
  if (listed.reason.trim() === '') return `${file} is listed in long-files.json without a reason`;
  return numLines > listed.lines ? `${file} grew from ${listed.lines} to ${numLines} lines: split it` : null;
}

describe('every source file', () => {
  const files = sourceFiles();

  it('opens with a comment that says what it owns', () => {
    // The header speaks for the .cc file of the same name.
    const headers = new Set(files.filter((file) => file.endsWith('.h')));
    const silent = files.filter(
      (file) => !opensWithComment(readSource(file)) && !headers.has(file.replace(/\.(cc|cu)$/, '.h')),
    );
    assert.deepEqual(silent, []);
  });

  it('has no leftovers', () => {
    assert.deepEqual(
      files.flatMap((file) => leftoversIn(readSource(file)).map((line) => `${file}: ${line.trim()}`)),
      [],
    );
  });

  it('fits, or is listed with a reason', () => {
    const listed = JSON.parse(readSource('test/tidy/long-files.json')) as Record<string, LongFile>;
    const problems = files
      .map((file) => lengthProblem(file, readSource(file).trimEnd().split('\n').length, listed[file]))
      .filter((problem) => problem !== null);
    const gone = Object.keys(listed).filter((file) => !files.includes(file));
    assert.deepEqual([...problems, ...gone.map((file) => `${file} is listed and does not exist`)], []);
  });
});

describe('comments and documents', () => {
  it('have lines of at most 120 columns', () => {
    const files = allFiles(hasProse).filter((file) => !file.startsWith('test/golden/'));
    for (const file of [
      'README.md',
      'common/limits.ts',
      'native/CMakeLists.txt',
      'deploy/compose/compose.yaml',
    ])
      assert.ok(files.includes(file), file);
    assert.deepEqual(
      files.flatMap((file) => wideLines(file, readSource(file))),
      [],
    );
  });
});

describe('the checks of source files', () => {
  it('tell an opening comment from code', () => {
    for (const text of [
      '// x\n',
      '#!/usr/bin/env node\n// x',
      '/* x */',
      '# x\nimport os',
      '"""x"""',
      '\n// x',
    ]) {
      assert.ok(opensWithComment(text), text);
    }
    for (const text of ['import x', '#pragma once\n// x', '#include "a.h"', '', '#!/bin/sh\nset -e']) {
      assert.ok(!opensWithComment(text), text);
    }
  });

  it('measure prose, and leave code, tables, and what cannot be broken alone', () => {
    const words = 'long '.repeat(30);
    const link = `https://example.org/${'x'.repeat(120)}`;
    const wide: [string, string][] = [
      ['a.ts', `// ${words}`],
      ['a.cc', `/* ${words}`],
      ['a.ts', `   * ${words}`],
      ['a.ts', `const a = '//'; // ${words}`],
      ['a.py', `# ${words}`],
      ['a.py', `"""${words}\nmore\n"""`],
      ['a.py', `"""\n${words}\n"""\nx = 1`],
      ['a.py', `"""x\n${words}"""\nx(${words})`],
      ['CMakeLists.txt', `set(x) # ${words}`],
      ['a.yaml', `  # ${words}`],
      ['README.md', words],
      ['README.md', `- ${words}`],
      ['README.md', `see ${link}`],
    ];
    for (const [file, text] of wide) assert.equal(wideLines(file, text).length, 1, `${file}: ${text}`);
    const fine: [string, string][] = [
      ['a.ts', `const a = '${words}';`],
      ['a.ts', `const a = 'x // ${words}';`],
      ['a.ts', `// ${link}`],
      ['a.py', `x = """${words}"""`],
      ['a.sh', `echo "# ${words}"`],
      ['README.md', `| ${words} |`],
      ['README.md', `\`\`\`\n${words}\n\`\`\``],
      ['README.md', `- ${link}`],
      ['README.md', 'x'.repeat(120)],
    ];
    for (const [file, text] of fine) assert.deepEqual(wideLines(file, text), [], `${file}: ${text}`);
  });

  it('find leftovers as words only', () => {
    assert.equal(leftoversIn('// ' + 'TO' + 'DO: later').length, 1);
    assert.equal(leftoversIn('const mastodons = 1;').length, 0);
  });

  it('refuse long files, growth, missing reasons and stale entries', () => {
    assert.match(lengthProblem('a.ts', 401, undefined) ?? '', /split it, or list it/);
    assert.match(lengthProblem('a.ts', 501, { lines: 500, reason: 'a table' }) ?? '', /grew from 500 to 501/);
    assert.match(lengthProblem('a.ts', 500, { lines: 500, reason: ' ' }) ?? '', /without a reason/);
    assert.match(lengthProblem('a.ts', 300, { lines: 500, reason: 'a table' }) ?? '', /take it off/);
    assert.equal(lengthProblem('a.ts', 500, { lines: 500, reason: 'a table' }), null);
    assert.equal(lengthProblem('a.ts', 400, undefined), null);
    const inRoom = 'coordinator/engine/a.ts';
    assert.match(
      lengthProblem(inRoom, 301, { lines: 301, reason: 'a table' }) ?? '',
      /more than 300: split it/,
    );
    assert.equal(lengthProblem(inRoom, 300, undefined), null);
  });
});
