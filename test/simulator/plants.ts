// Faults that tests plant into the real code, to see that the simulator finds them. Each changes a method and puts it
// back.
import { CoordinatorIdentity } from '../../coordinator/cluster/identity.js';
import { Request } from '../../coordinator/requests/request.js';
import { BlockManager } from '../../coordinator/scheduler/block-manager.js';
import type { SimulationOptions } from './simulation.js';

export interface Plant {
  readonly name: string;
  readonly options: Omit<SimulationOptions, 'seed'>;
  /** Returns how to take it out again. */
  readonly install: () => () => void;
}

function nothing(): void {
  // Its options are all there is of it.
}

/** Returns how to put the method back. */
function replaceMethod<Class extends object, Name extends keyof Class>(
  prototype: Class,
  name: Name,
  make: (original: Class[Name]) => Class[Name],
): () => void {
  const original = prototype[name];
  prototype[name] = make(original);
  return () => {
    prototype[name] = original;
  };
}

/** Every fourth allocation, the first block goes back while its sequence still uses it. */
function freeBlocksTooEarly(): () => void {
  let numCalls = 0;
  const restoreAllocate = replaceMethod(
    BlockManager.prototype,
    'allocate',
    (allocate) =>
      function (this: BlockManager, count) {
        const blocks = allocate.call(this, count);
        numCalls += 1;
        if (numCalls % 4 === 0) this.free(blocks.slice(0, 1));
        return blocks;
      },
  );
  const restoreFree = replaceMethod(
    BlockManager.prototype,
    'free',
    (free) =>
      function (this: BlockManager, blocks) {
        const held = blocks.filter((block) => !this.isFree(block));
        free.call(this, held);
      },
  );
  return () => {
    restoreFree();
    restoreAllocate();
  };
}

/** Every fiftieth token comes twice. */
function doubleTokens(): () => void {
  let numCalls = 0;
  return replaceMethod(
    Request.prototype,
    'onTokens',
    (onTokens) =>
      function (this: Request, tokens, finishReason) {
        numCalls += 1;
        const { tokenIds } = tokens;
        const doubled = numCalls % 50 === 0 ? [...tokenIds, ...tokenIds] : tokenIds;
        onTokens.call(this, { ...tokens, tokenIds: doubled }, finishReason);
      },
  );
}

/** A group that is formed again has the epoch of the one before. */
function reuseEpochs(): () => void {
  const epochs = new WeakMap<CoordinatorIdentity, number>();
  return replaceMethod(
    CoordinatorIdentity.prototype,
    'nextEpoch',
    (nextEpoch) =>
      function (this: CoordinatorIdentity, highestReported) {
        const epoch = epochs.get(this) ?? nextEpoch.call(this, highestReported);
        epochs.set(this, epoch);
        return epoch;
      },
  );
}

export const PLANTS: readonly Plant[] = [
  // By the tokens that come of it alone.
  { name: 'a block freed too early', options: { checksInvariants: false }, install: freeBlocksTooEarly },
  { name: 'a token doubled', options: {}, install: doubleTokens },
  { name: 'an epoch reused', options: {}, install: reuseEpochs },
  { name: 'a lost wake-up', options: { losesWakeUps: true }, install: () => nothing },
];
