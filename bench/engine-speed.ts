// How fast one group decodes and answers first, straight through the addon: no service, no network. Random weights,
// made on the device. Prints one JSON object.
//
//   node dist/bench/engine-speed.js --model skywork-r1v3-38b --device cuda:0 --batches 1,16 [--world-size N]
//   [--no-graphs]
import { parseArgs } from 'node:util';

import { resolveModel } from '../coordinator/checkpoint/known-models.js';
import { LocalGroup } from '../test/support/local-group.js';
import { makeNewSequence } from '../test/support/native-plans.js';
import { summary } from './statistics.js';

const PICTURE_TILES = 5;
const QUESTION_TOKENS = 64;
const NEW_TOKENS = 128;
const BLOCK_SIZE = 16;
const MAX_LENGTH = 2048;

interface Sample {
  readonly batch: number;
  readonly firstMs: readonly number[];
  readonly stepMs: readonly number[];
}

/** Deterministic ids and pixels; their values do not matter to the time they take. */
function makeIds(count: number, vocabSize: number, salt: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, index) => (index * 7919 + salt * 104_729 + 11) % vocabSize);
}

class Bench {
  constructor(
    readonly group: LocalGroup,
    readonly vocabSize: number,
    readonly tileBytes: number,
    readonly tokensPerTile: number,
    readonly useGraphs: boolean,
  ) {}

  /** Prefills `batch` sequences one after the other, then decodes them together. */
  async run(batch: number, withPicture: boolean, promptTokens: number, newTokens: number): Promise<Sample> {
    const { group } = this;
    const tiles = withPicture ? PICTURE_TILES : 0;
    const length = promptTokens + tiles * this.tokensPerTile;
    const blocksEach = Math.ceil((length + newTokens) / BLOCK_SIZE);
    const firstMs: number[] = [];
    for (let slot = 0; slot < batch; slot++) {
      const pixels = new Uint8Array(tiles * this.tileBytes).map((_, index) => (index * 31 + slot) & 255);
      const startMs = performance.now();
      if (withPicture)
        await group.putPicture(
          slot,
          Array.from({ length: tiles }, (_, tile) => slot * tiles + tile),
          pixels,
        );
      await group.step({
        newSequences: [
          makeNewSequence(slot, makeIds(length, this.vocabSize, slot), {
            pictures: withPicture ? [{ pictureId: slot, firstPosition: 16 }] : [],
          }),
        ],
        encodeItems: withPicture ? [{ pictureId: slot, tileStart: 0, tileEnd: tiles }] : [],
        newBlocks: Uint32Array.from({ length: 2 * blocksEach }, (_, index) =>
          index % 2 === 0 ? slot : slot * blocksEach + (index >> 1),
        ),
        scheduledSlots: Uint32Array.of(slot),
        scheduledTokens: Uint32Array.of(length),
      });
      firstMs.push(performance.now() - startMs);
    }
    const slots = Uint32Array.from({ length: batch }, (_, slot) => slot);
    const stepMs: number[] = [];
    for (let step = 1; step < newTokens; step++) {
      const startMs = performance.now();
      await group.step({
        scheduledSlots: slots,
        scheduledTokens: new Uint32Array(batch).fill(1),
        graphBucket: this.useGraphs ? batch : 0,
      });
      stepMs.push(performance.now() - startMs);
    }
    await group.step({ releasedSlots: slots, releasedPictures: withPicture ? slots : new Uint32Array() });
    return { batch, firstMs, stepMs };
  }
}

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'skywork-r1v3-38b' },
    device: { type: 'string', default: 'cuda:0' },
    batches: { type: 'string', default: '1,16' },
    'world-size': { type: 'string', default: '1' },
    'no-graphs': { type: 'boolean', default: false },
    'no-deterministic': { type: 'boolean', default: false },
    tokens: { type: 'string', default: String(NEW_TOKENS) },
  },
});

const batches = values.batches.split(',').map(Number);
const newTokens = Number(values.tokens);
const checkpoint = await resolveModel(values.model, { quantization: 'auto', visionQuantization: 'auto' });
const { text, vision, tiling } = checkpoint.spec;
const mostSequences = Math.max(...batches);
const startMs = performance.now();
const group = await LocalGroup.start({
  checkpoint,
  worldSize: Number(values['world-size']),
  device: values.device,
  deterministic: !values['no-deterministic'],
  computeType: 'bfloat16',
  dummySeed: 1,
  maxNumSequences: Math.max(16, mostSequences),
  maxStepTokens: MAX_LENGTH,
  maxModelLength: MAX_LENGTH,
  numTileSlots: vision === null ? 0 : mostSequences * PICTURE_TILES,
  maxTilesPerStep: 8,
  numKvBlocks: (mostSequences * MAX_LENGTH) / BLOCK_SIZE,
});
const readyMs = performance.now() - startMs;
try {
  const tileBytes = vision === null ? 0 : vision.imageSize ** 2 * 3;
  const bench = new Bench(group, text.vocabSize, tileBytes, tiling?.tokensPerTile ?? 0, !values['no-graphs']);
  const results: Record<string, unknown>[] = [];
  const hasPicture = vision !== null;
  await bench.run(1, hasPicture, QUESTION_TOKENS, 4);
  for (const batch of batches) {
    await bench.run(batch, hasPicture, QUESTION_TOKENS, 4);
    const { firstMs, stepMs } = await bench.run(batch, hasPicture, QUESTION_TOKENS, newTokens);
    results.push({
      batch,
      prompt: hasPicture ? `${PICTURE_TILES} tiles + ${QUESTION_TOKENS} tokens` : `${QUESTION_TOKENS} tokens`,
      first_token_ms: summary(firstMs),
      step_ms: summary(stepMs),
    });
  }
  await bench.run(1, false, 1024, 2);
  const plain = await bench.run(1, false, 1024, newTokens);
  results.push({
    batch: 1,
    prompt: '1024 tokens',
    first_token_ms: summary(plain.firstMs),
    step_ms: summary(plain.stepMs),
  });
  const output = {
    model: values.model,
    dtype: text.awqGroupSize > 0 ? 'awq-int4' : 'bfloat16',
    weights: 'dummy, seed 1',
    world_size: Number(values['world-size']),
    device: values.device,
    graphs: !values['no-graphs'],
    deterministic: !values['no-deterministic'],
    ready_ms: Math.round(readyMs),
    memory: group.loads,
    results,
  };
  process.stdout.write(`${JSON.stringify(output)}\n`);
} finally {
  await group.close();
}
