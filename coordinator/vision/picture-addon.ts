// Finds and loads the native code for pictures, build/native/skein_picture.node: the only require of it. It keeps
// nothing, so every thread may load it.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { AppError } from '../../common/errors.js';

/** native/picture_addon/picture_addon.cc; its kInterfaceVersion is raised whenever this changes. */
export interface PictureAddon {
  readonly interfaceVersion: number;
  /**
   * [height, width, 3] resized to rows * tileHeight times columns * tileWidth and cut into `tiles`, [rows * columns,
   * tileHeight, tileWidth, 3]: row by row, left to right. Bicubic, equal to Pillow's Image.resize in every byte.
   */
  resizeIntoTiles(
    pixels: Uint8Array,
    width: number,
    height: number,
    tiles: Uint8Array,
    columns: number,
    rows: number,
    tileWidth: number,
    tileHeight: number,
    numThreads: number,
  ): void;
  /** Turned as EXIF's orientation 1 to 8 asks. */
  turnUpright(
    pixels: Uint8Array,
    width: number,
    height: number,
    orientation: number,
    turned: Uint8Array,
    numThreads: number,
  ): void;
}

const INTERFACE_VERSION = 1;
const REMEDY = 'run: npm run setup';

// This file runs as dist/coordinator/vision/picture-addon.js.
const ADDON_PATH = fileURLToPath(new URL('../../../build/native/skein_picture.node', import.meta.url));

let loaded: PictureAddon | null = null;

/** Throws SETUP_INCOMPLETE when it is not built, or built from other sources. */
export function loadPictureAddon(): PictureAddon {
  loaded ??= load();
  return loaded;
}

function load(): PictureAddon {
  if (!existsSync(ADDON_PATH)) throw incomplete('is not built');
  let addon: PictureAddon;
  try {
    addon = createRequire(import.meta.url)(ADDON_PATH) as PictureAddon;
  } catch (error) {
    throw incomplete(`cannot be loaded (${error instanceof Error ? error.message : String(error)})`, error);
  }
  if (addon.interfaceVersion !== INTERFACE_VERSION) {
    throw incomplete(`has interface version ${addon.interfaceVersion}, this is ${INTERFACE_VERSION}`);
  }
  return addon;
}

function incomplete(problem: string, cause?: unknown): AppError {
  return new AppError('SETUP_INCOMPLETE', `${ADDON_PATH} ${problem}; ${REMEDY}`, { cause });
}
