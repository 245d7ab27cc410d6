// What crosses to a grammar thread and back.
import type { Grammar, GrammarHost, SessionOptions } from './grammar-host.js';

export type GrammarCall =
  /** Answered with the mask of the token behind `tokenIds`. */
  | {
      readonly kind: 'open';
      readonly session: number;
      readonly grammar: Grammar;
      readonly options: SessionOptions;
      readonly tokenIds: readonly number[];
    }
  | { readonly kind: 'accept'; readonly session: number; readonly tokenIds: readonly number[] }
  /** Not answered. */
  | { readonly kind: 'close'; readonly session: number };

/** One for each call but `close`, in order. After a failure the thread is not to be used any more. */
export type GrammarReply =
  | { readonly session: number; readonly mask: Uint32Array }
  | { readonly session: number; readonly failure: string };

type Send = (replies: readonly GrammarReply[], transfer: ArrayBuffer[]) => void;

/** Replies go together, but none waits for a grammar that is compiled after it. */
export async function answerCalls(
  host: GrammarHost,
  calls: readonly GrammarCall[],
  send: Send,
): Promise<void> {
  let replies: GrammarReply[] = [];
  const flush = (): void => {
    if (replies.length === 0) return;
    const buffers = replies.flatMap((reply) => ('mask' in reply ? [reply.mask.buffer as ArrayBuffer] : []));
    send(replies, buffers);
    replies = [];
  };
  for (const call of calls) {
    if (call.kind === 'open') flush();
    const reply = await answer(host, call);
    if (reply !== null) replies.push(reply);
  }
  flush();
}

async function answer(host: GrammarHost, call: GrammarCall): Promise<GrammarReply | null> {
  const { session } = call;
  try {
    if (call.kind === 'close') {
      host.close(session);
      return null;
    }
    const mask =
      call.kind === 'open'
        ? await host.open(session, call.grammar, call.options, call.tokenIds)
        : await host.accept(session, call.tokenIds);
    return { session, mask };
  } catch (error) {
    return { session, failure: (error as Error).message };
  }
}
