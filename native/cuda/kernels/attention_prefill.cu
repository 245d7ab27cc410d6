// Tiled attention with an online softmax (FlashAttention-2, Dao 2023: arXiv 2307.08691) on bf16
// tensor cores. One block of four warps works on 64 query rows of one head; each warp owns 16 rows
// and walks over tiles of 64 keys that lie at multiples of 64 absolute positions, so that a row's
// bits do not depend on how its prompt was cut into chunks.

#include "cuda/cuda_check.h"
#include "cuda/kernels/attention.h"
#include "cuda/kernels/mma.cuh"

namespace skein::cuda {
namespace {

constexpr int kRows = kQueryTileRows;
constexpr int kKeys = 64;
constexpr int kThreads = 128;
// Padding of a row in shared memory: shifts consecutive rows by 16 bytes, so that ldmatrix is free
// of bank conflicts.
constexpr int kPad = 8;

struct PagedSource {
  PagedKeys k;
  int head_dim;
  __device__ int64_t Offset(const QueryTile& tile, int kv_head, int position) const {
    const int32_t block = k.block_tables[static_cast<int64_t>(tile.table_row) * k.max_blocks +
                                         position / k.block_size];
    return ((static_cast<int64_t>(block) * k.num_kv_heads + kv_head) * k.block_size +
            position % k.block_size) *
           head_dim;
  }
  __device__ const __nv_bfloat16* Keys() const { return k.keys; }
  __device__ const __nv_bfloat16* Values() const { return k.values; }
};

struct ContiguousSource {
  ContiguousKeys k;
  int head_dim;
  __device__ int64_t Offset(const QueryTile& tile, int kv_head, int position) const {
    return (static_cast<int64_t>(tile.table_row) + position) * k.row_stride +
           static_cast<int64_t>(kv_head) * head_dim;
  }
  __device__ const __nv_bfloat16* Keys() const { return k.keys; }
  __device__ const __nv_bfloat16* Values() const { return k.values; }
};

// rows x head_dim elements into a padded tile of kD columns; columns beyond head_dim and invalid
// rows become zero.
template <int kD, typename RowPointer>
__device__ __forceinline__ void LoadTile(__nv_bfloat16* shared, int head_dim, int rows,
                                         RowPointer row_pointer) {
  constexpr int kChunks = kD / 8;
  if (head_dim % 8 == 0) {
    for (int i = threadIdx.x; i < rows * kChunks; i += kThreads) {
      const int row = i / kChunks;
      const int col = (i % kChunks) * 8;
      const __nv_bfloat16* source = row_pointer(row);
      const bool valid = source != nullptr && col < head_dim;
      CopyAsync16(shared + row * (kD + kPad) + col, valid ? source + col : nullptr, valid);
    }
  } else {
    for (int i = threadIdx.x; i < rows * kD; i += kThreads) {
      const int row = i / kD;
      const int col = i % kD;
      const __nv_bfloat16* source = row_pointer(row);
      shared[row * (kD + kPad) + col] =
          source != nullptr && col < head_dim ? source[col] : __float2bfloat16(0.0f);
    }
  }
}

template <int kD, bool kCausal, typename Source>
__global__ void __launch_bounds__(kThreads)
    TiledAttentionKernel(AttentionArguments a, Source source, const QueryTile* tiles) {
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  auto* q_tile = reinterpret_cast<__nv_bfloat16*>(shared_bytes);
  auto* k_tiles = q_tile + kRows * (kD + kPad);
  auto* v_tiles = k_tiles + 2 * kKeys * (kD + kPad);

  const QueryTile tile = tiles[blockIdx.x];
  const int head = blockIdx.y;
  const int kv_head = a.q_to_kv == nullptr ? head : a.q_to_kv[head];
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const int last_position = tile.first_position + tile.num_rows - 1;
  const int num_keys = kCausal ? min(last_position + 1, tile.context_length) : tile.context_length;
  const int num_key_tiles = (num_keys + kKeys - 1) / kKeys;

  LoadTile<kD>(q_tile, a.head_dim, kRows, [&](int row) -> const __nv_bfloat16* {
    if (row >= tile.num_rows) return nullptr;
    return a.q + (static_cast<int64_t>(tile.query_row) + row) * a.q_stride +
           static_cast<int64_t>(head) * a.head_dim;
  });
  const auto load_keys = [&](int index) {
    __nv_bfloat16* k_tile = k_tiles + (index & 1) * kKeys * (kD + kPad);
    __nv_bfloat16* v_tile = v_tiles + (index & 1) * kKeys * (kD + kPad);
    const int base = index * kKeys;
    LoadTile<kD>(k_tile, a.head_dim, kKeys, [&](int row) -> const __nv_bfloat16* {
      return base + row < num_keys ? source.Keys() + source.Offset(tile, kv_head, base + row)
                                   : nullptr;
    });
    LoadTile<kD>(v_tile, a.head_dim, kKeys, [&](int row) -> const __nv_bfloat16* {
      return base + row < num_keys ? source.Values() + source.Offset(tile, kv_head, base + row)
                                   : nullptr;
    });
    CommitAsync();
  };
  load_keys(0);

  float output[kD / 8][4];
#pragma unroll
  for (auto& fragment : output) {
#pragma unroll
    for (float& value : fragment) value = 0.0f;
  }
  // Rows lane / 4 and lane / 4 + 8 of the warp's sixteen.
  float row_max[2] = {-INFINITY, -INFINITY};
  float row_sum[2] = {0.0f, 0.0f};
  uint32_t q_fragments[kD / 16][4];
  const float scale_log2 = a.scale * 1.4426950408889634f;
  const int row_position[2] = {tile.first_position + warp * 16 + lane / 4,
                               tile.first_position + warp * 16 + lane / 4 + 8};

  for (int index = 0; index < num_key_tiles; ++index) {
    if (index + 1 < num_key_tiles) {
      load_keys(index + 1);
      WaitAsync<1>();
    } else {
      WaitAsync<0>();
    }
    __syncthreads();
    if (index == 0) {
#pragma unroll
      for (int k = 0; k < kD / 16; ++k) {
        LoadMatrix4(q_fragments[k], SharedAddress(q_tile + (warp * 16 + lane % 16) * (kD + kPad) +
                                                  k * 16 + (lane / 16) * 8));
      }
    }
    const __nv_bfloat16* k_tile = k_tiles + (index & 1) * kKeys * (kD + kPad);
    const __nv_bfloat16* v_tile = v_tiles + (index & 1) * kKeys * (kD + kPad);

    float scores[kKeys / 8][4];
#pragma unroll
    for (auto& fragment : scores) {
#pragma unroll
      for (float& value : fragment) value = 0.0f;
    }
#pragma unroll
    for (int k = 0; k < kD / 16; ++k) {
#pragma unroll
      for (int n = 0; n < kKeys / 16; ++n) {
        uint32_t b[4];
        LoadMatrix4(b, SharedAddress(k_tile + (n * 16 + (lane / 16) * 8 + lane % 8) * (kD + kPad) +
                                     k * 16 + ((lane / 8) % 2) * 8));
        MultiplyAccumulate(scores[2 * n], q_fragments[k], b[0], b[1]);
        MultiplyAccumulate(scores[2 * n + 1], q_fragments[k], b[2], b[3]);
      }
    }

    const int base = index * kKeys;
    const bool needs_mask =
        base + kKeys > num_keys || (kCausal && base + kKeys > tile.first_position + 1);
    float new_max[2] = {row_max[0], row_max[1]};
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        scores[n][i] *= scale_log2;
        if (needs_mask) {
          const int position = base + n * 8 + (lane % 4) * 2 + (i & 1);
          if (position >= num_keys || (kCausal && position > row_position[i / 2])) {
            scores[n][i] = -INFINITY;
          }
        }
        new_max[i / 2] = fmaxf(new_max[i / 2], scores[n][i]);
      }
    }
    float correction[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      new_max[r] = fmaxf(new_max[r], __shfl_xor_sync(0xffffffffu, new_max[r], 1));
      new_max[r] = fmaxf(new_max[r], __shfl_xor_sync(0xffffffffu, new_max[r], 2));
      // A row beyond the tile may have no key at all: keep its exponents finite.
      const float safe = new_max[r] == -INFINITY ? 0.0f : new_max[r];
      correction[r] = exp2f(row_max[r] - safe);
      row_max[r] = new_max[r];
      new_max[r] = safe;
      row_sum[r] *= correction[r];
    }
#pragma unroll
    for (int d = 0; d < kD / 8; ++d) {
      output[d][0] *= correction[0];
      output[d][1] *= correction[0];
      output[d][2] *= correction[1];
      output[d][3] *= correction[1];
    }
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        scores[n][i] = exp2f(scores[n][i] - new_max[i / 2]);
        row_sum[i / 2] += scores[n][i];
      }
    }
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k) {
      const uint32_t p[4] = {PackBFloat16(scores[2 * k][0], scores[2 * k][1]),
                             PackBFloat16(scores[2 * k][2], scores[2 * k][3]),
                             PackBFloat16(scores[2 * k + 1][0], scores[2 * k + 1][1]),
                             PackBFloat16(scores[2 * k + 1][2], scores[2 * k + 1][3])};
#pragma unroll
      for (int d = 0; d < kD / 16; ++d) {
        uint32_t b[4];
        LoadMatrix4Transposed(b, SharedAddress(v_tile + (k * 16 + lane % 16) * (kD + kPad) +
                                               d * 16 + (lane / 16) * 8));
        MultiplyAccumulate(output[2 * d], p, b[0], b[1]);
        MultiplyAccumulate(output[2 * d + 1], p, b[2], b[3]);
      }
    }
    __syncthreads();
  }

