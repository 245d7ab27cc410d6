// How answers are sampled: what is left empty takes the server's default, which stands in the field.
import type { JSX } from 'preact';
import {
  samplingProblem,
  MAIN_FIELDS,
  PENALTY_FIELDS,
  STOP_FIELD,
  stopProblem,
  type SamplingField,
  type SamplingText,
} from '../logic/sampling-fields.js';

export interface Settings {
  readonly systemPrompt: string;
  readonly texts: SamplingText;
}

export const NO_SETTINGS: Settings = { systemPrompt: '', texts: {} };

export interface SamplingPanelProps {
  readonly settings: Settings;
  readonly defaults: Readonly<Record<string, number>>;
  readonly onChange: (settings: Settings) => void;
}

export function SamplingPanel({ settings, defaults, onChange }: SamplingPanelProps): JSX.Element {
  const { systemPrompt, texts } = settings;
  const set = (name: string, text: string): void =>
    onChange({ ...settings, texts: { ...texts, [name]: text } });
  const stop = texts[STOP_FIELD] ?? '';
  const field = (each: SamplingField): JSX.Element => (
    <Field
      key={each.name}
      field={each}
      text={texts[each.name] ?? ''}
      fallback={defaults[each.name]}
      onInput={(text) => set(each.name, text)}
    />
  );
  const isChanged = systemPrompt !== '' || Object.values(texts).some((text) => text !== '');
  return (
    <form class="sampling" aria-label="Settings of answers" onSubmit={(event) => event.preventDefault()}>
      <label class="field wide">
        <span>System prompt</span>
        <textarea
          rows={3}
          value={systemPrompt}
          placeholder="The model’s own"
          onInput={(event) => onChange({ ...settings, systemPrompt: event.currentTarget.value })}
        />
      </label>
      {MAIN_FIELDS.map(field)}
      <fieldset class="penalties">
        <legend>Penalties</legend>
        {PENALTY_FIELDS.map(field)}
      </fieldset>
      <div class="field wide">
        <label>
          <span>Stop strings</span>
          <textarea
            rows={2}
            value={stop}
            placeholder="One a line"
            aria-invalid={stopProblem(stop) !== null}
            aria-describedby="stop-hint"
            onInput={(event) => set(STOP_FIELD, event.currentTarget.value)}
          />
        </label>
        <small id="stop-hint" class={stopProblem(stop) === null ? '' : 'problem'}>
          {stopProblem(stop) ?? 'the answer ends before the first that appears'}
        </small>
      </div>
      <button type="button" class="quiet" disabled={!isChanged} onClick={() => onChange(NO_SETTINGS)}>
        Back to the defaults
      </button>
    </form>
  );
}

interface FieldProps {
  readonly field: SamplingField;
  readonly text: string;
  /** The server's default; undefined: it has none. */
  readonly fallback: number | undefined;
  readonly onInput: (text: string) => void;
}

function Field({ field, text, fallback, onInput }: FieldProps): JSX.Element {
  const { name, label, hint } = field;
  const problem = samplingProblem(field, text);
  const without = name === 'seed' ? 'random' : 'what fits';
  return (
    <div class="field">
      <label>
        <span>{label}</span>
        <input
          type="text"
          inputMode="decimal"
          autocomplete="off"
          value={text}
          placeholder={fallback === undefined ? without : String(fallback)}
          aria-invalid={problem !== null}
          aria-describedby={`${name}-hint`}
          onInput={(event) => onInput(event.currentTarget.value)}
        />
      </label>
      <small id={`${name}-hint`} class={problem === null ? '' : 'problem'}>
        {problem ?? hint}
      </small>
    </div>
  );
}
