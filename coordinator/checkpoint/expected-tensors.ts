// Every tensor that a model of given dimensions has, with its shape: the table that files are checked against and that
// stands in for files when a known model is planned without weights.
import type { TensorNames } from './families/family.js';
import type { Float8Layout, Float8Linear } from './float8.js';
import type { TextSpec, VisionSpec } from './model-spec.js';

export interface ExpectedTensor {
  /** Canonical name (families/family.ts). */
  readonly name: string;
  readonly shape: readonly number[];
  readonly kind: 'float' | 'int32' | 'float8';
}

export interface ExpectedModel {
  readonly text: TextSpec;
  readonly vision: VisionSpec | null;
  readonly storedVisionLayers: number;
  readonly hasLmHead: boolean;
  /** Of an AWQ decoder: prefixes of the linears that are stored as plain weights. */
  readonly denseLinears: ReadonlySet<string>;
  readonly float8Linears: Float8Layout;
}

/** A linear of the decoder, by the prefix of its tensors. */
export interface DecoderLinear {
  readonly prefix: string;
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly hasBias: boolean;
}

/** Columns in one packed AWQ word. */
export const AWQ_COLUMNS_PER_WORD = 8;

export function expectedTensors(names: TensorNames, model: ExpectedModel): ExpectedTensor[] {
  return [
    ...textTensors(names, model),
    ...(model.vision === null ? [] : visionTensors(names, model.vision, model.storedVisionLayers)),
  ];
}

function float(name: string, ...shape: number[]): ExpectedTensor {
  return { name, shape, kind: 'float' };
}

export function decoderLinears(names: TensorNames, text: TextSpec, layer: number): DecoderLinear[] {
  const { hiddenSize, headDim, numHeads, numKvHeads, intermediateSize } = text;
  const { q, k, v, o, gate, up, down } = names.textLayer(layer);
  const kvWidth = numKvHeads * headDim;
  const queryWidth = numHeads * headDim;
  return [
    { prefix: q, outFeatures: queryWidth, inFeatures: hiddenSize, hasBias: true },
    { prefix: k, outFeatures: kvWidth, inFeatures: hiddenSize, hasBias: true },
    { prefix: v, outFeatures: kvWidth, inFeatures: hiddenSize, hasBias: true },
    { prefix: o, outFeatures: hiddenSize, inFeatures: queryWidth, hasBias: false },
    { prefix: gate, outFeatures: intermediateSize, inFeatures: hiddenSize, hasBias: false },
    { prefix: up, outFeatures: intermediateSize, inFeatures: hiddenSize, hasBias: false },
    { prefix: down, outFeatures: hiddenSize, inFeatures: intermediateSize, hasBias: false },
  ];
}

function textTensors(names: TensorNames, model: ExpectedModel): ExpectedTensor[] {
  const { text, hasLmHead, denseLinears, float8Linears } = model;
  const { hiddenSize, vocabSize } = text;
  const tensors: ExpectedTensor[] = [float(names.tokenEmbedding, vocabSize, hiddenSize)];
  for (let index = 0; index < text.numLayers; index++) {
    const layer = names.textLayer(index);
    tensors.push(float(layer.inputNorm, hiddenSize), float(layer.postAttentionNorm, hiddenSize));
    for (const linear of decoderLinears(names, text, index)) {
      const { prefix, outFeatures, inFeatures, hasBias } = linear;
      const groupSize = denseLinears.has(prefix) ? 0 : text.awqGroupSize;
      const float8 = float8Linears.get(prefix);
      tensors.push(
        ...(float8 === undefined
          ? decoderLinear(prefix, outFeatures, inFeatures, groupSize)
          : float8Linear(prefix, outFeatures, inFeatures, float8)),
      );
      if (hasBias) tensors.push(float(`${prefix}.bias`, outFeatures));
    }
  }
  tensors.push(float(names.finalNorm, hiddenSize));
  if (hasLmHead) tensors.push(float(names.lmHead, vocabSize, hiddenSize));
  return tensors;
}

