// Tiled attention with an online softmax (FlashAttention-2, Dao 2023: arXiv 2307.08691) on bf16
// tensor cores. One block of four warps works on 64 or 128 query rows of one head; each warp owns
// 16 or 32 of them and walks over tiles of 64 keys that lie at multiples of 64 absolute positions,
// so that a row's bits depend neither on how its prompt was cut into chunks nor on the block's
// rows. Hopper has attention_warpgroup.cuh.
//
// Keys and values in float8 are copied as codes while the tile before is worked on, and widened to
// bfloat16 in shared memory by the warp that copied them; their scales are applied to the scores
// and to the weights, so that nothing is rounded that a cache in bfloat16 would not round.
#pragma once

#include "cuda/cuda_check.h"
#include "cuda/kernels/attention.h"
#include "cuda/kernels/kv_float8.cuh"
#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/mma.cuh"

namespace skein::cuda {
namespace tiled {

inline constexpr unsigned kAllLanes = 0xffffffffu;
inline constexpr int kKeys = 64;
inline constexpr int kWarps = 4;
inline constexpr int kThreads = kWarps * 32;
// Each warp brings in so many of a tile's keys.
inline constexpr int kLoadRows = kKeys / kWarps;
// Padding of a row in shared memory: shifts consecutive rows by 16 bytes, so that ldmatrix is free
// of bank conflicts.
inline constexpr int kPad = 8;

// Where key `position` of a sequence lies in a paged cache, in rows.
template <typename Keys>
__device__ __forceinline__ int PlaceInBlocks(const Keys& k, const QueryTile& tile, int kv_head,
                                             int position) {
  const int32_t block =
      k.block_tables[static_cast<int64_t>(tile.table_row) * k.max_blocks + position / k.block_size];
  return (block * k.num_kv_heads + kv_head) * k.block_size + position % k.block_size;
}

// One row of 8 columns, or of one where rows are not aligned; zeros where `valid` is false.
template <bool kAligned>
__device__ __forceinline__ void LoadPiece(__nv_bfloat16* shared, const __nv_bfloat16* source,
                                          bool valid) {
  if constexpr (kAligned) {
    CopyAsync16(shared, source, valid);
  } else {
    *shared = valid ? *source : __float2bfloat16(0.0f);
  }
}

// A warp's rows of a tile's codes, of keys and of values; lane i holds in `place` where row i lies,
// -1 for none: those rows become zero. 16 at a time, or four where rows are not whole sixteens.
template <int kD, bool kAligned>
__device__ __forceinline__ void LoadCodes(uint8_t* keys, uint8_t* values, const Float8Kv& kv,
                                          int place, int head_dim) {
  constexpr int kWidth = kAligned ? 16 : 4;
  constexpr int kPieces = kD / kWidth, kCount = kLoadRows * kPieces;
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll 8
  for (int i = 0; i < (kCount + 31) / 32; ++i) {
    const int piece = i * 32 + lane;
    const int from = __shfl_sync(kAllLanes, place, piece / kPieces);
    if (kCount % 32 != 0 && piece >= kCount) continue;
    const int col = piece % kPieces * kWidth;
    const bool valid = from >= 0 && col < head_dim;
    const int64_t offset = valid ? static_cast<int64_t>(from) * head_dim + col : 0;
    if constexpr (kAligned) {
      CopyAsync16(keys + piece * kWidth, kv.keys + offset, valid);
      CopyAsync16(values + piece * kWidth, kv.values + offset, valid);
    } else {
      CopyAsync4(keys + piece * kWidth, kv.keys + offset, valid);
      CopyAsync4(values + piece * kWidth, kv.values + offset, valid);
    }
  }
}

// Multiplies what belongs to a key with its scale.
template <int kRowTiles>
__device__ __forceinline__ void ScaleColumns(float (&values)[kRowTiles][kKeys / 8][4],
                                             const float* scales) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int n = 0; n < kKeys / 8; ++n) {
    const float2 two = *reinterpret_cast<const float2*>(scales + n * 8 + lane % 4 * 2);
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
      values[m][n][0] *= two.x, values[m][n][1] *= two.y;
      values[m][n][2] *= two.x, values[m][n][3] *= two.y;
    }
  }
}

