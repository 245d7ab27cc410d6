// Who is admitted, of those that wait: priorities, ageing, the even shares of clients, and what the queue takes. Drives
// the scheduler from outside and counts what comes out.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { AppError } from '../../../../common/errors.js';
import type { SchedulerConfig } from '../../../../coordinator/scheduler/step-plan.js';
import { SchedulerDriver, SMALL_CONFIG, type DriverSubmission } from '../../../support/scheduler-driver.js';

const ROOMY: SchedulerConfig = { ...SMALL_CONFIG, numBlocks: 64, maxWaiting: 2_000 };

function submission(sequenceId: string, fields: Partial<DriverSubmission> = {}): DriverSubmission {
  return { sequenceId, numPromptTokens: 4, maxTokens: 1, ...fields };
}

/** Runs until nothing waits; who was admitted, in order. */
function admissions(driver: SchedulerDriver): string[] {
  const admitted: string[] = [];
  for (let round = 0; round < 10_000; round += 1) {
    const plan = driver.schedule();
    admitted.push(...(plan?.newSequences ?? []).map(({ sequenceId }) => sequenceId));
    if (driver.inFlight.length > 0) driver.complete();
    else if (plan === null) return admitted;
  }
  return assert.fail('still busy');
}

describe('who is admitted next', () => {
  it('is the best priority, and of one priority who came first', () => {
    const driver = new SchedulerDriver({ ...ROOMY, maxNumSequences: 1 });
    for (const [index, priority] of [3, 0, -2, 0, 3].entries())
      driver.submit(submission(`${index}`, { priority }));
    assert.deepEqual(admissions(driver), ['2', '1', '3', '0', '4']);
  });

  it('is a second client after one request of a first that floods, however many it has sent', () => {
    const driver = new SchedulerDriver({ ...ROOMY, maxNumSequences: 1 });
    for (let index = 0; index < 1_000; index += 1) driver.submit(submission(`a${index}`, { client: 'a' }));
    driver.schedule();
    driver.complete();
    driver.submit(submission('b', { client: 'b' }));
    // It begins where the first stands, who is first of equals.
    assert.deepEqual(admissions(driver).slice(0, 3), ['a1', 'b', 'a2']);
  });

  it('pays a client that comes back no credit for what it did not ask for meanwhile', () => {
    const driver = new SchedulerDriver({ ...ROOMY, maxNumSequences: 1 });
    driver.submit(submission('early', { client: 'b' }));
    for (let index = 0; index < 60; index += 1) driver.submit(submission(`a${index}`, { client: 'a' }));
    for (let round = 0; round < 40; round += 1) {
      driver.schedule();
      driver.complete();
    }
    for (let index = 0; index < 20; index += 1) driver.submit(submission(`b${index}`, { client: 'b' }));
    const first = admissions(driver).slice(0, 20);
    const ofB = first.filter((id) => id.startsWith('b')).length;
    assert.ok(ofB >= 9 && ofB <= 11, `${ofB} of 20 are of the client that came back`);
  });

  it('counts tokens, not requests: long ones of one client against short ones of another', () => {
    const driver = new SchedulerDriver({ ...ROOMY, maxNumSequences: 1, maxStepTokens: 64 });
    for (let index = 0; index < 40; index += 1) {
      driver.submit(submission(`long${index}`, { client: 'a', numPromptTokens: 38 }));
      driver.submit(submission(`short${index}`, { client: 'b', numPromptTokens: 6 }));
    }
    // 40 and 8 tokens in the weights of prompts and answers.
    const first = admissions(driver).slice(0, 24);
    const numLong = first.filter((id) => id.startsWith('long')).length;
    assert.ok(numLong >= 3 && numLong <= 5, `${numLong} of 24 are long`);
  });

  it('forgets a client with the last of its sequences', () => {
    const driver = new SchedulerDriver(ROOMY);
    for (let index = 0; index < 50; index += 1)
      driver.submit(submission(`${index}`, { client: `c${index}` }));
    assert.equal(driver.scheduler.stats.numClients, 50);
    driver.cancel('7');
    driver.drain();
    assert.equal(driver.scheduler.stats.numClients, 0);
  });

  it('keeps the age of the first of each client, not of a queue: an old flood does not overtake what is better', () => {
    const driver = new SchedulerDriver({ ...ROOMY, maxNumSequences: 1, ageingIntervalMs: 100 });
    for (let index = 0; index < 20; index += 1) driver.submit(submission(`bulk${index}`, { priority: 1 }));
    const admitted: string[] = [];
    // One better request comes in every step of 10 ms: of ten admissions one is left for what has waited 100 ms.
    for (let step = 1; step <= 100; step += 1) {
      driver.submit(submission(`better${step}`, { client: 'b', arrivedMs: 10 * step }));
      const plan = driver.schedule({ nowMs: 10 * step });
      admitted.push(...plan!.newSequences.map(({ sequenceId }) => sequenceId));
      driver.complete();
    }
    const numBulk = admitted.filter((id) => id.startsWith('bulk')).length;
    assert.ok(numBulk >= 7 && numBulk <= 10, `${numBulk} of ${admitted.length} are bulk`);
  });
});

