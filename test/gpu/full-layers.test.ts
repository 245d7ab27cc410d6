// Layers of the 38 B model's dimensions against Hugging Face transformers on the same weights in the same run: two of
// the vision tower, two of the decoder. A small shape on the CPU, in float32, shows that both mean the same model.
import assert from 'node:assert/strict';

import { requireGpu } from '../support/gpu.js';
import {
  makeFullLayers,
  measureFullLayers,
  type FullLayers,
  type FullLayersGroup,
} from '../support/full-layers.js';
import { recordMeasured } from '../support/measured.js';

const TIMEOUT_MS = 300_000;
const FLOAT32_LIMIT = 1e-5;
const BFLOAT16_LIMIT = 1e-2;
/** Weights and inputs of the products keep three bits of mantissa, of the decoder or of the tower. */
const FLOAT8_LIMIT = 0.1;
/** Log-probabilities: logits have a spread of about 1, and of twenty the worst counts. */
const LOGPROB_LIMITS = { float32: 1e-4, bfloat16: 5e-2, float8: 0.4 };

/** For `before`: skips, or fails where a GPU run is required, with the reason. */
async function layersOrSkip(
  context: Mocha.Context,
  shape: 'full' | 'small',
  device: 'cuda' | 'cpu',
): Promise<FullLayers> {
  const layers = await makeFullLayers(shape, device);
  if (typeof layers !== 'string') return layers;
  if (process.env['SKEIN_REQUIRE_GPU'] === '1') throw new Error(layers);
  process.stderr.write(`    skipped: ${layers}\n`);
  return context.skip();
}

async function check(
  layers: FullLayers,
  what: string,
  options: FullLayersGroup & { readonly computeType: 'float32' | 'bfloat16' },
): Promise<void> {
  const distances = await measureFullLayers(layers, options);
  recordMeasured(`full-layers: ${what}`, { ...distances });
  const { computeType, isFloat8 = false, isTowerFloat8 = false } = options;
  const plain = computeType === 'float32' ? FLOAT32_LIMIT : BFLOAT16_LIMIT;
  const tower = isTowerFloat8 ? FLOAT8_LIMIT : plain;
  // Rows of the picture are as far off as the tower leaves them.
  const decoder = isFloat8 || isTowerFloat8 ? FLOAT8_LIMIT : plain;
  const limits = {
    tiles: tower,
    hidden: decoder,
    chunked: decoder,
    lastRow: decoder,
    logprob: LOGPROB_LIMITS[isFloat8 || isTowerFloat8 ? 'float8' : computeType],
  };
  for (const [name, limit] of Object.entries(limits) as [keyof typeof limits, number][])
    assert.ok(distances[name] < limit, `${name} is off by ${distances[name]}; the limit is ${limit}`);
}

/** Each way to hold the tower. */
const SETTINGS = [
  { worldSize: 1, visionParallel: 'tensor' },
  { worldSize: 2, visionParallel: 'tensor' },
  { worldSize: 2, visionParallel: 'data' },
] as const;

/** The decoder in FP8, the tower as it is; and the other way round. */
const FLOAT8_SETTINGS = [
  { worldSize: 1, visionParallel: 'tensor' },
  { worldSize: 2, visionParallel: 'tensor' },
] as const;

function titleOf({ worldSize, visionParallel }: (typeof SETTINGS)[number]): string {
  const tower = worldSize === 1 ? '' : `, tower ${visionParallel === 'tensor' ? 'cut' : 'whole'}`;
  return `world size ${worldSize}${tower}`;
}

describe('small layers against transformers, on the CPU', function () {
  this.timeout(TIMEOUT_MS);
  let layers: FullLayers;
  before(async function () {
    layers = await layersOrSkip(this, 'small', 'cpu');
  });
  after(() => layers?.remove());

  for (const setting of SETTINGS) {
    const title = titleOf(setting);
    it(title, () => check(layers, `small, cpu, float32, ${title}`, { ...setting, computeType: 'float32' }));
  }
  for (const setting of FLOAT8_SETTINGS) {
    const title = `${titleOf(setting)}, FP8`;
    it(title, () =>
      check(layers, `small, cpu, ${title}`, { ...setting, computeType: 'float32', isFloat8: true }),
    );
    it(`${title}, of the tower`, () =>
      check(layers, `small, cpu, ${title}, of the tower`, {
        ...setting,
        computeType: 'float32',
        isTowerFloat8: true,
      }));
  }
});

describe("layers of the 38 B model's dimensions against transformers, on cuda", function () {
  this.timeout(TIMEOUT_MS);
  let layers: FullLayers;
  before(async function () {
    await requireGpu(this);
    layers = await layersOrSkip(this, 'full', 'cuda');
  });
  after(() => layers?.remove());

  for (const deterministic of [false, true]) {
    const mode = deterministic ? 'deterministic' : 'not deterministic';
    const device = { device: 'cuda:0', deterministic, computeType: 'bfloat16' } as const;
    for (const setting of SETTINGS) {
      const title = `${titleOf(setting)}, ${mode}`;
      it(title, () => check(layers, `full, cuda, bfloat16, ${title}`, { ...setting, ...device }));
    }
    for (const setting of FLOAT8_SETTINGS) {
      const title = `${titleOf(setting)}, FP8, ${mode}`;
      it(title, () => check(layers, `full, cuda, ${title}`, { ...setting, ...device, isFloat8: true }));
      it(`${title}, of the tower`, () =>
        check(layers, `full, cuda, ${title}, of the tower`, {
          ...setting,
          ...device,
          isTowerFloat8: true,
        }));
    }
  }
});