template <int kD, int kRowTiles, bool kCausal, bool kAligned, typename Source>
__global__ void __launch_bounds__(kThreads, kRowTiles == 2 ? 2 : 1)
    TiledAttentionKernel(AttentionArguments a, Source source, const QueryTile* tiles) {
  constexpr int kStride = kD + kPad;
  constexpr int kWarpRows = 16 * kRowTiles;
  constexpr int kRows = kWarps * kWarpRows;
  constexpr int kWidth = kAligned ? 8 : 1;
  constexpr int kPieces = kD / kWidth;
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  auto* q_tile = reinterpret_cast<__nv_bfloat16*>(shared_bytes);
  // Two stages of each, or one that codes are widened to, from two stages of theirs.
  constexpr bool kFloat8 = Source::kIsFloat8;
  constexpr int kStages = kFloat8 ? 1 : 2;
  auto* k_tiles = q_tile + kRows * kStride;
  auto* v_tiles = k_tiles + kStages * kKeys * kStride;
  [[maybe_unused]] auto* k_codes = reinterpret_cast<uint8_t*>(v_tiles + kStages * kKeys * kStride);
  [[maybe_unused]] auto* v_codes = k_codes + 2 * kKeys * kD;
  // Of keys and of values, by stage.
  [[maybe_unused]] __shared__ __align__(16) float scales[2][kFloat8 ? 2 : 1][kFloat8 ? kKeys : 1];

  LetNextStart();
  const QueryTile tile = tiles[blockIdx.x];
  const int head = blockIdx.y;
  const int kv_head = a.q_to_kv == nullptr ? head : a.q_to_kv[head];
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  WaitForPrevious();
  __nv_bfloat16* out = a.out + static_cast<int64_t>(tile.query_row) * a.out_stride +
                       static_cast<int64_t>(head) * a.head_dim;
  if (tile.num_rows == 0) {
    for (int i = threadIdx.x; i < a.head_dim; i += kThreads) out[i] = __float2bfloat16(0.0f);
    return;
  }
  const int last_position = tile.first_position + tile.num_rows - 1;
  const int num_keys = kCausal ? min(last_position + 1, tile.context_length) : tile.context_length;
  const int num_key_tiles = (num_keys + kKeys - 1) / kKeys;

  {
    const __nv_bfloat16* q = a.q + static_cast<int64_t>(tile.query_row) * a.q_stride +
                             static_cast<int64_t>(head) * a.head_dim;
    for (int i = threadIdx.x; i < kRows * kPieces; i += kThreads) {
      const int row = i / kPieces;
      const int col = i % kPieces * kWidth;
      const bool valid = row < tile.num_rows && col < a.head_dim;
      LoadPiece<kAligned>(q_tile + row * kStride + col, q + (valid ? row * a.q_stride + col : 0),
                          valid);
    }
  }
  // Each warp loads 16 rows; lane i finds where row i lies, once for keys and values.
  const auto load_keys = [&](int index) {
    const int position = index * kKeys + warp * kLoadRows + lane;
    const int place =
        lane < kLoadRows && position < num_keys ? source.Place(tile, kv_head, position) : -1;
    const int first = (index & 1) * kKeys + warp * kLoadRows;
    if constexpr (kFloat8) {
      LoadCodes<kD, kAligned>(k_codes + first * kD, v_codes + first * kD, source.k.kv, place,
                              a.head_dim);
      if (lane < kLoadRows) {
        const int from = max(place, 0), to = warp * kLoadRows + lane;
        CopyAsync4(&scales[0][index & 1][to], source.k.kv.key_scales + from, place >= 0);
        CopyAsync4(&scales[1][index & 1][to], source.k.kv.value_scales + from, place >= 0);
      }
    } else {
      const __nv_bfloat16* keys = source.Keys(kv_head);
      const __nv_bfloat16* values = source.Values(kv_head);
#pragma unroll 8
      for (int i = 0; i < kLoadRows * kPieces / 32; ++i) {
        const int row = (i * 32 + lane) / kPieces;
        const int col = (i * 32 + lane) % kPieces * kWidth;
        const int from = __shfl_sync(kAllLanes, place, row);
        const bool valid = from >= 0 && col < a.head_dim;
        const int64_t offset = valid ? from * source.Stride() + col : 0;
        const int at = (first + row) * kStride + col;
        LoadPiece<kAligned>(k_tiles + at, keys + offset, valid);
        LoadPiece<kAligned>(v_tiles + at, values + offset, valid);
      }
    }
    CommitAsync();
  };
  load_keys(0);

  float output[kRowTiles][kD / 8][4] = {};
  // Of rows lane / 4 and lane / 4 + 8 of each sixteen.
  float row_max[kRowTiles][2];
  float row_sum[kRowTiles][2] = {};
#pragma unroll
  for (auto& maxima : row_max) maxima[0] = maxima[1] = -INFINITY;
  const float scale_log2 = a.scale * 1.4426950408889634f;
  const int first_row = warp * kWarpRows;
  const int last_row_position = tile.first_position + first_row + kWarpRows - 1;

  for (int index = 0; index < num_key_tiles; ++index) {
    if (index + 1 < num_key_tiles) {
      load_keys(index + 1);
      WaitAsync<1>();
    } else {
      WaitAsync<0>();
    }
    const int stage = index & 1;
    if constexpr (kFloat8) {
      // The rows that this warp copied; the barrier at the end of the last turn let go of the tile.
      __syncwarp();
      const int to = warp * kLoadRows * kStride, from = (stage * kKeys + warp * kLoadRows) * kD;
      WidenRows<kD, kLoadRows, kStride>(k_tiles + to, k_codes + from);
      WidenRows<kD, kLoadRows, kStride>(v_tiles + to, v_codes + from);
    }
    __syncthreads();
    const int base = index * kKeys;
    // A warp whose rows do not exist, or stand before all keys of the tile, has nothing to add.
    const bool is_active = first_row < tile.num_rows && (!kCausal || base <= last_row_position);
    if (is_active) {
      const __nv_bfloat16* k_tile = k_tiles + (kFloat8 ? 0 : stage) * kKeys * kStride;
      const __nv_bfloat16* v_tile = v_tiles + (kFloat8 ? 0 : stage) * kKeys * kStride;
      float scores[kRowTiles][kKeys / 8][4] = {};
#pragma unroll
      for (int k = 0; k < kD / 16; ++k) {
        uint32_t q[kRowTiles][4];
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
          LoadMatrix4(q[m], SharedAddress(q_tile + (first_row + m * 16 + lane % 16) * kStride +
                                          k * 16 + lane / 16 * 8));
        }
#pragma unroll
        for (int n = 0; n < kKeys / 16; ++n) {
          uint32_t b[4];
          LoadMatrix4(b, SharedAddress(k_tile + (n * 16 + lane / 16 * 8 + lane % 8) * kStride +
                                       k * 16 + lane / 8 % 2 * 8));
#pragma unroll
          for (int m = 0; m < kRowTiles; ++m) {
            MultiplyAccumulate(scores[m][2 * n], q[m], b[0], b[1]);
            MultiplyAccumulate(scores[m][2 * n + 1], q[m], b[2], b[3]);
          }
        }
      }

      if constexpr (kFloat8) ScaleColumns(scores, scales[0][stage]);

#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
        const int position_of_row = tile.first_position + first_row + m * 16 + lane / 4;
        if (base + kKeys > num_keys ||
            (kCausal && base + kKeys > tile.first_position + first_row + m * 16 + 1)) {
#pragma unroll
          for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
              const int position = base + n * 8 + lane % 4 * 2 + (i & 1);
              if (position >= num_keys || (kCausal && position > position_of_row + i / 2 * 8)) {
                scores[m][n][i] = -INFINITY;
              }
            }
          }
        }
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          float maximum = row_max[m][r];
#pragma unroll
          for (int n = 0; n < kKeys / 8; ++n) {
            maximum = fmaxf(maximum, fmaxf(scores[m][n][2 * r], scores[m][n][2 * r + 1]));
          }
          maximum = fmaxf(maximum, __shfl_xor_sync(kAllLanes, maximum, 1));
          maximum = fmaxf(maximum, __shfl_xor_sync(kAllLanes, maximum, 2));
          // A row beyond the tile may have no key at all: keep its exponents finite.
          const float safe = maximum == -INFINITY ? 0.0f : maximum;
          const float correction = PowerOfTwo((row_max[m][r] - safe) * scale_log2);
          row_max[m][r] = maximum;
          const float shift = -safe * scale_log2;
          float sum = row_sum[m][r] * correction;
