// Where a question is written: text, pictures by choice, drop or paste; Enter sends. The same for a new question and
// for one that is changed.
import type { JSX } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Picture, Question } from '../logic/conversation.js';
import { CloseIcon, PictureIcon, SendIcon, StopIcon } from './icons.js';
import { filesOf, PICTURE_TYPES, readPictures } from './picked-pictures.js';

export interface ComposerProps {
  readonly label: string;
  readonly placeholder: string;
  readonly initial?: Question;
  readonly supportsPictures: boolean;
  /** An answer arrives: it can be stopped, and nothing else is asked. */
  readonly isRunning: boolean;
  /** Something else keeps a question from being asked; null: nothing does. */
  readonly obstacle: string | null;
  /** Files that were dropped beside it; whoever passes new ones passes a new array. */
  readonly dropped?: readonly File[];
  readonly onAsk: (question: Question) => void;
  readonly onStop: () => void;
  /** Given where there is something to go back to. */
  readonly onCancel?: () => void;
}

const NO_FILES: readonly File[] = [];

export function Composer(props: ComposerProps): JSX.Element {
  const { label, placeholder, initial, supportsPictures, isRunning, obstacle, onAsk, onStop, onCancel } =
    props;
  const { dropped = NO_FILES } = props;
  const [text, setText] = useState(initial?.text ?? '');
  const [pictures, setPictures] = useState<readonly Picture[]>(initial?.pictures ?? []);
  const [problems, setProblems] = useState<readonly string[]>([]);
  const input = useRef<HTMLTextAreaElement>(null);
  const files = useRef<HTMLInputElement>(null);
  useGrowing(input, text);
  useEffect(() => {
    if (initial !== undefined) input.current!.focus();
  }, [initial]);

  const take = async (picked: readonly File[]): Promise<void> => {
    if (picked.length === 0) return;
    if (!supportsPictures) {
      setProblems(['The model that is served takes no pictures.']);
      return;
    }
    const { pictures: taken, problems: found } = await readPictures(picked, pictures);
    setPictures((before) => [...before, ...taken]);
    setProblems(found);
    input.current?.focus();
  };
  useEffect(() => void take(dropped), [dropped]);

  const canAsk = !isRunning && obstacle === null && (text.trim() !== '' || pictures.length > 0);
  const ask = (): void => {
    if (!canAsk) return;
    onAsk({ text: text.trim(), pictures });
    setText('');
    setPictures([]);
    setProblems([]);
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    // Enter that chooses among the candidates of an input method is not meant for us.
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      ask();
    }
    if (event.key === 'Escape' && onCancel !== undefined) {
      event.stopPropagation();
      onCancel();
    }
  };
  const onPaste = (event: ClipboardEvent): void => {
    const pasted = filesOf(event.clipboardData);
    if (pasted.length === 0) return;
    event.preventDefault();
    void take(pasted);
  };
  return (
    <form
      class="composer"
      aria-label={label}
      onSubmit={(event) => {
        event.preventDefault();
        ask();
      }}
    >
      {problems.length > 0 && (
        <ul class="problems" role="alert">
          {problems.map((problem) => (
            <li>{problem}</li>
          ))}
        </ul>
      )}
      {pictures.length > 0 && (
        <Thumbnails
          pictures={pictures}
          onRemove={(id) => {
            setPictures(pictures.filter((each) => each.id !== id));
            input.current?.focus();
          }}
        />
      )}
      <textarea
        ref={input}
        rows={1}
        aria-label={label}
        placeholder={placeholder}
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={onKeyDown}
        onPaste={onPaste}
      />
      <div class="composer-row">
        {supportsPictures && (
          <>
            <button type="button" class="quiet" onClick={() => files.current!.click()}>
              <PictureIcon />
              Add a picture
            </button>
            <input
              ref={files}
              class="unseen"
              type="file"
              tabIndex={-1}
              aria-hidden="true"
              accept={PICTURE_TYPES}
              multiple
              onChange={(event) => {
                void take(Array.from(event.currentTarget.files ?? []));
                // The same file may be chosen again.
                event.currentTarget.value = '';
              }}
            />
          </>
        )}
        <span class="composer-hint">{obstacle ?? (supportsPictures ? 'or drop or paste one' : '')}</span>
        {onCancel !== undefined && (
          <button type="button" class="quiet" onClick={onCancel}>
            Cancel
          </button>
        )}
        {isRunning ? (
          <button type="button" class="primary" onClick={onStop}>
            <StopIcon />
            Stop
          </button>
        ) : (
          <button type="submit" class="primary" aria-disabled={!canAsk}>
            <SendIcon />
            Ask
          </button>
        )}
      </div>
    </form>
  );
}

interface ThumbnailsProps {
  readonly pictures: readonly Picture[];
  /** Null: they stay. */
  readonly onRemove: ((id: number) => void) | null;
}

export function Thumbnails({ pictures, onRemove }: ThumbnailsProps): JSX.Element {
  return (
    <ul class="thumbnails" aria-label="Pictures">
      {pictures.map(({ id, name, dataUrl }) => (
        <li key={id}>
          <img src={dataUrl} alt={name} />
          {onRemove !== null && (
            <button type="button" aria-label={`Remove ${name}`} onClick={() => onRemove(id)}>
              <CloseIcon />
            </button>
          )}
        </li>
      ))}
    </ul>
  );
}

/** As high as its text, up to what the style sheet allows. */
function useGrowing(ref: { readonly current: HTMLTextAreaElement | null }, text: string): void {
  useLayoutEffect(() => {
    const element = ref.current!;
    element.style.height = 'auto';
    element.style.height = `${element.scrollHeight}px`;
  }, [ref, text]);
}
