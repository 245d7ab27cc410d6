// Goal: a thousand lives of the service under faults, in which each request ends once with the tokens of an undisturbed
// run, nothing is left behind and epochs only rise; and the simulator that says so finds what is planted.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { FAULT_KINDS } from './faults.js';
import { PLANTS } from './plants.js';
import { replay, simulateMany } from './run.js';
import { simulate } from './simulation.js';

const NUM_SEEDS = 1_000;

describe('the simulator', function () {
  this.timeout(240_000);

  it(`holds for ${NUM_SEEDS} seeds`, async () => {
    const summary = await simulateMany({ from: 1, count: NUM_SEEDS });
    const [failed] = summary.violations;
    if (failed !== undefined) assert.fail(await replay(failed.seed));
    // It has seen what it is for.
    assert.ok(summary.numEpochs > NUM_SEEDS * 1.2, `${summary.numEpochs} epochs`);
    for (const kind of FAULT_KINDS)
      assert.ok((summary.faults[kind] ?? 0) > 70, `${summary.faults[kind] ?? 0} of ${kind}`);
    assert.ok(summary.outcomes.failed > NUM_SEEDS / 20, `${summary.outcomes.failed} poisoned requests`);
    assert.ok(summary.outcomes.finished > NUM_SEEDS && summary.numInterruptions > NUM_SEEDS / 2);
    assert.ok(summary.numPauses > NUM_SEEDS && summary.numMasks > NUM_SEEDS);
  });

  for (const plant of PLANTS) {
    const { numSeeds = NUM_SEEDS } = plant;
    it(`finds ${plant.name} within ${numSeeds} seeds`, async () => {
      const remove = plant.install();
      try {
        const { violations } = await simulateMany({
          from: 1,
          count: numSeeds,
          stopsAtFirst: true,
          ...plant,
        });
        assert.equal(violations.length, 1);
      } finally {
        remove();
      }
    });
  }

  it('replays a seed event by event, and tells it as a transcript', async () => {
    const digests = [];
    for (let run = 0; run < 2; run += 1) {
      const hash = createHash('sha256');
      let numLines = 0;
      const { numEvents } = await simulate({
        seed: 7,
        trace: (line) => {
          hash.update(`${line}\n`);
          numLines += 1;
        },
      });
      assert.equal(numLines, numEvents);
      digests.push(hash.digest('hex'));
    }
    assert.equal(digests[0], digests[1]);
    assert.match(await replay(7), /^seed 7: .*\n +\d+\.\d{3} {2}/);
  });
});