#pragma unroll
          for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
            for (int i = 2 * r; i < 2 * r + 2; ++i) {
              scores[m][n][i] = PowerOfTwo(fmaf(scores[m][n][i], scale_log2, shift));
              sum += scores[m][n][i];
            }
          }
          row_sum[m][r] = sum;
#pragma unroll
          for (int d = 0; d < kD / 8; ++d) {
            output[m][d][2 * r] *= correction;
            output[m][d][2 * r + 1] *= correction;
          }
        }
      }

      // Sums are of the weights themselves.
      if constexpr (kFloat8) ScaleColumns(scores, scales[1][stage]);
#pragma unroll
      for (int k = 0; k < kKeys / 16; ++k) {
        uint32_t p[kRowTiles][4];
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
          p[m][0] = PackBFloat16(scores[m][2 * k][0], scores[m][2 * k][1]);
          p[m][1] = PackBFloat16(scores[m][2 * k][2], scores[m][2 * k][3]);
          p[m][2] = PackBFloat16(scores[m][2 * k + 1][0], scores[m][2 * k + 1][1]);
          p[m][3] = PackBFloat16(scores[m][2 * k + 1][2], scores[m][2 * k + 1][3]);
        }
#pragma unroll
        for (int d = 0; d < kD / 16; ++d) {
          uint32_t b[4];
          LoadMatrix4Transposed(
              b, SharedAddress(v_tile + (k * 16 + lane % 16) * kStride + d * 16 + lane / 16 * 8));
#pragma unroll
          for (int m = 0; m < kRowTiles; ++m) {
            MultiplyAccumulate(output[m][2 * d], p[m], b[0], b[1]);
            MultiplyAccumulate(output[m][2 * d + 1], p[m], b[2], b[3]);
          }
        }
      }
    }
    __syncthreads();
  }

