// The addon under values that nobody should give it: fuzzed calls on engines of this process, one after another, and
// beside them an engine that is left alone and must go on giving the same tokens. Ends with 0 when every call returned
// or threw what it may; a process that dies is what whoever started it looks for.
//   node dist/test/support/addon-fuzz-main.js RUNS [SEED]
import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { ERROR_CATALOGUE } from '../../common/errors.js';
import { readCheckpoint } from '../../coordinator/checkpoint/checkpoint.js';
import { makeShardPlan } from '../../coordinator/sharding/make-shard-plan.js';
import { loadAddon } from '../../common/native/load-addon.js';
import type { NativeEngine } from '../../common/native/native.js';
import { apply, harm, THROWN, type Harm } from './hostile-values.js';
import { LocalGroup } from './local-group.js';
import { makeNewSequence, makeSampling, makeStepPlan, toNativeLoadPlan } from './native-plans.js';
import { goldenPath } from './paths.js';

const OPTIONS = { device: 'cpu', numThreads: 1, deterministic: true };
const LIMITS = {
  computeType: 'float32',
  ...{ maxNumSequences: 4, maxStepTokens: 64, blockSize: 16, maxModelLength: 128 },
  ...{ numTileSlots: 1, maxTilesPerStep: 1, dummySeed: null },
} as const;
const SETTLES_WITHIN_MS = 10_000;
const MAX_DEPTH = 3;

const checkpoint = await readCheckpoint(goldenPath('tiny-text'));
const addon = loadAddon('cpu');
type Method = keyof NativeEngine;

const loadPlan = () => {
  const plan = makeShardPlan(checkpoint, { worldSize: 1, visionParallel: 'auto' });
  // Its parts are the checkpoint's: what is done to one call's must not be done to the next one's.
  return structuredClone(toNativeLoadPlan(plan, plan.ranks[0]!, LIMITS));
};
const group = () => ({ groupEpoch: 1, rank: 0, worldSize: 1, collective: 'none', bindHost: '127.0.0.1' });
const stepPlan = () => {
  const sampling = makeSampling({ stopTokenIds: Uint32Array.of(1), logitBiasIds: Uint32Array.of(2) });
  return makeStepPlan(1, 1, {
    releasedSlots: Uint32Array.of(),
    newSequences: [makeNewSequence(0, Uint32Array.of(1, 2, 3), { sampling, pictures: [] })],
    newBlocks: Uint32Array.of(0, 0),
    encodeItems: [{ pictureId: 1, tileStart: 0, tileEnd: 1 }],
    scheduledSlots: Uint32Array.of(0),
    scheduledTokens: Uint32Array.of(3),
  });
};

/** What a caller of ours could give. */
const ARGUMENTS: Readonly<Record<Method, () => unknown[]>> = {
  describe: () => [],
  load: () => [loadPlan(), () => undefined],
  prepareGroup: () => [group()],
  joinGroup: () => [1, [Uint8Array.of(1, 2), new Uint8Array(40)], 8, 100],
  putPixels: () => [1, 3, Uint32Array.of(0), new Uint8Array(2352)],
  memoryUse: () => [],
  inspect: () => ['hidden', 1],
  onStep: () => [() => undefined],
  submitStep: () => [stepPlan()],
  abort: () => [0],
  endEpoch: () => [],
  progress: () => [],
  close: () => [],
};

interface Call {
  readonly method: Method;
  readonly harms: readonly Harm[];
  readonly self: 'engine' | 'proxy' | 'object' | 'nothing' | 'prototype';
  readonly extra: boolean;
}

const call: fc.Arbitrary<Call> = fc.record({
  method: fc.constantFrom(...(Object.keys(ARGUMENTS) as Method[]), 'load', 'submitStep', 'submitStep'),
  harms: fc.array(harm, { minLength: 1, maxLength: 3 }),
  self: fc.oneof(
    { weight: 20, arbitrary: fc.constant('engine' as const) },
    fc.constantFrom('proxy' as const, 'object' as const, 'nothing' as const, 'prototype' as const),
  ),
  extra: fc.boolean(),
});

let engine = null as NativeEngine | null;
let isClosed = false;

async function readyEngine(): Promise<NativeEngine> {
  if (engine !== null && !isClosed) return engine;
  isClosed = false;
  engine = addon.createEngine(OPTIONS);
  engine.onStep(() => undefined);
  await engine.load(loadPlan(), () => undefined);
  return engine;
}

async function run({ method, harms, self, extra }: Call): Promise<void> {
  const target = await readyEngine();
  let depth = 0;
  const give = (): unknown => {
    const values = extra ? [...ARGUMENTS[method](), {}, 1] : ARGUMENTS[method]();
    const tricks = {
      close: () => {
        isClosed = true;
        void target.close();
      },
      again: () => {
        depth += 1;
        if (depth <= MAX_DEPTH) settle(give());
      },
    };
    apply(harms, values, tricks);
    isClosed ||= method === 'close';
    const callee: (...all: never[]) => unknown = target[method].bind(selfOf(self, target) as never);
    try {
      return callee(...(Array.from(values) as never[]));
    } finally {
      // A listener that cannot be called, as a proxy that was revoked, would end the process with the next step.
      if (method === 'onStep' && !isClosed) target.onStep(() => undefined);
    }
  };
  try {
    const outcome = give();
    await Promise.race([outcome, lateness(method)]);
  } catch (error) {
    checkThrown(error, self);
  }
  // Whatever it was given, it answers.
  if (isClosed) await Promise.race([target.close(), lateness('close')]);
  else assert.ok(target.progress().idleMs >= 0);
}

function selfOf(self: Call['self'], target: NativeEngine): unknown {
  switch (self) {
    case 'engine':
      return target;
    case 'proxy':
      return new Proxy(target, {});
    case 'object':
      return {};
    case 'nothing':
      return undefined;
    case 'prototype':
      return Object.create(target);
  }
}

/** Nobody waits for it: what it fails with is looked at where it was given first. */
function settle(outcome: unknown): void {
  if (outcome instanceof Promise) outcome.catch(() => undefined);
}

let timer: NodeJS.Timeout | undefined;
function lateness(method: string): Promise<never> {
  clearTimeout(timer);
  return new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${method} does not settle`)), SETTLES_WITHIN_MS);
  });
}

function checkThrown(error: unknown, self: Call['self']): void {
  if (error === THROWN || error === undefined || error === 7) return;
  assert.ok(error instanceof Error, inspect(error));
  const { code, message } = error as Error & { readonly code?: string };
  // Of JavaScript's own: a proxy that was revoked, `this` that is no engine.
  if (error instanceof TypeError || (self !== 'engine' && /Invalid argument/.test(message))) return;
  assert.ok(code !== undefined && code in ERROR_CATALOGUE && code !== 'INTERNAL', `${code}: ${error.stack}`);
}

async function tokens(neighbour: LocalGroup): Promise<number[]> {
  const generated = await neighbour.generate({ tokenIds: Uint32Array.of(5, 6, 7), numTokens: 8 });
  return generated.map(({ tokenId }) => tokenId);
}

const [numRuns, seed] = process.argv.slice(2).map(Number);
const neighbour = await LocalGroup.start({ checkpoint, worldSize: 1 });
const expected = await tokens(neighbour);
await fc.assert(fc.asyncProperty(call, run), {
  numRuns: numRuns ?? 1_000,
  ...(seed === undefined ? {} : { seed }),
});
clearTimeout(timer);
assert.deepEqual(await tokens(neighbour), expected);
await Promise.all([neighbour.close(), engine?.close()]);
process.stdout.write(`${numRuns} calls\n`);
