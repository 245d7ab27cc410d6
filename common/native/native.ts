// The addon as TypeScript sees it: transfer objects in the order of native/engine/engine.h, `T | null` and never
// optional fields, so that `undefined` is always a mistake. Arrays of numbers are typed arrays.
import type { SamplingParams } from '../sampling.js';

export type NativeDataType = 'float32' | 'bfloat16' | 'float16' | 'int32' | 'float8_e4m3';

export interface NativeTextSpec {
  hiddenSize: number;
  numLayers: number;
  numHeads: number;
  numKvHeads: number;
  headDim: number;
  intermediateSize: number;
  vocabSize: number;
  rmsNormEps: number;
  ropeTheta: number;
  maxPositionEmbeddings: number;
  awqGroupSize: number;
}

export interface NativeVisionSpec {
  hiddenSize: number;
  numLayers: number;
  numHeads: number;
  headDim: number;
  intermediateSize: number;
  normType: 'rms' | 'layer';
  normEps: number;
  qkNormalization: boolean;
  qkvBias: boolean;
  patchSize: number;
  imageSize: number;
  numChannels: number;
  shuffleFactor: number;
  projectorNormEps: number;
  projectorHiddenSize: number;
  pixelMean: Float32Array;
  pixelStd: Float32Array;
}

export interface NativeRankLayout {
  rank: number;
  worldSize: number;
  qHeadStart: number;
  numQHeads: number;
  kvHeadStart: number;
  numKvHeads: number;
  qToKv: Uint32Array;
  intermediateStart: number;
  intermediateSize: number;
  vocabStart: number;
  vocabRows: number;
  vocabValidRows: number;
  visionParallel: 'tensor' | 'data';
  visionHeadStart: number;
  visionNumHeads: number;
  visionIntermediateStart: number;
  visionIntermediateSize: number;
  projectorStart: number;
  projectorSize: number;
}

export interface NativeRankTensor {
  /** Value of TensorRole in worker.proto. */
  role: number;
  /** Value of TensorPart in worker.proto. */
  part: number;
  layer: number;
  rows: number;
  cols: number;
  storedType: NativeDataType;
  awqGroupOffset: number;
  tiedToEmbedding: boolean;
  quantizeToFloat8: boolean;
}

export interface NativeSlice {
  fileIndex: number;
  dataOffset: number;
  dataType: NativeDataType;
  sourceRows: number;
  sourceCols: number;
  rowStart: number;
  rowEnd: number;
  colStart: number;
  colEnd: number;
  tensorIndex: number;
  destRow: number;
  destCol: number;
  sourceName: string;
}

export interface NativeLoadPlan {
  /** Of what decides the bytes that are held; weights that are held already are not read again. */
  weightsHash: string;
  /** What tensorChecksums of the result have to be; empty: whatever they are. */
  expectedChecksums: BigUint64Array;
  text: NativeTextSpec;
  vision: NativeVisionSpec | null;
  layout: NativeRankLayout;
  files: { path: string; sizeBytes: number }[];
  tensors: NativeRankTensor[];
  slices: NativeSlice[];
  computeType: 'float32' | 'bfloat16';
  /** Keys and values in float8 instead of the compute type. */
  float8KvCache: boolean;
  dummyWeights: boolean;
  dummySeed: number;
  maxNumSequences: number;
  maxStepTokens: number;
  blockSize: number;
  maxModelLength: number;
  numTileSlots: number;
  maxTilesPerStep: number;
  maxTopLogprobs: number;
  /** Ascending; recorded when a group is joined. */
  graphBuckets: Uint32Array;
  /** Of the device's memory, what this rank may take; 0: not limited. */
  memoryShare: number;
}

/** Where the time of a load went, as seen by the thread that loads. */
export interface NativeLoadTimes {
  openMs: number;
  /** Waiting for bytes of files, their checksums included. */
  readMs: number;
  /** Waiting for a buffer that is still on its way to the device. */
  transferMs: number;
  /** Packing, repacking and quantising. */
  prepareMs: number;
  /** Checksums and the look for what is no number; of the threads that read, all together; within readMs. */
  checksumMs: number;
}

export interface NativeLoadResult {
  weightBytes: number;
  readBytes: number;
  peakResidentBytes: number;
  activationBytes: number;
  kvBytesPerBlock: number;
  availableBytes: number;
  workspaceBytes: number;
  reserveBytes: number;
  loadMs: number;
  times: NativeLoadTimes;
  /** Of what the files gave for each tensor of the plan; empty for random weights. */
  tensorChecksums: BigUint64Array;
}

/** Bytes that a rank would hold of a plan, by kinds. */
export interface NativeMemoryEstimate {
  weightBytes: number;
  /** Of weights at most at once while loading: those that are staged and repacked beside the others. */
  peakWeightBytes: number;
  activationBytes: number;
  /** Of the activations, what is there for pictures. */
  pictureBytes: number;
  workspaceBytes: number;
  reserveBytes: number;
  kvBytesPerBlock: number;
}

export type NativeSamplingParams = SamplingParams<Uint32Array, Float32Array>;

export interface NativeNewSequence {
  slot: number;
  tokenIds: Uint32Array;
  numPromptTokens: number;
  numComputedTokens: number;
  sampling: NativeSamplingParams;
  pictures: { pictureId: number; firstPosition: number }[];
}

