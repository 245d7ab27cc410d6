// What a screen reader is told of an answer that arrives: that the model reasons, then the answer paragraph by
// paragraph as each is whole, then how it ended. Never a token at a time, and no paragraph twice.
import { isRunning, type Answer } from './conversation.js';

export interface Spoken {
  readonly hasReasoned: boolean;
  /** Of the answer's text. */
  readonly numChars: number;
  readonly isEnded: boolean;
}

const NOTHING: Spoken = { hasReasoned: false, numChars: 0, isEnded: false };

/** `spoken`: what was said of this answer before; null: nothing. */
export function newSentences(answer: Answer, spoken: Spoken | null): [sentences: string[], spoken: Spoken] {
  const { hasReasoned, numChars, isEnded } = spoken ?? NOTHING;
  const sentences: string[] = [];
  const reasons = hasReasoned || answer.reasoning !== '';
  if (reasons && !hasReasoned) sentences.push('The model is reasoning.');
  const running = isRunning(answer);
  // The last paragraph may still grow.
  const end = running ? answer.text.lastIndexOf('\n\n') : answer.text.length;
  if (end > numChars) sentences.push(...paragraphsOf(answer.text.slice(numChars, end)));
  if (!running && !isEnded) sentences.push(endOf(answer));
  return [sentences, { hasReasoned: reasons, numChars: Math.max(end, numChars), isEnded: !running }];
}

function paragraphsOf(text: string): string[] {
  return text
    .split(/\n{2,}/)
    .map((paragraph) => paragraph.trim())
    .filter((paragraph) => paragraph !== '');
}

function endOf({ status, finishReason }: Answer): string {
  // An error speaks for itself.
  if (status === 'failed') return 'The answer failed.';
  if (status === 'stopped') return 'The answer was stopped.';
  return finishReason === 'length' ? 'The answer ends at its limit of tokens.' : 'End of the answer.';
}
