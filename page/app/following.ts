// Following an answer while it arrives: with the eyes, as long as the reader stays at the end of the page; and with a
// screen reader, which is told whole paragraphs and not every token.
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Answer, Exchange } from '../logic/conversation.js';
import { newSentences, type Spoken } from '../logic/spoken.js';

/** So close to the end, in pixels, counts as being there. */
const NEAR_PX = 80;

export function useFollowedEnd(exchanges: readonly Exchange[], isShown: boolean): void {
  const isAtEnd = useRef(true);
  const numExchanges = exchanges.length;
  useEffect(() => {
    const onScroll = (): void => {
      const { scrollHeight, scrollTop, clientHeight } = document.documentElement;
      isAtEnd.current = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    };
    addEventListener('scroll', onScroll, { passive: true });
    return () => removeEventListener('scroll', onScroll);
  }, []);
  // Who asks wants to see the answer, wherever they were.
  useLayoutEffect(() => {
    isAtEnd.current = true;
  }, [numExchanges]);
  useLayoutEffect(() => {
    if (isShown && isAtEnd.current && numExchanges > 0)
      document.documentElement.scrollTop = document.documentElement.scrollHeight;
  }, [exchanges, isShown, numExchanges]);
}

/** What is to be said of the answer, one entry after the other. */
export function useSpokenAnswer(answer: Answer | null): readonly { id: number; text: string }[] {
  const state = useRef<{ sentMs: number; spoken: Spoken | null; numSaid: number }>({
    ...{ sentMs: -1, spoken: null, numSaid: 0 },
  });
  const [said, setSaid] = useState<readonly { id: number; text: string }[]>([]);
  useEffect(() => {
    if (answer === null) return;
    const known = state.current;
    const isNew = answer.times.sentMs !== known.sentMs;
    const [sentences, spoken] = newSentences(answer, isNew ? null : known.spoken);
    state.current = { sentMs: answer.times.sentMs, spoken, numSaid: known.numSaid + sentences.length };
    if (sentences.length === 0) return;
    const fresh = sentences.map((text, index) => ({ id: known.numSaid + index, text }));
    setSaid((before) => (isNew ? fresh : [...before, ...fresh]));
  }, [answer]);
  return said;
}