export interface NativeStepPlan {
  groupEpoch: number;
  step: number;
  releasedSlots: Uint32Array;
  releasedPictures: Uint32Array;
  newSequences: NativeNewSequence[];
  /** Pairs (slot, block). */
  newBlocks: Uint32Array;
  encodeItems: { pictureId: number; tileStart: number; tileEnd: number }[];
  scheduledSlots: Uint32Array;
  scheduledTokens: Uint32Array;
  maskedSlots: Uint32Array;
  /** Of each masked slot, a bit for each of the rank's vocabulary rows. */
  masks: Uint32Array;
  graphBucket: number;
}

/** Arrays as in StepResult of worker.proto. */
export interface NativeStepResult {
  groupEpoch: number;
  step: number;
  slots: Uint32Array;
  tokenOffsets: Uint32Array;
  tokenIds: Uint32Array;
  logprobs: Float32Array;
  topOffsets: Uint32Array;
  topIds: Uint32Array;
  topLogprobs: Float32Array;
  sampleHash: bigint;
  stepNs: number;
  collectiveNs: number;
  planWaitNs: number;
  samplingNs: number;
}

export interface NativeGroupOptions {
  groupEpoch: number;
  rank: number;
  worldSize: number;
  collective: 'none' | 'shared-memory' | 'gloo' | 'nccl';
  bindHost: string;
}

export interface NativeDescription {
  device: string;
  deviceName: string;
  instructionClass: string;
  memoryTotalBytes: number;
  memoryFreeBytes: number;
  /** Back ends and collectives that this addon was built with. */
  backends: string[];
  collectives: string[];
}

/** Bytes of the device by what holds them; 0 where the back end does not count it. */
export interface NativeMemoryUse {
  weightBytes: number;
  activationBytes: number;
  kvBytes: number;
  graphBytes: number;
  workspaceBytes: number;
  /** In use beyond these: the driver's own, the communicator's, and that of other processes. */
  otherBytes: number;
  freeBytes: number;
  totalBytes: number;
}

/** What the engine's thread is at. */
export type NativePhase = 'idle' | 'load' | 'join' | 'vision' | 'decoder' | 'sampling';

export interface NativeProgress {
  groupEpoch: number;
  lastStep: number;
  collectives: number;
  /**
   * Calls that the device has begun, replays of recorded steps included: a rank with fewer than the others still
   * computes.
   */
  deviceCalls: number;
  /** How the ranks of the joined group exchange, for logs; empty while none is joined. */
  collective: string;
  /**
   * Milliseconds since the thread last began or ended anything that is counted here; calls of a device move apart
   * from it.
   */
  idleMs: number;
  phase: NativePhase;
  /** The thread is inside a collective: on a CPU it exchanges, or waits for the others. */
  inCollective: boolean;
  /** Processor time of the whole process so far. */
  cpuMs: number;
}

/**
 * Fails with an Error whose `code` is one of the catalogue in common/errors.ts. Steps are queued and run in order on
 * the engine's own thread; results and step failures come to `onStep` in the same order. abort() and progress() bypass
 * the queue.
 */
export interface NativeEngine {
  describe(): NativeDescription;
  load(
    plan: NativeLoadPlan,
    onProgress: (loadedBytes: number, totalBytes: number) => void,
  ): Promise<NativeLoadResult>;
  prepareGroup(options: NativeGroupOptions): Promise<Uint8Array>;
  /** Resolves with the bytes of the KV cache. */
  joinGroup(
    groupEpoch: number,
    addresses: Uint8Array[],
    numKvBlocks: number,
    timeoutMs: number,
  ): Promise<number>;
  /** pixels: [tiles, side, side, 3] RGB; copied before the call returns. */
  putPixels(groupEpoch: number, pictureId: number, tileSlots: Uint32Array, pixels: Uint8Array): Promise<void>;
  memoryUse(): Promise<NativeMemoryUse>;
  /**
   * For tests. hidden: the decoder's rows of the last step, [rows, hidden size], behind the last layer and before the
   * final norm. tiles: the first rows of the cache of pictures' outputs.
   */
  inspect(what: 'hidden' | 'tiles', rows: number): Promise<Float32Array>;
  /** One listener; error is set when the step failed (the epoch is then over for this rank). */
  onStep(listener: (error: Error | null, result: NativeStepResult | null) => void): void;
  /** False when the bounded queue is full; nothing was queued then. */
  submitStep(plan: NativeStepPlan): boolean;
  /** Ends waiting collectives of this epoch now (0: of whatever runs), drops queued steps. */
  abort(groupEpoch: number): void;
  /** After abort, or to end an epoch in peace: drops the communicator, KV cache, sequences and pictures. */
  endEpoch(): Promise<void>;
  progress(): NativeProgress;
  /** Idempotent; use afterwards fails with ENGINE_CLOSED. */
  close(): Promise<void>;
}

export interface NativeAddon {
  createEngine(options: { device: string; numThreads: number; deterministic: boolean }): NativeEngine;
  /**
   * What a device of this kind would hold of a plan, whatever this addon can run: the code that loads, counting.
   * Touches no file and no device.
   */
  estimateMemory(plan: NativeLoadPlan, kind: 'cpu' | 'cuda'): NativeMemoryEstimate;
  /** Version of this interface; compared with the worker's. */
  interfaceVersion: number;
  /** What ranks on GPUs exchange data by, and why not by what else; '' in the addon for the CPU. */
  deviceCollectives: string;
}
