// Finds and loads the native addon: the only require of a .node file.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

import { AppError } from '../errors.js';
import type { NativeAddon } from './native.js';

/** Of common/native/native.ts; raised with kInterfaceVersion in native/addon/addon.cc. */
export const NATIVE_INTERFACE_VERSION = 12;

// This file runs as dist/common/native/load-addon.js.
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

/** Whichever addon is built, for what any of them can: the CPU's before the GPU's, which needs more libraries. */
export function loadAnyAddon(): NativeAddon {
  return loadAddon(existsSync(addonPath('cpu')) || !existsSync(addonPath('cuda')) ? 'cpu' : 'cuda');
}
