// The native engine of a worker: wrapped, so that every failure is an AppError.
import { loadAddon } from '../../common/native/load-addon.js';
import { fromNativeError } from '../../common/native/native-errors.js';
import type { NativeEngine } from '../../common/native/native.js';
import type { CreateEngine, EngineLike } from './engine-like.js';

export const createNativeEngine: CreateEngine = (options) => {
  const addon = loadAddon(options.device);
  return converted(() => wrapEngine(addon.createEngine(options)));
};

function converted<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw fromNativeError(error);
  }
}

async function convertedAsync<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw fromNativeError(error);
  }
}

function wrapEngine(engine: NativeEngine): EngineLike {
  return {
    describe: () => converted(() => engine.describe()),
    load: (plan, onProgress) => convertedAsync(() => engine.load(plan, onProgress)),
    prepareGroup: (options) => convertedAsync(() => engine.prepareGroup(options)),
    joinGroup: (groupEpoch, addresses, numKvBlocks, timeoutMs) =>
      convertedAsync(() => engine.joinGroup(groupEpoch, addresses, numKvBlocks, timeoutMs)),
    putPixels: (groupEpoch, pictureId, tileSlots, pixels) =>
      convertedAsync(() => engine.putPixels(groupEpoch, pictureId, tileSlots, pixels)),
    onStep: (listener) =>
      converted(() =>
        engine.onStep((error, result) => {
          listener(error === null ? null : fromNativeError(error), result);
        }),
      ),
    submitStep: (plan) => converted(() => engine.submitStep(plan)),
    abort: (groupEpoch) => converted(() => engine.abort(groupEpoch)),
    memoryUse: () => convertedAsync(() => engine.memoryUse()),
    inspect: (what, rows) => convertedAsync(() => engine.inspect(what, rows)),
    endEpoch: () => convertedAsync(() => engine.endEpoch()),
    progress: () => converted(() => engine.progress()),
    close: () => convertedAsync(() => engine.close()),
  };
}