// Goal: nobody starves. Whatever better requests keep coming, the first of a client is admitted once it has waited for
// an interval for each step of priority, as soon as a slot comes free.
describe('ageing', () => {
  it('bounds the wait of the first of each client', () => {
    const lows = fc.array(fc.record({ priority: fc.integer({ min: 1, max: 5 }), atStep: fc.nat(40) }), {
      minLength: 1,
      maxLength: 4,
    });
    fc.assert(
      fc.property(lows, fc.integer({ min: 1, max: 3 }), (all, maxNumSequences) => {
        const interval = 50;
        const driver = new SchedulerDriver({ ...ROOMY, maxNumSequences, ageingIntervalMs: interval });
        const waits = new Map<string, number>();
        for (let step = 0; step < 140; step += 1) {
          const nowMs = 10 * step;
          all.forEach(({ priority, atStep }, index) => {
            if (atStep !== step) return;
            const fields = { client: `low${index}`, priority, arrivedMs: nowMs, maxTokens: 3 };
            driver.submit(submission(`low${index}`, fields));
          });
          for (let index = 0; index < maxNumSequences; index += 1)
            driver.submit(
              submission(`high${step}.${index}`, { client: 'high', arrivedMs: nowMs, maxTokens: 3 }),
            );
          for (const { sequenceId } of driver.schedule({ nowMs })?.newSequences ?? [])
            waits.set(sequenceId, step);
          if (driver.inFlight.length > 0) driver.complete();
        }
        all.forEach(({ priority, atStep }, index) => {
          const admitted = waits.get(`low${index}`);
          assert.ok(admitted !== undefined, `low${index} was admitted`);
          // Steps of an interval, of those low ones before it, and until a slot is free.
          const bound = (interval / 10) * priority + 6 * all.length + 6;
          assert.ok(admitted - atStep <= bound, `low${index}: ${admitted - atStep} steps; at most ${bound}`);
        });
      }),
      { numRuns: 20 },
    );
  });
});

