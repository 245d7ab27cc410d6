// Goal: hundreds of lives of workers that outlive their coordinators, with rivals, kills and restarts, in which no
// two coordinators drive one worker in one epoch, epochs rise and weights are read once; and the simulation that says
// so finds what is planted.
import assert from 'node:assert/strict';
import { EpochGuard } from '../../../worker/epoch-guard.js';
import { RankService } from '../../../worker/rank-service.js';
import { CoordinatorIdentity } from '../../../coordinator/cluster/identity.js';
import { CoordinatorWatch } from '../../../worker/coordinator-watch.js';
import { replaceMethod } from '../plants.js';
import { simulateSuccession, type SuccessionFault, type SuccessionResult } from './succession.js';

const NUM_SEEDS = 300;
const MAX_LINES = 300;

async function replay(seed: number): Promise<string> {
  const lines: string[] = [];
  const { violation, faults } = await simulateSuccession({ seed, trace: (line) => lines.push(line) });
  return [`seed ${seed}: ${violation} (faults: ${faults.join(', ')})`, ...lines.slice(-MAX_LINES)].join('\n');
}

/** The seed of the first violation; null: there is none. */
async function firstViolation(count: number): Promise<SuccessionResult | null> {
  for (let seed = 1; seed <= count; seed += 1) {
    const result = await simulateSuccession({ seed });
    if (result.violation !== null) return result;
  }
  return null;
}

describe('the succession of coordinators', function () {
  this.timeout(240_000);

  it(`holds for ${NUM_SEEDS} seeds`, async () => {
    const faults = new Map<SuccessionFault, number>();
    let [numCoordinators, numEpochs, numAnswers] = [0, 0, 0];
    for (let seed = 1; seed <= NUM_SEEDS; seed += 1) {
      const result = await simulateSuccession({ seed });
      if (result.violation !== null) assert.fail(await replay(seed));
      for (const fault of result.faults) faults.set(fault, (faults.get(fault) ?? 0) + 1);
      numCoordinators += result.numCoordinators;
      numEpochs += result.numEpochs;
      numAnswers += result.numAnswers;
    }
    // It has seen what it is for.
    assert.equal(faults.size, 6);
    for (const [fault, count] of faults) assert.ok(count > 0.2 * NUM_SEEDS, `${count} of ${fault}`);
    assert.ok(numCoordinators > 2 * NUM_SEEDS, `${numCoordinators} coordinators`);
    assert.ok(numEpochs > 1.5 * NUM_SEEDS, `${numEpochs} epochs`);
    assert.ok(numAnswers > 5 * NUM_SEEDS, `${numAnswers} answers`);
  });

  async function finds(name: string, pattern: RegExp, plant: () => () => void): Promise<void> {
    const remove = plant();
    try {
      const result = await firstViolation(NUM_SEEDS);
      assert.match(result?.violation ?? `${name} is not found`, pattern);
    } finally {
      remove();
    }
  }

  it('finds a worker that takes a second coordinator', () =>
    finds('it', /was robbed/, () =>
      replaceMethod(
        EpochGuard.prototype,
        'open',
        (open) =>
          function (this: EpochGuard, fence, silentMs) {
            this.release();
            open.call(this, fence, silentMs);
          },
      ),
    ));

  it('finds epochs that do not rise', () =>
    finds('it', /./, () => replaceMethod(CoordinatorIdentity.prototype, 'nextEpoch', () => () => 7)));

  it('finds weights that are read again', () =>
    finds('it', /has read its weights 2 times/, () =>
      replaceMethod(
        RankService.prototype,
        'load',
        (load) =>
          function (this: RankService, request, send) {
            const weightsHash = `${request.weightsHash} of ${request.fence?.groupEpoch}`;
            return load.call(this, { ...request, weightsHash }, send);
          },
      ),
    ));

  it('finds workers that never end without a coordinator', () =>
    finds('it', /workers without a coordinator ended with/, () =>
      replaceMethod(CoordinatorWatch.prototype, 'leaseLost', () => () => undefined),
    ));
});
