// Goal: whatever clients do and however results are delayed, invariants hold after every call, every accepted sequence
// ends, its tokens are those of an undisturbed run, and everything is free in the end.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { AppError } from '../../../../common/errors.js';
import type { SchedulerConfig } from '../../../../coordinator/scheduler/step-plan.js';
import { END_TOKEN, nextToken, SchedulerDriver } from '../../../support/scheduler-driver.js';

describe('scheduler under random lives', () => {
  const configs = fc.record({
    numBlocks: fc.integer({ min: 5, max: 24 }),
    blockSize: fc.constantFrom(1, 3, 4),
    maxNumSequences: fc.integer({ min: 1, max: 5 }),
    maxStepTokens: fc.integer({ min: 5, max: 20 }),
    maxModelLength: fc.integer({ min: 8, max: 80 }),
    maxPlansInFlight: fc.integer({ min: 1, max: 8 }),
    maxWaiting: fc.constant(8),
    maxWaitingTokens: fc.constantFrom(60, 10_000),
    ageingIntervalMs: fc.constantFrom(1, 1_000),
    numTileSlots: fc.integer({ min: 1, max: 6 }),
    maxTilesPerStep: fc.integer({ min: 1, max: 3 }),
    tokensPerTile: fc.integer({ min: 1, max: 4 }),
    graphBuckets: fc.constantFrom([], [1, 2, 4, 5], [2], [3, 4]),
    prefixCaching: fc.boolean(),
    // A seed of nothing, and one with its highest bit set.
    prefixSeed: fc.constantFrom(0, 0xffff_fff1),
  });
  const submissions = fc.record({
    kind: fc.constant('submit' as const),
    family: fc.constantFrom('a', 'b'),
    before: fc.integer({ min: 1, max: 12 }),
    after: fc.integer({ min: 0, max: 6 }),
    tiles: fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 2 }),
    maxTokens: fc.option(fc.integer({ min: 1, max: 30 }), { nil: null }),
    stops: fc.boolean(),
    isMasked: fc.boolean(),
    priority: fc.constantFrom(0, 0, -1, 2),
    client: fc.constantFrom('', 'one', 'other'),
    waitMs: fc.nat({ max: 5 }),
  });
  const actions = fc.oneof(
    { weight: 3, arbitrary: submissions },
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('schedule' as const),
        maxPrefillTokens: fc.constantFrom(0, 1, 5, Infinity),
        maxPlansInFlight: fc.constantFrom(1, 2, 5, Infinity),
      }),
    },
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('complete' as const) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('upload' as const) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('mask' as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('cancel' as const), which: fc.nat({ max: 20 }) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('pause' as const), which: fc.nat({ max: 20 }) }) },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant('unpause' as const), which: fc.nat({ max: 20 }) }),
    },
  );

  const next = (ids: readonly number[]) => (nextToken(ids) % 11 === 0 ? END_TOKEN : nextToken(ids));

  function submit(
    driver: SchedulerDriver,
    config: SchedulerConfig,
    index: number,
    action: {
      family: string;
      before: number;
      after: number;
      tiles: number[];
      maxTokens: number | null;
      stops: boolean;
      isMasked: boolean;
      priority: number;
      client: string;
      waitMs: number;
    },
  ) {
    let position = action.before;
    const pictures = action.tiles.map((numTiles) => {
      const picture = { numTiles, firstPosition: position, contentHash: `picture of ${numTiles}` };
      position += numTiles * config.tokensPerTile + 1;
      return picture;
    });
    const submission = {
      sequenceId: `s${index}`,
      family: action.family,
      numPromptTokens: position + action.after,
      maxTokens: action.maxTokens,
      stopTokenIds: action.stops ? [END_TOKEN] : [],
      isMasked: action.isMasked,
      priority: action.priority,
      client: action.client,
      arrivedMs: index + action.waitMs,
      pictures,
    };
    try {
      driver.submit(submission);
      return submission;
    } catch (error) {
      if (error instanceof AppError) return null;
      throw error;
    }
  }

  it('keeps its invariants, loses nothing and frees everything', () => {
    fc.assert(
      fc.property(configs, fc.array(actions, { maxLength: 120, size: 'max' }), (config, steps) => {
        const driver = new SchedulerDriver(config, next);
        const accepted: NonNullable<ReturnType<typeof submit>>[] = [];
        steps.forEach((action, index) => {
          if (action.kind === 'submit') {
            const submission = submit(driver, config, index, action);
            if (submission !== null) accepted.push(submission);
          } else if (action.kind === 'schedule') {
            const { maxPrefillTokens, maxPlansInFlight } = action;
            driver.schedule({ maxPrefillTokens, maxPlansInFlight });
          } else if (action.kind === 'upload') driver.upload();
          else if (action.kind === 'mask') driver.giveMask();
          else if (action.kind === 'complete' && driver.inFlight.length > 0) driver.complete();
          else if (action.kind === 'cancel' && accepted.length > 0) {
            driver.cancel(accepted[action.which % accepted.length]!.sequenceId);
          } else if ((action.kind === 'pause' || action.kind === 'unpause') && accepted.length > 0)
            driver[action.kind](accepted[action.which % accepted.length]!.sequenceId);
        });
        // Those that go on whatever else is paused come to their end.
        driver.drain();
        for (const { sequenceId } of accepted) {
          const isOver = driver.finished.has(sequenceId);
          assert.ok(
            isOver || driver.isPaused(sequenceId),
            `${sequenceId} is held up by those that are paused`,
          );
          driver.unpause(sequenceId);
        }
        driver.drain();
        for (const submission of accepted) {
          const reason = driver.finished.get(submission.sequenceId);
          assert.ok(reason, `${submission.sequenceId} ended`);
          if (reason === 'cancelled') continue;
          const alone = new SchedulerDriver({ ...config, maxPlansInFlight: 1 }, next);
          alone.submit({ ...submission, hasRun: true });
          alone.drain();
          assert.deepEqual(
            driver.outputs.get(submission.sequenceId),
            alone.outputs.get(submission.sequenceId),
          );
        }
        assert.equal(driver.scheduler.stats.numFreeBlocks, config.numBlocks);
        assert.equal(driver.scheduler.stats.numRunning + driver.scheduler.stats.numWaiting, 0);
      }),
      { numRuns: 500 },
    );
  });
});
