// How the cases of the serving benchmark are written: PROMPT:TOKENS:BATCH and what differs from the defaults, as in
// text:128:16, text:128:16:recommended, text:7000:1:new=1:times=3. Runs nothing.

export interface Case {
  readonly prompt: 'picture' | 'photograph' | 'repeat' | 'text';
  /** Of text. */
  readonly promptTokens: number;
  /** Requests at once. */
  readonly batch: number;
  readonly sampling: 'greedy' | 'recommended';
  /** Of each answer; 1: only first tokens are measured. */
  readonly newTokens: number;
  readonly repetitions: number;
}

export type CaseDefaults = Pick<Case, 'newTokens' | 'repetitions'>;

const CASE =
  /^(picture|photograph|repeat|text):([1-9]\d*):([1-9]\d*)(?::(greedy|recommended))?(?::new=([1-9]\d*))?(?::times=([1-9]\d*))?$/;

/** Throws for what is no case. */
export function parseCases(list: string, defaults: CaseDefaults): Case[] {
  return list.split(',').map((words) => {
    const match = CASE.exec(words);
    if (match === null) {
      throw new Error(
        `--cases: "${words}" is not picture, photograph, repeat or text, then :TOKENS:BATCH, perhaps :recommended, ` +
          ':new=TOKENS, :times=REPETITIONS',
      );
    }
    const [, prompt, tokens, batch, sampling = 'greedy', newTokens, times] = match;
    return {
      prompt,
      promptTokens: Number(tokens),
      batch: Number(batch),
      sampling,
      newTokens: newTokens === undefined ? defaults.newTokens : Number(newTokens),
      repetitions: times === undefined ? defaults.repetitions : Number(times),
    } as Case;
  });
}
