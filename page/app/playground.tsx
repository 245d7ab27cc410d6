// The view in which the model is asked: the conversation, the question that is being written, and the settings beside
// it.
import type { JSX } from 'preact';
import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { ClusterReport } from '../../common/cluster-report.js';
import { type Api } from '../logic/api.js';
import { ChatSession } from '../logic/chat-session.js';
import type { Exchange, Question } from '../logic/conversation.js';
import { formatCount } from '../logic/format.js';
import { hasProblem, toSampling } from '../logic/sampling-fields.js';
import { AnswerView } from './answer-view.js';
import { Composer, Thumbnails } from './composer.js';
import { useObserved } from './hooks.js';
import { SlidersIcon } from './icons.js';
import { filesOf } from './picked-pictures.js';
import { NO_SETTINGS, SamplingPanel, type Settings } from './sampling-panel.js';
import { useFollowedEnd, useSpokenAnswer } from './following.js';

export interface PlaygroundProps {
  readonly api: Api;
  readonly report: ClusterReport | null;
  readonly isShown: boolean;
}

export function Playground({ api, report, isShown }: PlaygroundProps): JSX.Element {
  const [settings, setSettings] = useState(NO_SETTINGS);
  const session = useSession(api, settings);
  const { exchanges, isRunning } = session;
  const [editedId, setEditedId] = useState<number | null>(null);
  const [dropped, setDropped] = useState<readonly File[]>([]);
  const [isPanelOpen, setPanelOpen] = useState(() => matchMedia('(min-width: 70.01rem)').matches);
  const supportsPictures = report?.model.supports_pictures ?? true;
  const obstacle = hasProblem(settings.texts) ? 'A setting is not valid' : null;
  const isDropping = useDrop(isShown, setDropped);
  useFollowedEnd(exchanges, isShown);
  const spoken = useSpokenAnswer(exchanges.at(-1)?.answer ?? null);
  useEscape(isRunning && isShown, () => session.stop());

  const settingsButton = useRef<HTMLButtonElement>(null);
  const closePanel = (): void => {
    setPanelOpen(false);
    settingsButton.current!.focus();
  };
  const ask = (question: Question): void => {
    setEditedId(null);
    void session.ask(question);
  };
  return (
    <main id="playground-main" class="playground" tabIndex={-1} hidden={!isShown}>
      <h1 class="unseen">Playground</h1>
      <div class={exchanges.length === 0 ? 'conversation-column begins' : 'conversation-column'}>
        {exchanges.length === 0 ? (
          <Welcome report={report} />
        ) : (
          <ol class="conversation" aria-label="Conversation">
            {exchanges.map((exchange) => (
              <li key={exchange.id}>
                <ExchangeView
                  exchange={exchange}
                  isEdited={exchange.id === editedId}
                  isRunning={isRunning}
                  supportsPictures={supportsPictures}
                  onEdit={(isEdited) => setEditedId(isEdited ? exchange.id : null)}
                  onAsk={(question) => {
                    setEditedId(null);
                    void session.edit(exchange.id, question);
                    focusQuestion();
                  }}
                  onAgain={() => {
                    void session.again(exchange.id);
                    focusQuestion();
                  }}
                />
              </li>
            ))}
          </ol>
        )}
        <div class="asking">
          <Composer
            label="Your question"
            placeholder={exchanges.length === 0 ? 'Ask something' : 'Ask something else'}
            supportsPictures={supportsPictures}
            isRunning={isRunning}
            obstacle={obstacle}
            dropped={dropped}
            onAsk={ask}
            onStop={() => session.stop()}
          />
          <div class="asking-foot">
            <span class="keys">
              <kbd>Enter</kbd> asks, <kbd>Shift</kbd> <kbd>Enter</kbd> begins a line, <kbd>Esc</kbd> stops
            </span>
            {exchanges.length > 0 && (
              <button type="button" class="quiet" onClick={() => session.clear()}>
                New conversation
              </button>
            )}
            <button
              ref={settingsButton}
              type="button"
              class="quiet"
              aria-expanded={isPanelOpen}
              aria-controls="settings"
              onClick={() => setPanelOpen(!isPanelOpen)}
            >
              <SlidersIcon />
              Settings
            </button>
          </div>
        </div>
      </div>
      <aside
        id="settings"
        class="settings"
        aria-label="Settings"
        hidden={!isPanelOpen}
        onKeyDown={(event) => {
          if (event.key !== 'Escape') return;
          event.stopPropagation();
          closePanel();
        }}
      >
        <div class="settings-head">
          <h2>Settings</h2>
          <button type="button" class="secondary" onClick={closePanel}>
            Done
          </button>
        </div>
        <SamplingPanel
          settings={settings}
          defaults={report?.model.sampling_defaults ?? {}}
          onChange={setSettings}
        />
      </aside>
      <div class="unseen" role="log" aria-live="polite" aria-label="The answer as it arrives">
        {spoken.map(({ id, text }) => (
          <p key={id}>{text}</p>
        ))}
      </div>
      {isDropping && <div class="drop-target">Drop the picture here</div>}
    </main>
  );
}

