// Writes under a grammar's masks by chance: what a model with random weights does.
import type { Grammar, GrammarHost, GrammarVocabulary } from '../../coordinator/grammar/grammar-host.js';

/** Of several bytes, across whatever JSON has boundaries between. */
const PIECES = [
  '{"',
  '":',
  '": "',
  '", "',
  '"}',
  '"]',
  '}}',
  ', ',
  ' "',
  ':[',
  '],',
  '10',
  '00',
  '99',
  '-1',
  '.5',
  'e1',
  'true',
  'nul',
  'l,',
  'é"',
  '😀',
  '\\n',
  '\\u00',
  '\n\n',
  '    ',
  '</think>',
  'think>\n\n"',
  '<tool_call>',
  'yes"',
];

export const END_ID = 256;

const BYTES = [
  ...Array.from({ length: 256 }, (_, byte) => Buffer.of(byte)),
  Buffer.alloc(0),
  ...PIECES.map((piece) => Buffer.from(piece)),
];

/** Every byte, the end, and pieces. */
export const SMALL_VOCABULARY: GrammarVocabulary = {
  tokens: BYTES,
  // Some rows are padding.
  size: 300,
  stopTokenIds: [END_ID],
};

export function allowedIds(mask: Uint32Array): number[] {
  return Array.from({ length: mask.length * 32 }, (_, id) => id).filter(
    (id) => ((mask[id >>> 5]! >>> (id & 31)) & 1) === 1,
  );
}

const MAX_TOKENS = 400;

/** Null: it did not come to an end. What may end is ended rather soon. */
export async function writeAtRandom(
  host: GrammarHost,
  session: number,
  grammar: Grammar,
  random: () => number,
  tokens: readonly Uint8Array[] = BYTES,
): Promise<string | null> {
  const options = { eosTokenIds: [END_ID], stopTokenIds: [END_ID], minTokens: 0 };
  const chunks: Uint8Array[] = [];
  let mask = await host.open(session, grammar, options, []);
  try {
    while (chunks.length < MAX_TOKENS) {
      const ids = allowedIds(mask);
      if (ids.length === 0) throw new Error('no token is allowed');
      if (ids.includes(END_ID) && (ids.length === 1 || random() < 0.5))
        return Buffer.concat(chunks).toString();
      const others = ids.filter((id) => id !== END_ID);
      const id = others[Math.floor(random() * others.length)]!;
      chunks.push(tokens[id]!);
      mask = await host.accept(session, [id]);
    }
    return null;
  } finally {
    host.close(session);
  }
}
