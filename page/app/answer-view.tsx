// One answer: its reasoning, folded once the answer begins; the answer; what it took; or what went wrong, and when to
// try again.
import type { JSX } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { isRunning, type Answer } from '../logic/conversation.js';
import type { ErrorText } from '../logic/error-text.js';
import { formatCount, formatSeconds, significant } from '../logic/format.js';
import { ChevronIcon } from './icons.js';
import { CopyButton, Markdown } from './markdown.js';

/** What came at once, since the page or the way to it was busy, says nothing of how long it took. */
const MIN_STREAMED_MS = 50;

export interface AnswerViewProps {
  readonly answer: Answer;
  /** Null: something else is being answered. */
  readonly onAgain: (() => void) | null;
}

export function AnswerView({ answer, onAgain }: AnswerViewProps): JSX.Element {
  const { status, reasoning, text, error } = answer;
  const running = isRunning(answer);
  return (
    <article class="answer" aria-label="Answer" aria-busy={running}>
      {reasoning !== '' && <Reasoning answer={answer} />}
      {status === 'sent' && <p class="waiting">Waiting for the first token</p>}
      {text !== '' && (
        <div class={running ? 'prose arriving' : 'prose'}>
          <Markdown text={text} />
        </div>
      )}
      {status === 'stopped' && <p class="ended">Stopped{text === '' ? ' before the answer began' : ''}.</p>}
      {answer.finishReason === 'length' && (
        <p class="ended">The answer ends here because its limit of tokens was reached.</p>
      )}
      {status === 'complete' && text === '' && reasoning === '' && <p class="ended">The answer is empty.</p>}
      {error !== null && <ErrorCard error={error} onAgain={onAgain} />}
      {!running && (
        <footer class="answer-foot">
          {error === null && <Figures answer={answer} />}
          <span class="answer-actions">
            {text !== '' && <CopyButton text={text} label="Copy the answer" />}
            {onAgain !== null && error === null && (
              <button type="button" class="quiet" onClick={onAgain}>
                Ask again
              </button>
            )}
          </span>
        </footer>
      )}
    </article>
  );
}

/**
 * While only reasoning is there, its last lines show in a window that follows them; then it folds, and is the reader's
 * to open.
 */
function Reasoning({ answer }: { readonly answer: Answer }): JSX.Element {
  const { reasoning, status, times } = answer;
  const isArriving = status === 'reasoning';
  const [isOpen, setOpen] = useState(false);
  const body = useRef<HTMLDivElement>(null);
  const showsAll = isOpen;
  useLayoutEffect(() => {
    if (isArriving && !showsAll) body.current!.scrollTop = body.current!.scrollHeight;
  }, [reasoning, isArriving, showsAll]);
  const endMs = times.firstAnswerMs ?? times.endMs;
  const tookMs = times.firstTokenMs === null || endMs === null ? 0 : endMs - times.firstTokenMs;
  const took = tookMs < MIN_STREAMED_MS ? '' : ` for ${formatSeconds(tookMs / 1000)}`;
  return (
    <section class={`reasoning${isArriving ? ' arriving' : ''}${isOpen ? ' open' : ''}`}>
      <button type="button" class="quiet" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        <ChevronIcon />
        {isArriving ? 'Reasoning' : `Reasoned${took}`}
      </button>
      {(isArriving || isOpen) && (
        <div ref={body} class="reasoning-text prose" tabIndex={0} role="group" aria-label="Reasoning">
          <Markdown text={reasoning} />
        </div>
      )}
    </section>
  );
}

function Figures({ answer }: { readonly answer: Answer }): JSX.Element | null {
  const { usage, times } = answer;
  const { sentMs, firstTokenMs, endMs } = times;
  const figures: [name: string, value: string][] = [];
  if (usage !== null) {
    const { promptTokens, completionTokens, cachedTokens } = usage;
    figures.push(['tokens', formatCount(completionTokens)]);
    const streamedMs = firstTokenMs === null || endMs === null ? 0 : endMs - firstTokenMs;
    if (completionTokens > 1 && streamedMs >= MIN_STREAMED_MS) {
      const rate = ((completionTokens - 1) * 1000) / streamedMs;
      figures.push(['tokens/s', significant(rate)]);
    }
    const cached = cachedTokens === 0 ? '' : ` (${formatCount(cachedTokens)} cached)`;
    figures.push([`in the prompt${cached}`, formatCount(promptTokens)]);
  }
  if (firstTokenMs !== null) figures.push(['to first token', formatSeconds((firstTokenMs - sentMs) / 1000)]);
  if (endMs !== null) figures.push(['in all', formatSeconds((endMs - sentMs) / 1000)]);
  if (figures.length === 0) return null;
  return (
    <ul class="figures" aria-label="What the answer took">
      {figures.map(([name, value]) => (
        <li>
          <b>{value}</b> {name}
        </li>
      ))}
    </ul>
  );
}

interface ErrorCardProps {
  readonly error: ErrorText;
  readonly onAgain: (() => void) | null;
}

function ErrorCard({ error, onAgain }: ErrorCardProps): JSX.Element {
  const { title, advice, message, code, requestId, retryAfterMs } = error;
  const waitS = useCountdown(retryAfterMs ?? 0);
  return (
    <div class="error" role="alert">
      <strong>{title}</strong>
      {advice !== '' && <p>{advice}</p>}
      {message !== '' && <p class="error-message">{message}</p>}
      <p class="error-code">
        <code>{code}</code>
        {requestId !== null && (
          <>
            {' '}
            request <code>{requestId}</code>
          </>
        )}
      </p>
      {onAgain !== null && (
        <button type="button" class="secondary" onClick={onAgain}>
          {waitS > 0 ? `Try again (better in ${waitS} s)` : 'Try again'}
        </button>
      )}
    </div>
  );
}

/** Whole seconds that are left of `ms`. */
function useCountdown(ms: number): number {
  const [leftS, setLeftS] = useState(Math.ceil(ms / 1000));
  useEffect(() => {
    const endMs = performance.now() + ms;
    const timer = setInterval(() => {
      const left = Math.max(0, Math.ceil((endMs - performance.now()) / 1000));
      setLeftS(left);
      if (left === 0) clearInterval(timer);
    }, 250);
    return () => clearInterval(timer);
  }, [ms]);
  return leftS;
}
