// Asks a real cluster the held-out questions of models/r1v-nano, many at a time, and compares the answers exactly. Used
// by the command in main.ts and, with fewer questions, by tests.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createLogger } from '../../common/logger.js';
import type { ClusterConfig } from '../../coordinator/config.js';
import { generate } from '../../coordinator/engine/generate.js';
import type { RequestSpec } from '../../coordinator/requests/request-spec.js';
import { installedWorkerEntry } from '../../coordinator/serving/worker-entry.js';
import { Serving } from '../../coordinator/serving/serving.js';

export interface Question {
  readonly id: string;
  readonly task: string;
  readonly picture: string;
  readonly question: string;
  readonly answer: string;
}

export interface EvaluatedAnswer {
  readonly id: string;
  readonly task: string;
  readonly answer: string;
  readonly isRight: boolean;
  readonly tokenIds: readonly number[];
  /** Of its prompt, those that needed no computing. */
  readonly cachedTokens: number;
}

export interface Evaluation {
  readonly answers: readonly EvaluatedAnswer[];
  readonly numRight: number;
  readonly generatedTokens: number;
  readonly seconds: number;
}

export interface EvaluationOptions {
  readonly config: ClusterConfig;
  readonly questions: readonly Question[];
  /** Questions in flight at once. */
  readonly concurrency: number;
  readonly onAnswer?: (done: number) => void;
}

/** Longest reasoning of the training set is below it. */
const MAX_TOKENS = 160;

// This file runs as dist/bench/evaluation/evaluate.js.
export const NANO_FOLDER = fileURLToPath(new URL('../../../models/r1v-nano/', import.meta.url));

export function readQuestions(): Question[] {
  return JSON.parse(readFileSync(join(NANO_FOLDER, 'evaluation', 'questions.json'), 'utf8')) as Question[];
}

export async function evaluate(options: EvaluationOptions): Promise<Evaluation> {
  const { config, questions, concurrency } = options;
  const signal = new AbortController().signal;
  const serving = await Serving.start({
    config,
    logger: createLogger({
      level: config.logLevel,
      defaultLevel: 'warn',
      component: 'evaluation',
    }),
    workerEntry: installedWorkerEntry,
    onProgress: () => {},
    signal,
  });
  try {
    const answers = new Array<EvaluatedAnswer>(questions.length);
    const started = performance.now();
    let next = 0;
    let done = 0;
    const askInTurn = async (): Promise<void> => {
      for (let index = next++; index < questions.length; index = next++) {
        answers[index] = await ask(serving, questions[index]!, signal);
        options.onAnswer?.(++done);
      }
    };
    await Promise.all(Array.from({ length: Math.min(concurrency, questions.length) }, askInTurn));
    return {
      answers,
      numRight: answers.filter(({ isRight }) => isRight).length,
      generatedTokens: answers.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0),
      seconds: (performance.now() - started) / 1000,
    };
  } finally {
    await serving.stop();
  }
}

async function ask(serving: Serving, question: Question, signal: AbortSignal): Promise<EvaluatedAnswer> {
  const data = readFileSync(join(NANO_FOLDER, 'evaluation', question.picture));
  const input: RequestSpec = {
    requestId: question.id,
    prompt: {
      kind: 'chat',
      messages: [
        {
          role: 'user',
          parts: [
            { type: 'picture', picture: { data, label: question.picture } },
            { type: 'text', text: question.question },
          ],
        },
      ],
    },
    sampling: { temperature: 0, maxTokens: MAX_TOKENS },
  };
  const generation = generate(serving.engine, input, signal);
  const tokenIds: number[] = [];
  let answer = '';
  let cachedTokens = 0;
  for await (const delta of generation.deltas) {
    tokenIds.push(...delta.tokenIds);
    answer += delta.answer;
    cachedTokens = delta.end?.usage.cachedTokens ?? 0;
  }
  answer = answer.trim();
  const isRight = answer === question.answer;
  return { id: question.id, task: question.task, answer, isRight, tokenIds, cachedTokens };
}
