// Values that a file exports another file names: otherwise they are the file's own, or dead. Types may stand in the
// signature of what is used.
import assert from 'node:assert/strict';
import { readSource, sourceFiles } from '../support/source-files.js';

const EXPORT = /^export (?:abstract )?(?:async )?(?:const|let|function\*?|class|enum) ([A-Za-z_$][\w$]*)/gm;

/** Values that `text` exports where it declares them. */
export function exportsOf(text: string): string[] {
  return [...text.matchAll(EXPORT)].map(([, name = '']) => name);
}

/** `FILE: NAME` of what no other file's words contain; by words alone, so a name that many files use goes unseen. */
export function unusedExports(sources: ReadonlyMap<string, string>): string[] {
  const filesOfWord = new Map<string, number>();
  for (const text of sources.values())
    for (const word of new Set(text.match(/[A-Za-z_$][\w$]*/g)))
      filesOfWord.set(word, (filesOfWord.get(word) ?? 0) + 1);
  return [...sources].flatMap(([file, text]) =>
    exportsOf(text)
      .filter((name) => (filesOfWord.get(name) ?? 0) < 2)
      .map((name) => `${file}: ${name}`),
  );
}

/** What no source file names: mocha itself does. */
const NAMED_ELSEWHERE = new Set(['test/support/hooks.ts: mochaHooks']);

describe('exports', () => {
  it('are found where they are declared', () => {
    const text =
      'export const A = 1;\nexport async function b() {}\nexport abstract class C {}\nconst D = 2;\n';
    assert.deepEqual(exportsOf(text), ['A', 'b', 'C']);
    assert.deepEqual(
      unusedExports(
        new Map([
          ['one.ts', text],
          ['two.ts', 'A; C;'],
        ]),
      ),
      ['one.ts: b'],
    );
  });

  it('are named by another file', () => {
    const files = sourceFiles().filter((file) => /\.(ts|tsx|mjs)$/.test(file));
    const sources = new Map(files.map((file) => [file, readSource(file)]));
    // Test files export what they try by itself, for whoever reads a failure.
    const unused = unusedExports(sources).filter((line) => !/^test\/.*\.test\.ts: /.test(line));
    assert.deepEqual(
      unused.filter((line) => !NAMED_ELSEWHERE.has(line)),
      [],
    );
  });
});
