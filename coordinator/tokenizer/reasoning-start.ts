// Where the reasoning stands when a prompt ends, and whether an output without a start tag therefore begins inside it.
// Knows tags, not templates: what follows the last marker of a turn is what the model goes on from.
import { THINK_END, THINK_START } from './reasoning-splitter.js';
import type { Tokenizer } from './tokenizer.js';

/**
 * | rule   | an output that does not open the reasoning itself begins inside it              |
 * | prompt | where the prompt ends in an open start tag                                      |
 * | always | whatever the prompt says                                                        |
 * | never  | never: what the output itself does not open is answer                           |
 * | auto   | as prompt; for models that always reason also where the prompt has neither tag  |
 */
export type ReasoningStart = 'auto' | 'prompt' | 'always' | 'never';

/**
 * What the end of a prompt says: the reasoning was opened, was closed again, or was not mentioned since the last turn
 * began.
 */
export type ReasoningAtEnd = 'open' | 'closed' | 'absent';

export interface ReasoningRuleOptions {
  readonly reasoningStart: ReasoningStart;
  /** The model reasons before every answer, even where its template does not open the reasoning. */
  readonly alwaysReasons: boolean;
}

export function reasoningRule({
  reasoningStart,
  alwaysReasons,
}: ReasoningRuleOptions): (atEnd: ReasoningAtEnd) => boolean {
  switch (reasoningStart) {
    case 'always':
      return () => true;
    case 'never':
      return () => false;
    case 'prompt':
      return (atEnd) => atEnd === 'open';
    case 'auto':
      return (atEnd) => atEnd === 'open' || (alwaysReasons && atEnd === 'absent');
  }
}

/** Of a rendered prompt in which tags that users wrote are broken by sentinels. */
export function reasoningAfterText(text: string, tokenizer: Tokenizer): ReasoningAtEnd {
  const start = text.lastIndexOf(THINK_START);
  const end = text.lastIndexOf(THINK_END);
  if (start < 0 && end < 0) return 'absent';
  const tag = Math.max(start, end);
  // A turn that began after the tag: it is of the history.
  if (tokenizer.hasAddedToken(text.slice(tag), isNoTag)) return 'absent';
  return start > end ? 'open' : 'closed';
}

/** Of a client's ids: what stands after the last added token, the tags themselves aside. */
export function reasoningAfterTokens(tokenIds: Uint32Array, tokenizer: Tokenizer): ReasoningAtEnd {
  let first = tokenIds.length;
  for (; first > 0; first--) {
    const added = tokenizer.vocabulary.addedWithId(tokenIds[first - 1]!);
    if (added !== undefined && isNoTag(added.content)) break;
  }
  const text = tokenizer.decode(tokenIds.subarray(first));
  const start = text.lastIndexOf(THINK_START);
  const end = text.lastIndexOf(THINK_END);
  if (start === end) return 'absent';
  return start > end ? 'open' : 'closed';
}

function isNoTag(content: string): boolean {
  return content !== THINK_START && content !== THINK_END;
}
