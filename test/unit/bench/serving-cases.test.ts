// Cases of the serving benchmark as they are written, and what is said of answers of one token.
import assert from 'node:assert/strict';

import { parseCases } from '../../../bench/gpu/serving-cases.js';
import { reportBatch, reportFirstTokens, type Answer } from '../../../bench/gpu/serving-client.js';
import { firstTokenMedians } from '../../../bench/gpu/serving-medians.js';

const DEFAULTS = { newTokens: 129, repetitions: 2 };

function answer(startMs: number, firstMs: number): Answer {
  return {
    startMs,
    arrivals: [{ atMs: firstMs, tokens: 1 }],
    promptTokens: 128,
    pictureTiles: 0,
    server: { queueMs: 0, ttftMs: 0, tpotMs: 0 },
  };
}

describe('cases of the serving benchmark', () => {
  it('say prompt, tokens and batch, and what differs from the defaults', () => {
    const common = { prompt: 'text', promptTokens: 128, batch: 16, sampling: 'greedy', ...DEFAULTS };
    const words = 'text:128:16,text:128:16:recommended,text:128:16:new=1,picture:64:1:greedy:new=1:times=5';
    assert.deepEqual(parseCases(words, DEFAULTS), [
      common,
      { ...common, sampling: 'recommended' },
      { ...common, newTokens: 1 },
      { ...common, prompt: 'picture', promptTokens: 64, batch: 1, newTokens: 1, repetitions: 5 },
    ]);
  });

  it('are refused where they say something else', () => {
    for (const words of [
      'text:128',
      'text:128:0',
      'text:128:1:new=0',
      'text:128:1:times=2:new=1',
      'word:1:1',
    ])
      assert.throws(() => parseCases(words, DEFAULTS), /--cases: "[^"]+" is not picture/, words);
  });
});

describe('answers of one token', () => {
  it('have the first token of each call, and the last of all since the first call', () => {
    // Three calls at 10, 12 and 20.
    const answers = [answer(10, 110), answer(12, 132), answer(20, 320)];
    assert.deepEqual(reportFirstTokens(answers), {
      promptTokens: 128,
      pictureTiles: 0,
      firstTokenMs: [100, 120, 300],
      lastFirstTokenMs: 310,
    });
  });

  it('have medians of first tokens only, and no decoding to speak of', () => {
    const runs = [
      reportFirstTokens([answer(0, 100), answer(0, 200), answer(0, 300)]),
      reportFirstTokens([answer(0, 110), answer(0, 210), answer(0, 340)]),
      reportFirstTokens([answer(0, 120), answer(0, 220), answer(0, 320)]),
    ];
    assert.deepEqual(firstTokenMedians(runs), { firstTokenMs: 210, lastFirstTokenMs: 320 });
    assert.throws(() => reportBatch([answer(0, 100)]), /never decoded together/);
  });
});
