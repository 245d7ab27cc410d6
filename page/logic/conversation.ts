// A conversation as data: what was asked, with which pictures, and how far its answer is. Never changed in place, so
// that a view knows by identity what is new.
import type { ChatMessage, ChatUsage } from './api.js';
import type { ErrorText } from './error-text.js';

export interface Picture {
  readonly id: number;
  readonly name: string;
  readonly numBytes: number;
  /** data:image/png;base64,... as it is sent. */
  readonly dataUrl: string;
}

export interface Question {
  readonly text: string;
  readonly pictures: readonly Picture[];
}

/** Sent: no token is there yet. */
export type AnswerStatus = 'sent' | 'reasoning' | 'answering' | 'complete' | 'stopped' | 'failed';

/** In milliseconds of one clock. */
export interface AnswerTimes {
  readonly sentMs: number;
  readonly firstTokenMs: number | null;
  /** Of the answer itself, after the reasoning. */
  readonly firstAnswerMs: number | null;
  readonly endMs: number | null;
}

export interface Answer {
  readonly status: AnswerStatus;
  readonly reasoning: string;
  readonly text: string;
  readonly finishReason: string | null;
  readonly usage: ChatUsage | null;
  readonly times: AnswerTimes;
  readonly error: ErrorText | null;
}

export interface Exchange {
  readonly id: number;
  readonly question: Question;
  readonly answer: Answer;
}

export function isRunning({ status }: Answer): boolean {
  return status === 'sent' || status === 'reasoning' || status === 'answering';
}

export function newAnswer(sentMs: number): Answer {
  return {
    status: 'sent',
    reasoning: '',
    text: '',
    finishReason: null,
    usage: null,
    times: { sentMs, firstTokenMs: null, firstAnswerMs: null, endMs: null },
    error: null,
  };
}

export function addText(answer: Answer, reasoning: string, text: string, nowMs: number): Answer {
  const { times } = answer;
  return {
    ...answer,
    status: answer.text + text === '' ? 'reasoning' : 'answering',
    reasoning: answer.reasoning + reasoning,
    text: answer.text + text,
    times: {
      ...times,
      firstTokenMs: times.firstTokenMs ?? nowMs,
      firstAnswerMs: times.firstAnswerMs ?? (text === '' ? null : nowMs),
    },
  };
}

export function endAnswer(
  answer: Answer,
  end: Pick<Answer, 'status'> & Partial<Pick<Answer, 'error'>>,
  nowMs: number,
): Answer {
  return { ...answer, ...end, times: { ...answer.times, endMs: nowMs } };
}

/** What the next question is asked with. What failed before a word of it was there is left out: it would fail again. */
export function toMessages(
  systemPrompt: string,
  exchanges: readonly Exchange[],
  question: Question,
): ChatMessage[] {
  const messages: ChatMessage[] = [];
  if (systemPrompt.trim() !== '') messages.push({ role: 'system', content: systemPrompt });
  for (const { question: earlier, answer } of exchanges) {
    if (answer.text === '' && answer.status === 'failed') continue;
    messages.push(toMessage(earlier), { role: 'assistant', content: answer.text });
  }
  return [...messages, toMessage(question)];
}

function toMessage({ text, pictures }: Question): ChatMessage {
  if (pictures.length === 0) return { role: 'user', content: text };
  const parts = pictures.map(({ dataUrl }) => ({ type: 'image_url' as const, image_url: { url: dataUrl } }));
  return { role: 'user', content: text === '' ? parts : [...parts, { type: 'text', text }] };
}
