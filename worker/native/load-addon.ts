// Finds and loads the native addon: the only require of a .node file. Wraps engines so that every failure is an
// AppError.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

import { AppError } from '../../common/errors.js';
import type { CreateEngine, EngineLike } from './engine-like.js';
import { fromNativeError } from './native-errors.js';
import type { NativeAddon, NativeEngine } from './native.js';

/** Of worker/native/native.ts; raised with kInterfaceVersion in native/addon/addon.cc. */
export const NATIVE_INTERFACE_VERSION = 10;

// This file runs as dist/worker/native/load-addon.js.
const BUILD_FOLDER = fileURLToPath(new URL('../../../build/', import.meta.url));

function isCuda(device: string): boolean {
  return device.startsWith('cuda');
}

export function addonPath(device: string): string {
  return `${BUILD_FOLDER}${isCuda(device) ? 'cuda/skein_cuda' : 'native/skein_cpu'}.node`;
}

/** The addon for a device; throws SETUP_INCOMPLETE when it is not built, or built from other sources. */
export function loadAddon(device: string): NativeAddon {
  const path = addonPath(device);
  const remedy = `run: npm run ${isCuda(device) ? 'build:cuda' : 'setup'}`;
  if (!existsSync(path)) {
    throw new AppError('SETUP_INCOMPLETE', `${path} is not built; ${remedy}`);
  }
  let addon: NativeAddon;
  try {
    addon = createRequire(import.meta.url)(path) as NativeAddon;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new AppError('SETUP_INCOMPLETE', `${path} cannot be loaded (${reason}); ${remedy}`, {
      cause: error,
    });
  }
  if (addon.interfaceVersion !== NATIVE_INTERFACE_VERSION) {
    throw new AppError(
      'SETUP_INCOMPLETE',
      `${path} has interface version ${addon.interfaceVersion}, this is ${NATIVE_INTERFACE_VERSION}; ${remedy}`,
    );
  }
  return addon;
}

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
