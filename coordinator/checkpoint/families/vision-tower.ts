// What the two InternVL layouts share about pictures: constants of the family and the relations its dimensions must
// keep.
import { AppError } from '../../../common/errors.js';
import { MAX_LAYERS, MAX_TILES_PER_PICTURE } from '../../../common/limits.js';
import type { ConfigReader } from '../config-reader.js';
import type { TilingSpec, VisionSpec } from '../model-spec.js';

/** ImageNet's; these models do not use the CLIP constants of their checkpoints' preprocessor files. */
export const PIXEL_MEAN: readonly [number, number, number] = [0.485, 0.456, 0.406];
export const PIXEL_STD: readonly [number, number, number] = [0.229, 0.224, 0.225];

/** torch's default, fixed in the model's code and in no configuration. */
export const PROJECTOR_NORM_EPS = 1e-5;

/** Pixel shuffle folds factor x factor patches into one token; the configuration gives 1 / factor. */
export function readShuffleFactor(config: ConfigReader): number {
  const ratio = config.positiveNumber('downsample_ratio', 0.5);
  const factor = Math.round(1 / ratio);
  if (factor < 1 || Math.abs(factor * ratio - 1) > 1e-9)
    throw config.unsupported('downsample_ratio', '1 / n');
  return factor;
}

/**
 * hidden_states[index] of the tower, as a number of layers: index 0 is the input of the first layer, -1 the output of
 * the last.
 */
export function layersUsed(config: ConfigReader, key: string, storedLayers: number): number {
  const index = config.integer(key, -1);
  const layers = index < 0 ? storedLayers + 1 + index : index;
  if (storedLayers > MAX_LAYERS) {
    throw new AppError(
      'CORRUPT_WEIGHTS',
      `${config.where}: the vision tower has ${storedLayers} layers, at most ${MAX_LAYERS} are possible`,
    );
  }
  if (layers < 1 || layers > storedLayers) {
    throw config.unsupported(key, `an output of a layer: -${storedLayers} to -1, or 1 to ${storedLayers}`);
  }
  return layers;
}

export function normTypeOf(
  config: ConfigReader,
  fallback: 'rms_norm' | 'layer_norm',
): VisionSpec['normType'] {
  config.requireOneOf('norm_type', ['rms_norm', 'layer_norm'], fallback);
  return config.string('norm_type', fallback) === 'rms_norm' ? 'rms' : 'layer';
}

export function checkVisionSpec(config: ConfigReader, vision: VisionSpec): void {
  const { hiddenSize, numHeads, imageSize, patchSize, shuffleFactor } = vision;
  const refuse = (message: string): never => {
    throw new AppError('UNSUPPORTED_MODEL', `${config.where}: ${message}`);
  };
  if (hiddenSize % numHeads !== 0)
    refuse(`hidden_size ${hiddenSize} is not a multiple of num_attention_heads ${numHeads}`);
  if (imageSize % patchSize !== 0)
    refuse(`image_size ${imageSize} is not a multiple of patch_size ${patchSize}`);
  const grid = imageSize / patchSize;
  if (grid % shuffleFactor !== 0) {
    refuse(
      `${grid} patches a side do not fold ${shuffleFactor} by ${shuffleFactor} (downsample_ratio 1/${shuffleFactor})`,
    );
  }
  if (vision.numChannels !== 3) refuse(`num_channels is ${vision.numChannels}; Skein supports 3`);
}

export interface TilingChoices {
  readonly minTiles: number;
  readonly maxTiles: number;
  readonly useThumbnail: boolean;
  readonly isDynamic: boolean;
}

export function makeTiling(config: ConfigReader, vision: VisionSpec, choices: TilingChoices): TilingSpec {
  if (choices.maxTiles > MAX_TILES_PER_PICTURE || choices.minTiles > choices.maxTiles) {
    throw new AppError(
      'UNSUPPORTED_MODEL',
      `${config.where}: tiles from ${choices.minTiles} to ${choices.maxTiles}; Skein supports 1 to ${MAX_TILES_PER_PICTURE}, in ascending order`,
    );
  }
  return {
    tileSize: vision.imageSize,
    ...choices,
    tokensPerTile: (vision.imageSize / vision.patchSize / vision.shuffleFactor) ** 2,
  };
}
