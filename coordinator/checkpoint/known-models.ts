// Models whose dimensions are public: planned and priced by name, and filled with random weights for benchmarks, with
// no files.
import { stat } from 'node:fs/promises';
import { AppError } from '../../common/errors.js';
import { readCheckpoint } from './checkpoint.js';
import { expectedTensors } from './expected-tensors.js';
import { PIXEL_MEAN, PIXEL_STD, PROJECTOR_NORM_EPS } from './families/vision-tower.js';
import { familyOfLayout } from './families/registry.js';
import { quantizedAtLoad, visionQuantizedAtLoad, type Float8Layout } from './float8.js';
import type { Checkpoint, ModelSpec, SourceTensor, TextSpec, VisionSpec } from './model-spec.js';

interface KnownText {
  readonly hiddenSize: number;
  readonly numLayers: number;
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly intermediateSize: number;
  readonly vocabSize: number;
  readonly rmsNormEps?: number;
  readonly maxPositionEmbeddings?: number;
  readonly tieWordEmbeddings?: boolean;
}

type Tower = '6b' | '300m';

interface KnownModel {
  readonly architecture: string;
  readonly text: KnownText;
  readonly tower: Tower | null;
  readonly awqGroupSize: number;
  readonly eosTokenIds: readonly number[];
  /** Null for text-only models. */
  readonly pictureTokenId: number | null;
}

const QWEN_32B = {
  hiddenSize: 5120,
  numLayers: 64,
  numHeads: 40,
  numKvHeads: 8,
  intermediateSize: 27648,
} as const;
const QWEN_7B = {
  hiddenSize: 3584,
  numLayers: 28,
  numHeads: 28,
  numKvHeads: 4,
  intermediateSize: 18944,
} as const;
const QWEN_1_5B = {
  hiddenSize: 1536,
  numLayers: 28,
  numHeads: 12,
  numKvHeads: 2,
  intermediateSize: 8960,
} as const;
const QWEN_0_5B = {
  hiddenSize: 896,
  numLayers: 24,
  numHeads: 14,
  numKvHeads: 2,
  intermediateSize: 4864,
} as const;

/** Rows of the embedding: InternVL appends its picture tokens to Qwen2.5's and cuts the padding. */
const INTERNVL_VOCAB = 151674;
const QWEN_VOCAB = 152064;
const IM_END = 151645;
const END_OF_TEXT = 151643;
/** <IMG_CONTEXT> as InternVL appends it to Qwen2.5's tokens, and to QwQ's, which have four more. */
const IMG_CONTEXT = 151667;
const QWQ_IMG_CONTEXT = 151671;

/** R1V and R1V2 keep their parents' (R1-Distill, QwQ) context and epsilon; R1V3 has InternVL3's. */
const REASONING_PARENT = { vocabSize: QWEN_VOCAB, rmsNormEps: 1e-5, maxPositionEmbeddings: 131072 } as const;

function skywork(text: KnownText, eosTokenId: number, pictureTokenId: number): KnownModel {
  return {
    architecture: 'SkyworkR1VChatModel',
    text,
    tower: '6b',
    awqGroupSize: 0,
    eosTokenIds: [eosTokenId],
    pictureTokenId,
  };
}

function internvl(text: Omit<KnownText, 'vocabSize'>, tower: Tower): KnownModel {
  return {
    architecture: 'InternVLChatModel',
    text: { ...text, vocabSize: INTERNVL_VOCAB },
    tower,
    awqGroupSize: 0,
    eosTokenIds: [IM_END, END_OF_TEXT],
    pictureTokenId: IMG_CONTEXT,
  };
}

function qwen(text: KnownText): KnownModel {
  return {
    architecture: 'Qwen2ForCausalLM',
    text,
    tower: null,
    awqGroupSize: 0,
    eosTokenIds: [IM_END, END_OF_TEXT],
    pictureTokenId: null,
  };
}

function quantised(model: KnownModel): KnownModel {
  return { ...model, architecture: 'InternVLChatModel', awqGroupSize: 128 };
}

const R1V = skywork({ ...QWEN_32B, ...REASONING_PARENT }, END_OF_TEXT, IMG_CONTEXT);
const R1V2 = skywork({ ...QWEN_32B, ...REASONING_PARENT }, IM_END, QWQ_IMG_CONTEXT);
const R1V3 = skywork({ ...QWEN_32B, vocabSize: INTERNVL_VOCAB }, IM_END, IMG_CONTEXT);

const KNOWN_MODELS: Readonly<Record<string, KnownModel>> = {
  'skywork-r1v-38b': R1V,
  'skywork-r1v-38b-awq': quantised(R1V),
  'skywork-r1v2-38b': R1V2,
  'skywork-r1v2-38b-awq': quantised(R1V2),
  'skywork-r1v3-38b': R1V3,
  'skywork-r1v3-38b-awq': quantised(R1V3),
  'internvl3-1b': internvl(QWEN_0_5B, '300m'),
  'internvl3-2b': internvl(QWEN_1_5B, '300m'),
  'internvl3-8b': internvl(QWEN_7B, '300m'),
  'internvl3-38b': internvl(QWEN_32B, '6b'),
  'qwen2.5-0.5b': qwen({ ...QWEN_0_5B, vocabSize: 151936, tieWordEmbeddings: true }),
  'qwen2.5-7b': qwen({ ...QWEN_7B, vocabSize: QWEN_VOCAB }),
  'qwen2.5-32b': qwen({ ...QWEN_32B, vocabSize: QWEN_VOCAB }),
};

const KNOWN_MODEL_NAMES: readonly string[] = Object.keys(KNOWN_MODELS);