#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float sum = row_sum[m][r];
      sum += __shfl_xor_sync(kAllLanes, sum, 1);
      sum += __shfl_xor_sync(kAllLanes, sum, 2);
      const int row = first_row + m * 16 + lane / 4 + r * 8;
      if (row >= tile.num_rows) continue;
      const float inverse = sum > 0.0f ? 1.0f / sum : 0.0f;
      __nv_bfloat16* out_row = out + row * a.out_stride;
#pragma unroll
      for (int d = 0; d < kD / 8; ++d) {
        const int col = d * 8 + lane % 4 * 2;
        const float low = output[m][d][2 * r] * inverse;
        const float high = output[m][d][2 * r + 1] * inverse;
        if constexpr (kAligned) {
          if (col < a.head_dim) {
            *reinterpret_cast<uint32_t*>(out_row + col) = PackBFloat16(low, high);
          }
        } else {
          if (col < a.head_dim) out_row[col] = __float2bfloat16(low);
          if (col + 1 < a.head_dim) out_row[col + 1] = __float2bfloat16(high);
        }
      }
    }
  }
}

template <int kD, int kRowTiles, bool kCausal, bool kAligned, typename Source>
void Launch(const AttentionArguments& a, const Source& source, const QueryTile* tiles,
            int num_tiles, Stream& stream) {
  constexpr int kRows = kWarps * 16 * kRowTiles + (Source::kIsFloat8 ? 2 : 4) * kKeys;
  constexpr int kBytes = kRows * (kD + kPad) * static_cast<int>(sizeof(__nv_bfloat16)) +
                         (Source::kIsFloat8 ? 4 * kKeys * kD : 0);
  const auto kernel = TiledAttentionKernel<kD, kRowTiles, kCausal, kAligned, Source>;
  SKEIN_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
  LaunchOverlapped(kernel, dim3(num_tiles, a.num_heads), dim3(kThreads), kBytes, stream, a, source,
                   tiles);
}

template <bool kCausal, typename Source>
void LaunchForHeadDim(const AttentionArguments& a, const Source& source, const QueryTile* tiles,
                      int num_tiles, int tile_rows, Stream& stream) {
  SKEIN_CHECK(a.head_dim >= 1 && a.head_dim <= 128, "head_dim %d", a.head_dim);
  SKEIN_CHECK(tile_rows >= 1 && tile_rows <= 128, "tiles of %d rows", tile_rows);
  const bool is_aligned = a.head_dim % (Source::kIsFloat8 ? 16 : 8) == 0 && a.q_stride % 8 == 0 &&
                          a.out_stride % 8 == 0;
  const auto launch = [&]<int kD>() {
    const auto kernel = tile_rows <= 64 ? (is_aligned ? Launch<kD, 1, kCausal, true, Source>
                                                      : Launch<kD, 1, kCausal, false, Source>)
                                        : (is_aligned ? Launch<kD, 2, kCausal, true, Source>
                                                      : Launch<kD, 2, kCausal, false, Source>);
    kernel(a, source, tiles, num_tiles, stream);
  };
  if (a.head_dim <= 16) {
    launch.template operator()<16>();
  } else if (a.head_dim <= 32) {
    launch.template operator()<32>();
  } else if (a.head_dim <= 64) {
    launch.template operator()<64>();
  } else {
    launch.template operator()<128>();
  }
}

}  // namespace tiled
}  // namespace skein::cuda