/** Plain weights are [out, in]; AWQ triples are transposed and packed along `out`. */
function decoderLinear(
  prefix: string,
  outFeatures: number,
  inFeatures: number,
  awqGroupSize: number,
): ExpectedTensor[] {
  if (awqGroupSize === 0) return [float(`${prefix}.weight`, outFeatures, inFeatures)];
  const words = outFeatures / AWQ_COLUMNS_PER_WORD;
  const groups = inFeatures / awqGroupSize;
  return [
    { name: `${prefix}.qweight`, shape: [inFeatures, words], kind: 'int32' },
    { name: `${prefix}.qzeros`, shape: [groups, words], kind: 'int32' },
    float(`${prefix}.scales`, groups, outFeatures),
  ];
}

function float8Linear(
  prefix: string,
  outFeatures: number,
  inFeatures: number,
  { scaleShape, inputScaleShape }: Float8Linear,
): ExpectedTensor[] {
  return [
    { name: `${prefix}.weight`, shape: [outFeatures, inFeatures], kind: 'float8' },
    float(`${prefix}.weight_scale`, ...scaleShape),
    ...(inputScaleShape === null ? [] : [float(`${prefix}.input_scale`, ...inputScaleShape)]),
  ];
}

/** The tower and the projector. */
export function visionTensors(
  names: TensorNames,
  vision: VisionSpec,
  storedLayers: number,
): ExpectedTensor[] {
  const { hiddenSize, patchSize, numChannels, imageSize, shuffleFactor, projectorHiddenSize } = vision;
  const numPatches = (imageSize / patchSize) ** 2;
  const tensors: ExpectedTensor[] = [
    float(names.classEmbedding, 1, 1, hiddenSize),
    float(names.positionEmbedding, 1, numPatches + 1, hiddenSize),
    float(`${names.patchEmbedding}.weight`, hiddenSize, numChannels, patchSize, patchSize),
    float(`${names.patchEmbedding}.bias`, hiddenSize),
  ];
  for (let index = 0; index < storedLayers; index++)
    tensors.push(...visionLayerTensors(names, vision, index));
  const shuffledSize = hiddenSize * shuffleFactor ** 2;
  tensors.push(
    float(`${names.projectorNorm}.weight`, shuffledSize),
    float(`${names.projectorNorm}.bias`, shuffledSize),
    float(`${names.projectorFc1}.weight`, projectorHiddenSize, shuffledSize),
    float(`${names.projectorFc1}.bias`, projectorHiddenSize),
    float(`${names.projectorFc2}.weight`, projectorHiddenSize, projectorHiddenSize),
    float(`${names.projectorFc2}.bias`, projectorHiddenSize),
  );
  return tensors;
}

function visionLayerTensors(names: TensorNames, vision: VisionSpec, index: number): ExpectedTensor[] {
  const { hiddenSize, intermediateSize } = vision;
  const layer = names.visionLayer(index);
  const tensors: ExpectedTensor[] = [];
  for (const norm of [layer.norm1, layer.norm2]) {
    tensors.push(float(`${norm}.weight`, hiddenSize));
    if (vision.normType === 'layer') tensors.push(float(`${norm}.bias`, hiddenSize));
  }
  const qkvRows = (3 * hiddenSize) / layer.qkv.length;
  for (const prefix of layer.qkv) {
    tensors.push(float(`${prefix}.weight`, qkvRows, hiddenSize));
    if (vision.qkvBias) tensors.push(float(`${prefix}.bias`, qkvRows));
  }
  if (vision.qkNormalization) tensors.push(float(layer.qNorm, hiddenSize), float(layer.kNorm, hiddenSize));
  tensors.push(
    float(`${layer.proj}.weight`, hiddenSize, hiddenSize),
    float(`${layer.proj}.bias`, hiddenSize),
    float(`${layer.fc1}.weight`, intermediateSize, hiddenSize),
    float(`${layer.fc1}.bias`, intermediateSize),
    float(`${layer.fc2}.weight`, hiddenSize, intermediateSize),
    float(`${layer.fc2}.bias`, hiddenSize),
    float(layer.layerScale1, hiddenSize),
    float(layer.layerScale2, hiddenSize),
  );
  return tensors;
}
