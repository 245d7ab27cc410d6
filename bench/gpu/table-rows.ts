// The rows of one GPU's table: what is asked of the service for each, which figure of the answer stands there, which of
// the peers' figures belongs beside it, and what is aimed at. Runs nothing.
import type { Case } from './serving-cases.js';

/** `token`: between two tokens; `first`: the median first token; `last`: from the first call to the last first one. */
export type Figure = 'token' | 'first' | 'last';

export type Shape = Pick<Case, 'promptTokens' | 'batch' | 'newTokens' | 'repetitions'> & {
  readonly prompt: 'text' | 'picture' | 'photograph';
};

export interface TableRow extends Shape {
  readonly name: string;
  readonly figure: Figure;
}

/** The name follows from what is asked. */
function row(figure: Figure, shape: Shape): TableRow {
  const { prompt, promptTokens, batch } = shape;
  const count = promptTokens.toLocaleString('en-US');
  if (figure === 'token') return { ...shape, figure, name: `a token, batch ${batch}` };
  if (figure === 'last')
    return { ...shape, figure, name: `${batch} prompts of ${count} tokens, one token each` };
  if (batch > 1) return { ...shape, figure, name: `${batch} ${prompt}s at once, median first token` };
  return {
    ...shape,
    figure,
    name: prompt === 'text' ? `first token, ${count} tokens of text` : `first token, a ${prompt}`,
  };
}

function text(promptTokens: number, batch: number, newTokens: number, repetitions: number): Shape {
  return { prompt: 'text', promptTokens, batch, newTokens, repetitions };
}

function pictured(prompt: 'picture' | 'photograph', batch: number, repetitions: number): Shape {
  return { prompt, promptTokens: 64, batch, newTokens: 1, repetitions };
}

const PICTURES: readonly TableRow[] = [
  row('first', pictured('picture', 1, 5)),
  row('first', pictured('photograph', 1, 3)),
  row('first', pictured('picture', 16, 2)),
];

/**
 * In the order in which they are asked: of a shape that was asked before no other warm-up is made. A run of 129 tokens
 * is 128 steps, which need no repetition beside the second start of the service.
 */
const ALL: readonly TableRow[] = [
  row('token', text(128, 1, 129, 1)),
  row('token', text(128, 16, 129, 1)),
  row('token', text(128, 64, 129, 1)),
  row('last', text(128, 256, 1, 3)),
  row('token', text(128, 256, 129, 1)),
  row('first', text(1024, 1, 1, 5)),
  row('first', text(7000, 1, 1, 3)),
  ...PICTURES,
];

/** Every kind of row once, as far as the bundled model on processors goes in seconds. */
const TRIAL: readonly TableRow[] = [
  row('token', text(128, 1, 17, 1)),
  row('last', text(128, 4, 1, 2)),
  row('token', text(128, 4, 33, 1)),
  row('first', text(1024, 1, 1, 2)),
  row('first', pictured('picture', 1, 2)),
  row('first', pictured('photograph', 1, 1)),
  row('first', pictured('picture', 4, 1)),
];

/** What the rows of one kind of weights have in common. */
export interface TableModel {
  /** Also in the names of its parts: rows-WORD and rows-WORD-again. */
  readonly word: string;
  readonly model: string;
  readonly serveFlags: readonly string[];
  readonly rows: readonly TableRow[];
  /** Milliseconds, by the row's name. */
  readonly aims: Readonly<Record<string, number>>;
  /** Of the peer; null: not measured beside these. */
  readonly peerPart: string | null;
  readonly hasTransformers: boolean;
}

const NAMES = {
  batch1: 'a token, batch 1',
  batch16: 'a token, batch 16',
  batch64: 'a token, batch 64',
  batch256: 'a token, batch 256',
  prompts: '256 prompts of 128 tokens, one token each',
  short: 'first token, 1,024 tokens of text',
  long: 'first token, 7,000 tokens of text',
  picture: 'first token, a picture',
  photograph: 'first token, a photograph',
  pictures: '16 pictures at once, median first token',
} as const;

function aims(values: Partial<Record<keyof typeof NAMES, number>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(values).map(([key, ms]) => [NAMES[key as keyof typeof NAMES], ms]),
  );
}

const MODEL = 'skywork-r1v3-38b';
const FP8 = ['--quantization', 'fp8'] as const;

export const TABLE_MODELS: readonly TableModel[] = [
  {
    word: 'bf16',
    model: MODEL,
    serveFlags: [],
    rows: ALL,
    aims: aims({
      ...{ batch16: 16.6, batch64: 18.4, batch256: 29, short: 92, long: 640, prompts: 2900 },
      // A photograph: 35 more than the picture.
      ...{ picture: 225, photograph: 260, pictures: 1500 },
    }),
    peerPart: 'vllm-bf16',
    hasTransformers: true,
  },
  {
    word: 'awq',
    model: `${MODEL}-awq`,
    serveFlags: [],
    rows: ALL,
    aims: aims({
      ...{ batch1: 5.4, batch16: 7.5, batch64: 12.5, batch256: 27, short: 84, long: 590, prompts: 2600 },
    }),
    peerPart: 'vllm-awq',
    hasTransformers: false,
  },
  {
    word: 'fp8',
    model: MODEL,
    serveFlags: FP8,
    rows: ALL,
    aims: aims({
      batch1: 8.8,
      batch16: 9.3,
      batch64: 12,
      batch256: 22,
      short: 57,
      long: 420,
      pictures: 1500,
    }),
    peerPart: 'vllm-fp8',
    hasTransformers: false,
  },
  {
    word: 'fp8-tower',
    model: MODEL,
    serveFlags: [...FP8, '--vision-quantization', 'fp8'],
    rows: PICTURES,
    aims: aims({ picture: 150, pictures: 1500 }),
    peerPart: 'vllm-fp8',
    hasTransformers: false,
  },
];

/** The bundled model on processors. `model`: its folder. */
export function trialModels(model: string): readonly TableModel[] {
  return [
    {
      ...{ word: 'nano', model, serveFlags: [], rows: TRIAL },
      ...{ aims: {}, peerPart: null, hasTransformers: false },
    },
  ];
}

/** As the serving benchmark is asked for them. */
export function casesOf(rows: readonly TableRow[]): string {
  return rows
    .map(
      ({ prompt, promptTokens, batch, newTokens, repetitions }) =>
        `${prompt}:${promptTokens}:${batch}:new=${newTokens}:times=${repetitions}`,
    )
    .join(',');
}

/** The parts that measure a model's rows: two starts of the service. */
export function rowParts({ word }: Pick<TableModel, 'word'>): readonly [string, string] {
  return [`rows-${word}`, `rows-${word}-again`];
}
