// The addon and its process: what may keep it alive, what must not end it, and what stays in memory. Each case runs in
// a process of its own.
import assert from 'node:assert/strict';

import { runAddonScript } from '../../../support/addon-script.js';

describe('native addon in its process', () => {
  it('is collected without close, and leaves no thread behind', async () => {
    const outcome = await runAddonScript(`
      const { readdirSync } = await import('node:fs');
      const threads = () => readdirSync('/proc/self/task').length;
      const before = threads();
      for (let i = 0; i < 20; i++) createNativeEngine(options).onStep(() => {});
      const most = threads();
      const deadline = Date.now() + 10000;
      while (threads() > before && Date.now() < deadline) {
        globalThis.gc();
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      console.log(most >= before + 20, threads() <= before);
    `);
    assert.equal(outcome.stdout, 'true true\n', outcome.stderr);
    assert.equal(outcome.code, 0);
  });

  it('does not keep an idle process alive, loaded and joined or not', async () => {
    const outcome = await runAddonScript(`
      createNativeEngine(options).onStep(() => {});
      globalThis.group = await LocalGroup.start({ checkpoint: golden, worldSize: 2 });
      console.log('idle');
    `);
    assert.deepEqual([outcome.stdout, outcome.stderr, outcome.code], ['idle\n', '', 0]);
  });

  it('lets the process end while a step waits', async () => {
    const outcome = await runAddonScript(`
      const group = await LocalGroup.start({ checkpoint: golden, worldSize: 2 });
      const { engine } = group.ranks[0];
      await LocalGroup.enterCollective(engine, plans.makeStepPlan(1, 1, {
        newSequences: [plans.makeNewSequence(0, Uint32Array.of(1, 2, 3))],
        newBlocks: Uint32Array.of(0, 0),
        scheduledSlots: Uint32Array.of(0),
        scheduledTokens: Uint32Array.of(3),
      }));
      console.log('waits');
      process.exit(0);
    `);
    assert.deepEqual([outcome.stdout, outcome.stderr, outcome.code], ['waits\n', '', 0]);
  });

  it('runs in a worker thread that is terminated while a step waits', async () => {
    const outcome = await runAddonScript(`
      const { Worker } = await import('node:worker_threads');
      const code = \`
        const { parentPort } = require('node:worker_threads');
        (async () => {
          const { LocalGroup } = await import('\${process.cwd()}/dist/test/support/local-group.js');
          const { readCheckpoint } = await import('\${process.cwd()}/dist/coordinator/checkpoint/checkpoint.js');
          const plans = await import('\${process.cwd()}/dist/test/support/native-plans.js');
          const group = await LocalGroup.start({ checkpoint: await readCheckpoint('test/golden/tiny-text'), worldSize: 2 });
          await LocalGroup.enterCollective(group.ranks[0].engine, plans.makeStepPlan(1, 1, {
            newSequences: [plans.makeNewSequence(0, Uint32Array.of(1, 2, 3))],
            newBlocks: Uint32Array.of(0, 0), scheduledSlots: Uint32Array.of(0), scheduledTokens: Uint32Array.of(3),
          }));
          parentPort.postMessage('waits');
          setInterval(() => {}, 1000);
        })();
      \`;
      const worker = new Worker(code, { eval: true, execArgv: [] });
      await new Promise((resolve, reject) => worker.on('message', resolve).on('error', reject));
      await worker.terminate();
      const group = await LocalGroup.start({ checkpoint: golden, worldSize: 1 });
      console.log((await group.generate({ tokenIds: Uint32Array.of(1, 2), numTokens: 2 })).length);
      await group.close();
    `);
    assert.deepEqual([outcome.stdout, outcome.stderr, outcome.code], ['2\n', '', 0]);
  });

  it('gives what a listener throws to the process, and goes on', async () => {
    const outcome = await runAddonScript(`
      const errors = [];
      process.on('uncaughtException', (error) => errors.push(error.message));
      const engine = createNativeEngine(options);
      const outcomes = new Promise((resolve) => {
        let count = 0;
        engine.onStep(() => {
          if (++count === 2) resolve(count);
          throw new Error('listener ' + count);
        });
      });
      engine.submitStep(plans.makeStepPlan(1, 1));
      engine.submitStep(plans.makeStepPlan(1, 2));
      await outcomes;
      await engine.close();
      console.log(errors.join());
    `);
    assert.deepEqual([outcome.stdout, outcome.stderr, outcome.code], ['listener 1,listener 2\n', '', 0]);
  });

  it('holds its slices and one staged tensor while it loads, and nothing once it is closed', async () => {
    const outcome = await runAddonScript(`
      const { mkdtempSync, rmSync } = await import('node:fs');
      const { tmpdir } = await import('node:os');
      const { writeRandomCheckpoint } = await import('./dist/test/support/random-checkpoint.js');
      const folder = mkdtempSync(tmpdir() + '/skein-test-');
      writeRandomCheckpoint(folder, {
        hiddenSize: 512, numLayers: 8, numHeads: 8, numKvHeads: 2, intermediateSize: 2048, vocabSize: 16000,
      });
      const plan = makeShardPlan(await readCheckpoint(folder), { worldSize: 2, visionParallel: 'auto' });
      const loadPlan = plans.toNativeLoadPlan(plan, plan.ranks[0], {
        computeType: 'bfloat16', maxNumSequences: 1, maxStepTokens: 16, blockSize: 16, maxModelLength: 64,
        numTileSlots: 1, maxTilesPerStep: 1, dummySeed: null,
      });
      const engine = createNativeEngine(options);
      globalThis.gc();
      const before = process.memoryUsage().rss;
      const { peakResidentBytes, readBytes, weightBytes } = await engine.load(loadPlan, () => {});
      await engine.close();
      rmSync(folder, { recursive: true });
      console.log(JSON.stringify({ before, peakResidentBytes, readBytes, weightBytes, after: process.memoryUsage().rss }));
    `);
    assert.equal(outcome.code, 0, outcome.stderr);
    const { before, peakResidentBytes, readBytes, weightBytes, after } = JSON.parse(outcome.stdout) as Record<
      'before' | 'peakResidentBytes' | 'readBytes' | 'weightBytes' | 'after',
      number
    >;
    assert.ok(readBytes > 40e6, `${readBytes} bytes are too few to tell`);
    assert.ok(weightBytes < readBytes * 1.02, `${weightBytes} bytes for slices of ${readBytes}`);
    const fixedBytes = 16e6;
    const peak = peakResidentBytes - before;
    assert.ok(
      peak > readBytes * 0.9 && peak < readBytes * 1.1 + fixedBytes,
      `peak ${peak} for slices of ${readBytes}`,
    );
    assert.ok(after - before < fixedBytes, `${after - before} bytes stay`);
  });
});
