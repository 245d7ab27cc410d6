// The bundled model through real clusters: right answers, and the same token ids whatever the world size, the batch or
// the chunks. bench/evaluation asks all 500 questions; here a part of them, for time.
import assert from 'node:assert/strict';

import {
  evaluate,
  NANO_FOLDER,
  readQuestions,
  type Evaluation,
  type Question,
} from '../../bench/evaluation/evaluate.js';
import { toClusterConfig } from '../../coordinator/config.js';

type Dtype = 'float32' | 'bfloat16';

/** Every ninth question, so that all tasks are among them. */
const QUESTIONS = readQuestions().filter((_, index) => index % 9 === 0);
const SUITE_TIMEOUT_MS = 300_000;

interface Setting {
  readonly worldSize: number;
  readonly dtype: Dtype;
  readonly concurrency: number;
  readonly maxStepTokens?: number;
  readonly questions?: readonly Question[];
  readonly prefixCaching?: boolean;
  readonly visionParallel?: 'tensor' | 'data';
}

function ask(setting: Setting): Promise<Evaluation> {
  const {
    worldSize,
    dtype,
    concurrency,
    maxStepTokens = 512,
    questions = QUESTIONS,
    prefixCaching = true,
    visionParallel = 'tensor',
  } = setting;
  const config = toClusterConfig({
    model: NANO_FOLDER,
    tensorParallelSize: worldSize,
    device: 'cpu',
    dtype,
    visionParallel,
    collective: 'auto',
    loadFormat: 'auto',
    maxModelLength: 512,
    maxNumSequences: 16,
    maxStepTokens,
    prefixCaching,
    stepTimeout: 300,
    hangTimeout: 60,
  });
  return evaluate({ config, questions, concurrency });
}

function tokenIds({ answers }: Evaluation): (readonly number[])[] {
  return answers.map((answer) => answer.tokenIds);
}

describe('r1v-nano', function () {
  this.timeout(SUITE_TIMEOUT_MS);

  for (const dtype of ['float32', 'bfloat16'] as const) {
    describe(dtype, () => {
      let single: Evaluation;
      before(async () => {
        single = await ask({ worldSize: 1, dtype, concurrency: 16 });
      });

      it('answers at least 95 % of held-out questions right at world size 1', () => {
        assert.ok(single.numRight >= 0.95 * QUESTIONS.length, `${single.numRight} of ${QUESTIONS.length}`);
      });

      for (const worldSize of [2, 4]) {
        it(`gives the same answers at world size ${worldSize}`, async () => {
          const group = await ask({ worldSize, dtype, concurrency: 16 });
          const different = group.answers.filter(
            ({ answer }, index) => answer !== single.answers[index]?.answer,
          ).length;
          const allowed = dtype === 'float32' ? 0 : Math.floor(0.01 * QUESTIONS.length);
          assert.ok(
            different <= allowed,
            `${different} of ${QUESTIONS.length} answers differ; ${allowed} may`,
          );
        });
      }

      it('gives the same token ids alone, among 15 others, and in chunks', async () => {
        const few = QUESTIONS.slice(0, 16);
        const together = await ask({ worldSize: 2, dtype, concurrency: 16, questions: few });
        const alone = await ask({ worldSize: 2, dtype, concurrency: 1, questions: few });
        const chunked = await ask({
          worldSize: 2,
          dtype,
          concurrency: 16,
          maxStepTokens: 24,
          questions: few,
        });
        assert.deepEqual(tokenIds(alone), tokenIds(together));
        assert.deepEqual(tokenIds(chunked), tokenIds(together));
      });

      it('gives the same token ids whatever it finds in the cache', async () => {
        const few = QUESTIONS.slice(0, 8);
        const cold = await ask({ worldSize: 2, dtype, concurrency: 1, questions: few, prefixCaching: false });
        // Each question is asked twice in a row, then all of them at once.
        const twice = few.flatMap((question) => [question, question]);
        const warm = await ask({ worldSize: 2, dtype, concurrency: 1, questions: twice });
        const crowded = await ask({ worldSize: 2, dtype, concurrency: 16, questions: twice });
        assert.deepEqual(
          tokenIds(cold).flatMap((ids) => [ids, ids]),
          tokenIds(warm),
        );
        assert.deepEqual(tokenIds(crowded), tokenIds(warm));
        assert.ok(cold.answers.every(({ cachedTokens }) => cachedTokens === 0));
        const repeated = warm.answers.filter((_, index) => index % 2 === 1);
        assert.ok(repeated.every(({ cachedTokens }) => cachedTokens >= 64));
      });
    });
  }
});