/** What was pressed is gone with the answer that it belonged to: who has no mouse goes on where questions are asked. */
function focusQuestion(): void {
  document.querySelector<HTMLElement>('.asking textarea')!.focus();
}

function useSession(api: Api, settings: Settings): ChatSession {
  const current = useRef(settings);
  current.current = settings;
  const [session] = useState(
    () =>
      new ChatSession({
        api,
        nowMs: () => performance.now(),
        settings: () => ({
          systemPrompt: current.current.systemPrompt,
          sampling: toSampling(current.current.texts),
        }),
      }),
  );
  useObserved(useCallback((listener: () => void) => session.observe(listener), [session]));
  return session;
}

interface ExchangeViewProps {
  readonly exchange: Exchange;
  readonly isEdited: boolean;
  readonly isRunning: boolean;
  readonly supportsPictures: boolean;
  readonly onEdit: (isEdited: boolean) => void;
  readonly onAsk: (question: Question) => void;
  readonly onAgain: () => void;
}

function ExchangeView(props: ExchangeViewProps): JSX.Element {
  const { exchange, isEdited, isRunning, supportsPictures, onEdit, onAsk, onAgain } = props;
  const { question, answer } = exchange;
  const change = useFocusAfter(isEdited);
  // Most answers stay as they are while the last one grows.
  const answerView = useMemo(
    () => <AnswerView answer={answer} onAgain={isRunning ? null : onAgain} />,
    [answer, isRunning],
  );
  if (isEdited) {
    return (
      <Composer
        label="Change the question"
        placeholder=""
        initial={question}
        supportsPictures={supportsPictures}
        isRunning={false}
        obstacle={isRunning ? 'An answer is arriving' : null}
        onAsk={onAsk}
        onStop={() => undefined}
        onCancel={() => onEdit(false)}
      />
    );
  }
  return (
    <>
      <div class="question" role="group" aria-label="Question">
        {question.pictures.length > 0 && <Thumbnails pictures={question.pictures} onRemove={null} />}
        {question.text !== '' && <p>{question.text}</p>}
      </div>
      <p class="question-foot">
        <button ref={change} type="button" class="quiet" disabled={isRunning} onClick={() => onEdit(true)}>
          Change
        </button>
      </p>
      {answerView}
    </>
  );
}

/** The element takes the focus once what stood in its place is gone. */
function useFocusAfter(isReplaced: boolean): { current: HTMLButtonElement | null } {
  const ref = useRef<HTMLButtonElement | null>(null);
  const wasReplaced = useRef(false);
  useEffect(() => {
    if (wasReplaced.current && !isReplaced) ref.current?.focus();
    wasReplaced.current = isReplaced;
  }, [isReplaced]);
  return ref;
}

function Welcome({ report }: { readonly report: ClusterReport | null }): JSX.Element {
  if (report === null) return <div class="welcome" aria-hidden="true" />;
  const { model, state } = report;
  const { name, supports_pictures: supportsPictures, max_model_len: length } = model;
  return (
    <div class="welcome">
      <h2>{name}</h2>
      {state === 'ready' ? (
        <p>
          {supportsPictures
            ? 'Ask about a picture, or anything that text alone can ask. '
            : 'Ask anything that text alone can ask. '}
          Reasoning shows as it comes, and folds when the answer begins. A conversation may have{' '}
          {formatCount(length)} tokens, and is gone when this page is closed.
        </p>
      ) : (
        <p>
          The model takes no questions at the moment. <a href="#cluster">What the cluster is doing</a>
        </p>
      )}
    </div>
  );
}

function useEscape(isActive: boolean, onEscape: () => void): void {
  useEffect(() => {
    if (!isActive) return undefined;
    const onKeyDown = (event: KeyboardEvent): void => {
      if (event.key === 'Escape' && !event.isComposing) onEscape();
    };
    document.addEventListener('keydown', onKeyDown);
    return () => document.removeEventListener('keydown', onKeyDown);
  });
}

/** Files may be dropped anywhere; whether some are held over the page. */
function useDrop(isActive: boolean, onDrop: (files: readonly File[]) => void): boolean {
  const [isOver, setOver] = useState(false);
  useEffect(() => {
    if (!isActive) return undefined;
    const hasFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes('Files') === true;
    const over = (event: DragEvent): void => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setOver(true);
    };
    const leave = (event: DragEvent): void => {
      // Into another element of the page is not out of it.
      if (event.relatedTarget === null) setOver(false);
    };
    const drop = (event: DragEvent): void => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setOver(false);
      onDrop(filesOf(event.dataTransfer));
    };
    const listeners = [
      ['dragover', over],
      ['dragleave', leave],
      ['drop', drop],
    ] as const;
    for (const [type, listener] of listeners) document.addEventListener(type, listener);
    return () => {
      for (const [type, listener] of listeners) document.removeEventListener(type, listener);
    };
  }, [isActive, onDrop]);
  return isOver;
}
