// Picture settings of transformers' layout, found where its InternVLProcessor finds them. Its model configuration has
// none.
import { AppError } from '../../../common/errors.js';
import type { ConfigReader } from '../config-reader.js';
import type { TilingSpec, VisionSpec } from '../model-spec.js';
import type { ConfigFiles } from './family.js';
import { makeTiling, PIXEL_MEAN, PIXEL_STD } from './vision-tower.js';

/** One image processor under three names: transformers 4's, its faster twin's, and transformers 5's for Pillow. */
const IMAGE_PROCESSORS = [
  'GotOcr2ImageProcessor',
  'GotOcr2ImageProcessorFast',
  'GotOcr2ImageProcessorPil',
] as const;

/** What that class means by keys that its file lacks: CLIP's, though every released InternVL writes ImageNet's. */
const CLASS_MEAN = [0.48145466, 0.4578275, 0.40821073] as const;
const CLASS_STD = [0.26862954, 0.26130258, 0.27577711] as const;
const PILLOW_BICUBIC = 3;

export interface PixelStatistics {
  readonly pixelMean: VisionSpec['pixelMean'];
  readonly pixelStd: VisionSpec['pixelStd'];
}

/**
 * `image_processor` in processor_config.json (transformers 5), then preprocessor_config.json, whole: the two are not
 * merged. A folder with neither is read as a released InternVL.
 */
function findSettings(files: ConfigFiles): { settings: ConfigReader; isThere: boolean } {
  const settings = files.processor?.object('image_processor') ?? files.preprocessor;
  if (settings !== null) return { settings, isThere: true };
  const where = files.config.where.replace(
    /config\.json$/,
    'processor_config.json, preprocessor_config.json',
  );
  return { settings: files.config.absent(where), isThere: false };
}

export function readPixelStatistics(files: ConfigFiles): PixelStatistics {
  const { settings, isThere } = findSettings(files);
  settings.requireOneOf('do_rescale', [true], true);
  settings.requireOneOf('do_normalize', [true], true);
  const factor = settings.positiveNumber('rescale_factor', 1 / 255);
  if (Math.abs(factor * 255 - 1) > 1e-6) throw settings.unsupported('rescale_factor', '1/255');
  const pixelStd = settings.numberTriple('image_std', isThere ? CLASS_STD : PIXEL_STD);
  if (pixelStd.some((value) => value <= 0)) throw settings.invalid('image_std', 'three numbers above 0');
  return { pixelMean: settings.numberTriple('image_mean', isThere ? CLASS_MEAN : PIXEL_MEAN), pixelStd };
}

/** The processor always cuts into tiles, whatever `crop_to_patches` says, and always appends the thumbnail. */
export function readTiling(files: ConfigFiles, vision: VisionSpec): TilingSpec {
  const { settings } = findSettings(files);
  settings.requireOneOf('image_processor_type', IMAGE_PROCESSORS, IMAGE_PROCESSORS[0]);
  settings.requireOneOf('do_resize', [true], true);
  settings.requireOneOf('resample', [PILLOW_BICUBIC], PILLOW_BICUBIC);
  checkTileSize(settings, vision.imageSize);
  const tiling = makeTiling(settings, vision, {
    minTiles: settings.dimension('min_patches', 1),
    maxTiles: settings.dimension('max_patches', 12),
    useThumbnail: true,
    isDynamic: true,
  });
  const { processor } = files;
  if (processor?.has('image_seq_length') !== true) return tiling;
  if (processor.dimension('image_seq_length', 0) !== tiling.tokensPerTile) {
    throw processor.invalid(
      'image_seq_length',
      `${tiling.tokensPerTile}, what the vision tower gives a tile`,
    );
  }
  return tiling;
}

/**
 * `size` as n, {height, width}, or absent: the tower's. Another size needs position embeddings that the files do not
 * hold.
 */
function checkTileSize(settings: ConfigReader, imageSize: number): void {
  const isObject = typeof settings.raw('size') === 'object';
  const size = isObject ? settings.object('size') : null;
  const sides =
    size === null
      ? [settings.dimension('size', imageSize)]
      : ['height', 'width'].map((key) => size.dimension(key, imageSize));
  if (sides.every((side) => side === imageSize)) return;
  throw new AppError(
    'UNSUPPORTED_MODEL',
    `${settings.where}: size is ${sides.join(' x ')}; the vision tower takes ${imageSize} x ${imageSize} (vision_config: image_size)`,
  );
}