/** fp8: plain weights, of the decoder or of the vision tower, become float8 as they are loaded. */
export interface QuantizationChoices {
  readonly quantization: 'auto' | 'fp8';
  readonly visionQuantization: 'auto' | 'fp8';
}

/** A checkpoint folder, or a known model's name; a folder of that name comes first. */
export async function resolveModel(
  nameOrFolder: string,
  { quantization, visionQuantization }: QuantizationChoices,
): Promise<Checkpoint> {
  const stored = await findModel(nameOrFolder);
  const checkpoint = quantization === 'fp8' ? quantizedAtLoad(stored) : stored;
  return visionQuantization === 'fp8' ? visionQuantizedAtLoad(checkpoint) : checkpoint;
}

async function findModel(nameOrFolder: string): Promise<Checkpoint> {
  const stats = await stat(nameOrFolder).catch(() => null);
  if (stats?.isDirectory() === true) return readCheckpoint(nameOrFolder);
  const known = knownCheckpoint(nameOrFolder.toLowerCase());
  if (known !== null) return known;
  throw new AppError(
    'MODEL_NOT_FOUND',
    `model ${nameOrFolder}: neither a folder nor a known name; known: ${KNOWN_MODEL_NAMES.join(', ')}`,
    { details: { param: 'model' } },
  );
}

/** Throws where there are no files to read weights from, and none were to be made up. */
export function checkHasWeights({ spec, files }: Checkpoint, loadFormat: 'auto' | 'dummy'): void {
  if (files.length > 0 || loadFormat === 'dummy') return;
  throw new AppError(
    'INVALID_REQUEST',
    `--model ${spec.name} is a known model's name, which has no weights: name the folder of its checkpoint, or take ` +
      'random weights with --load-format dummy',
    { details: { param: 'load-format' } },
  );
}

/** Null for a name that is not known. Tensors have fileIndex -1: they are nowhere. */
export function knownCheckpoint(name: string): Checkpoint | null {
  const model = Object.hasOwn(KNOWN_MODELS, name) ? KNOWN_MODELS[name] : undefined;
  if (model === undefined) return null;
  const spec = makeSpec(name, model);
  return {
    spec,
    files: [],
    tensors: syntheticTensors(spec),
    eosTokenIds: model.eosTokenIds,
    folder: null,
    defaultsTaken: [],
  };
}

/** The token that stands for pictures in a client's ids; null for a text-only or unknown model. */
export function knownPictureTokenId(name: string): number | null {
  return Object.hasOwn(KNOWN_MODELS, name) ? (KNOWN_MODELS[name]?.pictureTokenId ?? null) : null;
}

/** The tensor table that files of this spec would have. */
export function syntheticTensors(
  spec: ModelSpec,
  float8Linears: Float8Layout = new Map(),
): ReadonlyMap<string, SourceTensor> {
  const expected = expectedTensors(familyOfLayout(spec.layout).names, {
    text: spec.text,
    vision: spec.vision,
    storedVisionLayers: spec.vision?.numLayers ?? 0,
    hasLmHead: !spec.text.tieWordEmbeddings,
    denseLinears: new Set(),
    float8Linears,
  });
  const types = { float: spec.storedType, int32: 'int32', float8: 'float8_e4m3' } as const;
  return new Map(
    expected.map(({ name, shape, kind }) => [
      name,
      { name, fileIndex: -1, dataType: types[kind], shape, dataOffset: 0 },
    ]),
  );
}

function makeSpec(name: string, model: KnownModel): ModelSpec {
  const { text: known } = model;
  const text: TextSpec = {
    hiddenSize: known.hiddenSize,
    numLayers: known.numLayers,
    numHeads: known.numHeads,
    numKvHeads: known.numKvHeads,
    headDim: known.hiddenSize / known.numHeads,
    intermediateSize: known.intermediateSize,
    vocabSize: known.vocabSize,
    rmsNormEps: known.rmsNormEps ?? 1e-6,
    ropeTheta: 1e6,
    maxPositionEmbeddings: known.maxPositionEmbeddings ?? 32768,
    tieWordEmbeddings: known.tieWordEmbeddings ?? false,
    awqGroupSize: model.awqGroupSize,
    float8: 'none',
  };
  const vision = model.tower === null ? null : towerSpec(model.tower, known.hiddenSize);
  return {
    name,
    architecture: model.architecture,
    layout: vision === null ? 'qwen2' : 'internvl-chat',
    // The quantiser works in half precision and leaves the rest of the model in it.
    storedType: model.awqGroupSize === 0 ? 'bfloat16' : 'float16',
    computeType: 'bfloat16',
    text,
    vision,
    tiling:
      vision === null
        ? null
        : {
            tileSize: 448,
            minTiles: 1,
            maxTiles: 12,
            useThumbnail: true,
            isDynamic: true,
            tokensPerTile: 256,
          },
  };
}

/** InternViT-6B-448px-V2_5 and InternViT-300M-448px-V2_5. */
function towerSpec(tower: Tower, textHiddenSize: number): VisionSpec {
  const dimensions =
    tower === '6b'
      ? { hiddenSize: 3200, numLayers: 45, numHeads: 25, headDim: 128, intermediateSize: 12800 }
      : { hiddenSize: 1024, numLayers: 24, numHeads: 16, headDim: 64, intermediateSize: 4096 };
  return {
    ...dimensions,
    normType: tower === '6b' ? 'rms' : 'layer',
    normEps: 1e-6,
    qkNormalization: tower === '6b',
    qkvBias: tower === '300m',
    patchSize: 14,
    imageSize: 448,
    numChannels: 3,
    shuffleFactor: 2,
    projectorNormEps: PROJECTOR_NORM_EPS,
    projectorHiddenSize: textHiddenSize,
    float8: 'none',
    pixelMean: PIXEL_MEAN,
    pixelStd: PIXEL_STD,
  };
}
