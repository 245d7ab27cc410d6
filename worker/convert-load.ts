// LoadRequest -> the engine's load plan. Copies numbers and names; what they mean is the engine's to check.
import { AppError } from '../common/errors.js';
import { uint64ToNumber } from '../common/proto.js';
import { packUint64, unpackUint32, unpackUint64 } from '../common/packed.js';
import { TensorPart } from '../proto/ts/skein/worker/v1/TensorPart.js';
import { TensorRole } from '../proto/ts/skein/worker/v1/TensorRole.js';
import type { LoadRequest__Output } from '../proto/ts/skein/worker/v1/LoadRequest.js';
import type { LoadResult } from '../proto/ts/skein/worker/v1/LoadResult.js';
import type { RankLayout__Output } from '../proto/ts/skein/worker/v1/RankLayout.js';
import type { RankTensor__Output } from '../proto/ts/skein/worker/v1/RankTensor.js';
import type { Slice__Output } from '../proto/ts/skein/worker/v1/Slice.js';
import type { VisionSpec__Output } from '../proto/ts/skein/worker/v1/VisionSpec.js';
import { tensorPartNumber, tensorRoleNumber } from '../common/native/tensor-numbers.js';
import type {
  NativeDataType,
  NativeLoadPlan,
  NativeLoadResult,
  NativeRankLayout,
  NativeRankTensor,
  NativeSlice,
  NativeVisionSpec,
} from '../common/native/native.js';

const DATA_TYPES: Readonly<Record<string, NativeDataType>> = {
  DATA_TYPE_FLOAT32: 'float32',
  DATA_TYPE_BFLOAT16: 'bfloat16',
  DATA_TYPE_FLOAT16: 'float16',
  DATA_TYPE_INT32: 'int32',
  DATA_TYPE_FLOAT8_E4M3: 'float8_e4m3',
};

export function toNativeLoadPlan(request: LoadRequest__Output): NativeLoadPlan {
  if (request.text === null || request.layout === null) throw invalid('text and layout', 'must be present');
  const computeType = dataType(request.computeType, 'compute_type');
  if (computeType !== 'float32' && computeType !== 'bfloat16')
    throw invalid('compute_type', `cannot be ${computeType}`);
  return {
    weightsHash: request.weightsHash,
    expectedChecksums: unpackUint64(request.expectedChecksums, 'expected_checksums'),
    text: { ...request.text },
    vision: request.vision === null ? null : toNativeVision(request.vision),
    layout: toNativeLayout(request.layout),
    files: request.files.map((file) => ({
      path: file.path,
      sizeBytes: uint64ToNumber(file.sizeBytes, 'files.size_bytes'),
    })),
    tensors: request.tensors.map(toNativeTensor),
    slices: request.slices.map(toNativeSlice),
    computeType,
    float8KvCache: request.float8KvCache,
    dummyWeights: request.dummyWeights,
    dummySeed: uint64ToNumber(request.dummySeed, 'dummy_seed'),
    maxNumSequences: request.maxNumSequences,
    maxStepTokens: request.maxStepTokens,
    blockSize: request.blockSize,
    maxModelLength: request.maxModelLength,
    numTileSlots: request.numTileSlots,
    maxTilesPerStep: request.maxTilesPerStep,
    maxTopLogprobs: request.maxTopLogprobs,
    graphBuckets: unpackUint32(request.graphBuckets, 'graph_buckets'),
    memoryShare: request.memoryShare,
  };
}

function toNativeVision(vision: VisionSpec__Output): NativeVisionSpec {
  if (vision.normType === 'NORM_TYPE_UNSPECIFIED') throw invalid('vision.norm_type', 'is not set');
  return {
    ...vision,
    normType: vision.normType === 'NORM_TYPE_RMS' ? 'rms' : 'layer',
    pixelMean: Float32Array.from(vision.pixelMean),
    pixelStd: Float32Array.from(vision.pixelStd),
  };
}

function toNativeLayout(layout: RankLayout__Output): NativeRankLayout {
  return {
    ...layout,
    qToKv: unpackUint32(layout.qToKv, 'layout.q_to_kv'),
    visionParallel: layout.visionParallel === 'VISION_PARALLEL_DATA' ? 'data' : 'tensor',
  };
}

function toNativeTensor(tensor: RankTensor__Output): NativeRankTensor {
  return {
    ...tensor,
    role: tensorRoleNumber(TensorRole[tensor.role]),
    part: tensorPartNumber(TensorPart[tensor.part]),
    rows: uint64ToNumber(tensor.rows, 'tensors.rows'),
    cols: uint64ToNumber(tensor.cols, 'tensors.cols'),
    storedType: dataType(tensor.storedType, 'tensors.stored_type'),
  };
}

function toNativeSlice(slice: Slice__Output): NativeSlice {
  return {
    fileIndex: slice.fileIndex,
    dataOffset: uint64ToNumber(slice.dataOffset, 'slices.data_offset'),
    dataType: dataType(slice.dataType, 'slices.data_type'),
    sourceRows: uint64ToNumber(slice.sourceRows, 'slices.source_rows'),
    sourceCols: uint64ToNumber(slice.sourceCols, 'slices.source_cols'),
    rowStart: uint64ToNumber(slice.rowStart, 'slices.row_start'),
    rowEnd: uint64ToNumber(slice.rowEnd, 'slices.row_end'),
    colStart: uint64ToNumber(slice.colStart, 'slices.col_start'),
    colEnd: uint64ToNumber(slice.colEnd, 'slices.col_end'),
    tensorIndex: slice.tensorIndex,
    destRow: uint64ToNumber(slice.destRow, 'slices.dest_row'),
    destCol: uint64ToNumber(slice.destCol, 'slices.dest_col'),
    sourceName: slice.sourceName,
  };
}

export function toLoadResult(result: NativeLoadResult): LoadResult {
  return {
    weightBytes: result.weightBytes,
    readBytes: result.readBytes,
    peakResidentBytes: result.peakResidentBytes,
    activationBytes: result.activationBytes,
    kvBytesPerBlock: result.kvBytesPerBlock,
    availableBytes: result.availableBytes,
    workspaceBytes: result.workspaceBytes,
    reserveBytes: result.reserveBytes,
    loadMs: result.loadMs,
    times: result.times,
    tensorChecksums: packUint64(result.tensorChecksums),
  };
}

function dataType(value: string, field: string): NativeDataType {
  const type = DATA_TYPES[value];
  if (type === undefined) throw invalid(field, 'is not set');
  return type;
}

function invalid(field: string, reason: string): AppError {
  return new AppError('INVALID_REQUEST', `${field} ${reason}`, { details: { param: field } });
}
