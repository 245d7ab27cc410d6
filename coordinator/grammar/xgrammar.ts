// The one file that knows the xgrammar library: WebAssembly behind an interface for browsers, written as a script that
// looks for Node in global names.
import { createRequire } from 'node:module';
import type * as Library from '@mlc-ai/web-xgrammar';

export type { CompiledGrammar, GrammarCompiler, GrammarMatcher } from '@mlc-ai/web-xgrammar';

type XGrammarLibrary = Pick<typeof Library, 'GrammarCompiler' | 'GrammarMatcher' | 'TokenizerInfo'>;

export interface XGrammar {
  readonly library: XGrammarLibrary;
  /** What it has complained of since it was last asked: it ends calls with that, and says no more. */
  takeComplaint(): string | null;
}

/** "[FATAL] /path/to/file.cc:12: what it is". */
const PREFIX = /^\[[A-Z]+\] \S+:\d+: /;

let loaded: Promise<XGrammar> | null = null;

/** One for the thread: after an abort its memory is not to be trusted any more. */
export function loadXGrammar(): Promise<XGrammar> {
  loaded ??= load();
  return loaded;
}

async function load(): Promise<XGrammar> {
  const require = createRequire(import.meta.url);
  const __filename = require.resolve('@mlc-ai/web-xgrammar');
  const globals = globalThis as {
    require?: unknown;
    __filename?: unknown;
    xgrammar?: XGrammarLibrary;
    console: object;
  };
  Object.assign(globals, { require, __filename });
  // As a module it exports nothing: it leaves itself among the global names.
  await import('@mlc-ai/web-xgrammar');
  const library = globals.xgrammar!;
  delete globals.xgrammar;
  const complaints: string[] = [];
  // It takes hold of the console with its first call, and complains there ever after.
  const console = globals.console;
  const listen = (...words: unknown[]): void => void complaints.push(words.map(String).join(' '));
  globals.console = { ...console, log: listen, warn: listen, error: listen };
  try {
    (await library.TokenizerInfo.createTokenizerInfo(['a'], 'raw', false, 1, [0])).dispose();
  } finally {
    globals.console = console;
    delete globals.require;
    delete globals.__filename;
  }
  const takeComplaint = (): string | null =>
    complaints
      .splice(0)
      .find((line) => PREFIX.test(line))
      ?.replace(PREFIX, '') ?? null;
  return { library, takeComplaint };
}