#pragma unroll
  for (int r = 0; r < 2; ++r) {
    row_sum[r] += __shfl_xor_sync(0xffffffffu, row_sum[r], 1);
    row_sum[r] += __shfl_xor_sync(0xffffffffu, row_sum[r], 2);
    const int row = warp * 16 + lane / 4 + r * 8;
    if (row >= tile.num_rows) continue;
    const float inverse = row_sum[r] > 0.0f ? 1.0f / row_sum[r] : 0.0f;
    __nv_bfloat16* out = a.out + (static_cast<int64_t>(tile.query_row) + row) * a.out_stride +
                         static_cast<int64_t>(head) * a.head_dim;
#pragma unroll
    for (int d = 0; d < kD / 8; ++d) {
      const int col = d * 8 + (lane % 4) * 2;
      if (col < a.head_dim) out[col] = __float2bfloat16(output[d][2 * r] * inverse);
      if (col + 1 < a.head_dim) out[col + 1] = __float2bfloat16(output[d][2 * r + 1] * inverse);
    }
  }
}

template <int kD, bool kCausal, typename Source>
void Launch(const AttentionArguments& a, const Source& source, const QueryTile* tiles,
            int num_tiles, cudaStream_t stream) {
  constexpr int kBytes =
      (kRows + 4 * kKeys) * (kD + kPad) * static_cast<int>(sizeof(__nv_bfloat16));
  const auto kernel = TiledAttentionKernel<kD, kCausal, Source>;
  SKEIN_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
  kernel<<<dim3(num_tiles, a.num_heads), kThreads, kBytes, stream>>>(a, source, tiles);
  SKEIN_CUDA_LAUNCHED("TiledAttentionKernel");
}