// Goal: clients that always have something waiting get the same, within the bound of the paper: twice what one prompt
// costs or what can run at once, whichever is more (theorem 4.4, for any span of time).
describe('the shares of clients', () => {
  const lengths = fc.record({
    prompt: fc.integer({ min: 1, max: 24 }),
    answer: fc.integer({ min: 1, max: 20 }),
  });
  const clients = fc.array(fc.array(lengths, { minLength: 1, maxLength: 5 }), { minLength: 2, maxLength: 4 });
  const config = { ...SMALL_CONFIG, numBlocks: 24, maxWaiting: 10_000, ageingIntervalMs: 1_000_000 };

  it('differ by no more than the bound, whatever their prompts and answers are', () => {
    fc.assert(
      fc.property(clients, fc.integer({ min: 1, max: 4 }), fc.boolean(), (all, slots, prefixCaching) => {
        const driver = new SchedulerDriver({ ...config, maxNumSequences: slots, prefixCaching });
        const served = new Map(all.map((_, index) => [`c${index}`, 0]));
        const seen = new Set<string>();
        let number = 0;
        const give = (id: string, cost: number): void => {
          const client = id.split('-')[0]!;
          served.set(client, served.get(client)! + cost);
        };
        const history: number[][] = [];
        for (let step = 0; step < 150; step += 1) {
          // Every client has more that wait than a plan can admit: none of them ever ceases to wait.
          all.forEach((kinds, index) => {
            const client = `c${index}`;
            const numWaiting = [...driver.outputs.keys()].filter(
              (id) => id.startsWith(`${client}-`) && !seen.has(id),
            ).length;
            for (let missing = numWaiting; missing <= slots; missing += 1) {
              const { prompt, answer } = kinds[number % kinds.length]!;
              number += 1;
              const fields = { client, numPromptTokens: prompt, maxTokens: answer, family: `${number}` };
              driver.submit(submission(`${client}-${number}`, fields));
            }
          });
          const plan = driver.schedule();
          for (const { sequenceId, tokenIds, numComputedTokens } of plan?.newSequences ?? []) {
            if (seen.has(sequenceId)) continue;
            seen.add(sequenceId);
            give(sequenceId, tokenIds.length - numComputedTokens + 0.1 * numComputedTokens);
          }
          if (driver.inFlight.length > 0) for (const { sequenceId } of driver.complete()) give(sequenceId, 2);
          history.push([...served.values()]);
        }
        const bound = 2 * Math.max(24, 2 * config.numBlocks * config.blockSize);
        for (let from = 0; from < history.length; from += 25) {
          for (let to = from + 1; to < history.length; to += 10) {
            const shares = history[to]!.map((value, index) => value - history[from]![index]!);
            const spread = Math.max(...shares) - Math.min(...shares);
            assert.ok(spread <= bound, `steps ${from} to ${to}: ${shares.join(', ')}; the bound is ${bound}`);
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  it('are even in the end, of clients that ask for quite different things', () => {
    const driver = new SchedulerDriver({ ...config, maxNumSequences: 2, maxStepTokens: 32 });
    const served = { long: 0, short: 0 };
    for (let index = 0; index < 400; index += 1) {
      driver.submit(submission(`long-${index}`, { client: 'long', numPromptTokens: 24, maxTokens: 12 }));
      driver.submit(submission(`short-${index}`, { client: 'short', numPromptTokens: 4, maxTokens: 2 }));
    }
    for (let step = 0; step < 400; step += 1) {
      for (const { sequenceId, tokenIds } of driver.schedule()?.newSequences ?? [])
        served[sequenceId.split('-')[0] as 'long' | 'short'] += tokenIds.length;
      if (driver.inFlight.length === 0) continue;
      for (const { sequenceId } of driver.complete())
        served[sequenceId.split('-')[0] as 'long' | 'short'] += 2;
    }
    const share = served.long / (served.long + served.short);
    assert.ok(Math.abs(share - 0.5) < 0.05, `the share of long requests is ${share}`);
  });
});

describe('the bounds of the queue', () => {
  const refuses = (driver: SchedulerDriver, next: DriverSubmission): void =>
    assert.throws(
      () => driver.submit(next),
      (error) => error instanceof AppError && error.code === 'QUEUE_FULL',
    );

  it('keep an eighth beyond the limit for clients that hold less than that', () => {
    const driver = new SchedulerDriver({ ...ROOMY, maxWaiting: 16 });
    for (let index = 0; index < 16; index += 1) driver.submit(submission(`a${index}`, { client: 'a' }));
    refuses(driver, submission('a16', { client: 'a' }));
    for (const id of ['b0', 'b1']) driver.submit(submission(id, { client: 'b' }));
    refuses(driver, submission('b2', { client: 'b' }));
    refuses(driver, submission('c', { client: 'c' }));
  });

  it('count tokens too, and take a longer one where nothing waits', () => {
    const driver = new SchedulerDriver({ ...ROOMY, maxWaitingTokens: 40 });
    driver.submit(submission('longer', { numPromptTokens: 50 }));
    refuses(driver, submission('next', { numPromptTokens: 1, client: 'a' }));
    driver.schedule();
    driver.submit(submission('a', { numPromptTokens: 38, client: 'a' }));
    refuses(driver, submission('a2', { numPromptTokens: 3, client: 'a' }));
    driver.submit(submission('b', { numPromptTokens: 5, client: 'b' }));
    refuses(driver, submission('b2', { numPromptTokens: 5, client: 'b' }));
    driver.drain();
  });
});