template <bool kCausal, typename Source>
void LaunchForHeadDim(const AttentionArguments& a, const Source& source, const QueryTile* tiles,
                      int num_tiles, cudaStream_t stream) {
  if (num_tiles == 0) return;
  SKEIN_CHECK(a.head_dim >= 1 && a.head_dim <= 128, "head_dim %d", a.head_dim);
  if (a.head_dim <= 16) {
    Launch<16, kCausal>(a, source, tiles, num_tiles, stream);
  } else if (a.head_dim <= 32) {
    Launch<32, kCausal>(a, source, tiles, num_tiles, stream);
  } else if (a.head_dim <= 64) {
    Launch<64, kCausal>(a, source, tiles, num_tiles, stream);
  } else {
    Launch<128, kCausal>(a, source, tiles, num_tiles, stream);
  }
}

}  // namespace

void PagedPrefillAttention(const AttentionArguments& arguments, const PagedKeys& keys,
                           const QueryTile* tiles, int num_tiles, cudaStream_t stream) {
  LaunchForHeadDim<true>(arguments, PagedSource{keys, arguments.head_dim}, tiles, num_tiles,
                         stream);
}

void ContiguousAttention(const AttentionArguments& arguments, const ContiguousKeys& keys,
                         const QueryTile* tiles, int num_tiles, cudaStream_t stream) {
  LaunchForHeadDim<false>(arguments, ContiguousSource{keys, arguments.head_dim}, tiles, num_tiles,
                          stream);
}

}  // namespace skein::cuda
