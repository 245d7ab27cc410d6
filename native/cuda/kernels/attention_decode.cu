// Decode attention over the paged cache, split over the context (Flash-Decoding): a block takes one
// KV head of one sequence and one run of kDecodeSplit keys, reads every key and value once for all
// query heads that share it, and leaves an unnormalised partial result; a second kernel combines
// the parts in order. Runs begin at absolute positions, so a row's bits depend on its own context
// only.

#include "cuda/cuda_check.h"
#include "cuda/kernels/attention.h"

namespace skein::cuda {
namespace {

constexpr int kThreads = 128;
// Query heads that one pass over the keys serves; larger groups take several passes.
constexpr int kGroup = 8;

template <bool kAligned>
__device__ __forceinline__ void LoadEight(const __nv_bfloat16* source, int col, int head_dim,
                                          float (&values)[8]) {
  if constexpr (kAligned) {
    if (col < head_dim) {
      const uint4 raw = *reinterpret_cast<const uint4*>(source + col);
      const auto* pairs = reinterpret_cast<const __nv_bfloat162*>(&raw);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float2 pair = __bfloat1622float2(pairs[i]);
        values[2 * i] = pair.x;
        values[2 * i + 1] = pair.y;
      }
      return;
    }
#pragma unroll
    for (float& value : values) value = 0.0f;
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      values[i] = col + i < head_dim ? __bfloat162float(source[col + i]) : 0.0f;
    }
  }
}

template <int kD, bool kAligned>
__global__ void __launch_bounds__(kThreads)
    DecodeKernel(AttentionArguments a, PagedKeys keys, const int32_t* kv_q_start,
                 const QueryTile* tiles, int max_splits, float* partial) {
  constexpr int kLanes = kD / 8;  // lanes that share one key
  constexpr int kKeysPerPass = kThreads / kLanes;
  __shared__ float scores[kGroup][kDecodeSplit];
  __shared__ float reduced[kThreads / 32][kGroup];
  __shared__ int64_t offsets[kDecodeSplit];
  extern __shared__ float accumulators[];  // [kKeysPerPass / 2][kGroup][kD]

  const QueryTile tile = tiles[blockIdx.x];
  const int kv_head = blockIdx.y;
  const int split = blockIdx.z;
  const int begin = split * kDecodeSplit;
  if (tile.num_rows == 0 || begin >= tile.context_length) return;
  const int count = min(kDecodeSplit, tile.context_length - begin);
  const int lane_in_key = threadIdx.x % kLanes;
  const int key_in_pass = threadIdx.x / kLanes;
  const int col = lane_in_key * 8;

  for (int i = threadIdx.x; i < count; i += kThreads) {
    const int position = begin + i;
    const int32_t block = keys.block_tables[static_cast<int64_t>(tile.table_row) * keys.max_blocks +
                                            position / keys.block_size];
    offsets[i] = ((static_cast<int64_t>(block) * keys.num_kv_heads + kv_head) * keys.block_size +
                  position % keys.block_size) *
                 a.head_dim;
  }
  __syncthreads();

  for (int group_start = kv_q_start[kv_head]; group_start < kv_q_start[kv_head + 1];
       group_start += kGroup) {
    const int group = min(kGroup, kv_q_start[kv_head + 1] - group_start);
    float q[kGroup][8];
#pragma unroll
    for (int g = 0; g < kGroup; ++g) {
      if (g >= group) break;
      LoadEight<kAligned>(a.q + static_cast<int64_t>(tile.query_row) * a.q_stride +
                              static_cast<int64_t>(group_start + g) * a.head_dim,
                          col, a.head_dim, q[g]);
    }
#pragma unroll 4
    for (int base = 0; base < count; base += kKeysPerPass) {
      const int i = base + key_in_pass;
      const bool valid = i < count;
      float k[8];
      LoadEight<kAligned>(keys.keys + offsets[valid ? i : 0], col, a.head_dim, k);
#pragma unroll
      for (int g = 0; g < kGroup; ++g) {
        if (g >= group) break;
        float dot = 0.0f;
#pragma unroll
        for (int e = 0; e < 8; ++e) dot = fmaf(q[g][e], k[e], dot);
#pragma unroll
        for (int offset = kLanes / 2; offset > 0; offset /= 2) {
          dot += __shfl_xor_sync(0xffffffffu, dot, offset);
        }
        if (lane_in_key == 0 && valid) scores[g][i] = dot * a.scale;
      }
    }
    __syncthreads();

    // Maximum and sum per head; every thread ends with the block's values.
    float head_max[kGroup];
    float head_sum[kGroup];
#pragma unroll
    for (int g = 0; g < kGroup; ++g) {
      if (g >= group) break;
      float m = -INFINITY;
      for (int i = threadIdx.x; i < count; i += kThreads) m = fmaxf(m, scores[g][i]);
#pragma unroll
      for (int offset = 16; offset > 0; offset /= 2) {
        m = fmaxf(m, __shfl_xor_sync(0xffffffffu, m, offset));
      }
      if (threadIdx.x % 32 == 0) reduced[threadIdx.x / 32][g] = m;
    }
    __syncthreads();
#pragma unroll
    for (int g = 0; g < kGroup; ++g) {
      if (g >= group) break;
      head_max[g] = reduced[0][g];
#pragma unroll
      for (int w = 1; w < kThreads / 32; ++w) head_max[g] = fmaxf(head_max[g], reduced[w][g]);
    }
    __syncthreads();
#pragma unroll
    for (int g = 0; g < kGroup; ++g) {
      if (g >= group) break;
      float sum = 0.0f;
      for (int i = threadIdx.x; i < count; i += kThreads) {
        const float p = __expf(scores[g][i] - head_max[g]);
        scores[g][i] = p;
        sum += p;
      }
#pragma unroll
      for (int offset = 16; offset > 0; offset /= 2) {
        sum += __shfl_xor_sync(0xffffffffu, sum, offset);
      }
      if (threadIdx.x % 32 == 0) reduced[threadIdx.x / 32][g] = sum;
    }
    __syncthreads();
#pragma unroll
    for (int g = 0; g < kGroup; ++g) {
      if (g >= group) break;
      head_sum[g] = 0.0f;
#pragma unroll
      for (int w = 0; w < kThreads / 32; ++w) head_sum[g] += reduced[w][g];
    }

    float sums[kGroup][8];
#pragma unroll
    for (int g = 0; g < kGroup; ++g) {
#pragma unroll
      for (int e = 0; e < 8; ++e) sums[g][e] = 0.0f;
    }
#pragma unroll 4
    for (int i = key_in_pass; i < count; i += kKeysPerPass) {
      float v[8];
      LoadEight<kAligned>(keys.values + offsets[i], col, a.head_dim, v);
#pragma unroll
      for (int g = 0; g < kGroup; ++g) {
        if (g >= group) break;
        const float p = scores[g][i];
#pragma unroll
        for (int e = 0; e < 8; ++e) sums[g][e] = fmaf(p, v[e], sums[g][e]);
      }
    }
    // Halve the number of parts until one is left; the order is fixed.
    for (int parts = kKeysPerPass; parts > 1; parts /= 2) {
      const int half = parts / 2;
      __syncthreads();
      if (key_in_pass >= half && key_in_pass < parts) {
#pragma unroll
        for (int g = 0; g < kGroup; ++g) {
          if (g >= group) break;
#pragma unroll
          for (int e = 0; e < 8; ++e) {
            accumulators[((key_in_pass - half) * kGroup + g) * kD + col + e] = sums[g][e];
          }
        }
      }
      __syncthreads();
      if (key_in_pass < half) {
#pragma unroll
        for (int g = 0; g < kGroup; ++g) {
          if (g >= group) break;
#pragma unroll
          for (int e = 0; e < 8; ++e) {
            sums[g][e] += accumulators[(key_in_pass * kGroup + g) * kD + col + e];
          }
        }
      }
    }
    if (key_in_pass == 0) {
#pragma unroll
      for (int g = 0; g < kGroup; ++g) {
        if (g >= group) break;
        float* out = partial + ((static_cast<int64_t>(blockIdx.x) * a.num_heads + group_start + g) *
                                    max_splits +
                                split) *
                                   (a.head_dim + 2);
        if (lane_in_key == 0) {
          out[0] = head_max[g];
          out[1] = head_sum[g];
        }
#pragma unroll
        for (int e = 0; e < 8; ++e) {
          if (col + e < a.head_dim) out[2 + col + e] = sums[g][e];
        }
      }
    }
    __syncthreads();
  }
}

// Block (tile, head), one thread a column.
__global__ void CombineKernel(AttentionArguments a, const QueryTile* tiles, int max_splits,
                              const float* partial) {
  const QueryTile tile = tiles[blockIdx.x];
  const int head = blockIdx.y;
  const int col = threadIdx.x;
  if (col >= a.head_dim) return;
  __nv_bfloat16* out = a.out + static_cast<int64_t>(tile.query_row) * a.out_stride +
                       static_cast<int64_t>(head) * a.head_dim + col;
  if (tile.num_rows == 0) {
    *out = __float2bfloat16(0.0f);
    return;
  }
  const int splits = (tile.context_length + kDecodeSplit - 1) / kDecodeSplit;
  const float* part = partial + (static_cast<int64_t>(blockIdx.x) * a.num_heads + head) *
                                    max_splits * (a.head_dim + 2);
  float maximum = -INFINITY;
  float sum = 0.0f;
  float value = 0.0f;
#pragma unroll 4
  for (int s = 0; s < splits; ++s, part += a.head_dim + 2) {
    const float new_max = fmaxf(maximum, part[0]);
    const float old_factor = __expf(maximum - new_max);
    const float factor = __expf(part[0] - new_max);
    sum = sum * old_factor + part[1] * factor;
    value = value * old_factor + part[2 + col] * factor;
    maximum = new_max;
  }
  *out = __float2bfloat16(value / sum);
}

template <int kD, bool kAligned>
void Launch(const AttentionArguments& a, const PagedKeys& keys, const int32_t* kv_q_start,
            const QueryTile* tiles, int num_tiles, int max_splits, float* partial,
            cudaStream_t stream) {
  constexpr int kBytes = kThreads / (kD / 8) / 2 * kGroup * kD * static_cast<int>(sizeof(float));
  DecodeKernel<kD, kAligned>
      <<<dim3(num_tiles, keys.num_kv_heads, max_splits), kThreads, kBytes, stream>>>(
          a, keys, kv_q_start, tiles, max_splits, partial);
  SKEIN_CUDA_LAUNCHED("DecodeKernel");
  constexpr int kCombineThreads = kD < 32 ? 32 : kD;
  CombineKernel<<<dim3(num_tiles, a.num_heads), kCombineThreads, 0, stream>>>(a, tiles, max_splits,
                                                                              partial);
  SKEIN_CUDA_LAUNCHED("CombineKernel");
}

}  // namespace

void PagedDecodeAttention(const AttentionArguments& a, const PagedKeys& keys,
                          const int32_t* kv_q_start, const QueryTile* tiles, int num_tiles,
                          int max_splits, float* partial, cudaStream_t stream) {
  if (num_tiles == 0) return;
  SKEIN_CHECK(a.head_dim >= 1 && a.head_dim <= 128, "head_dim %d", a.head_dim);
  const auto launch = [&]<int kD>() {
    if (a.head_dim % 8 == 0) {
      Launch<kD, true>(a, keys, kv_q_start, tiles, num_tiles, max_splits, partial, stream);
    } else {
      Launch<kD, false>(a, keys, kv_q_start, tiles, num_tiles, max_splits, partial, stream);
    }
  };
  if (a.head_dim <= 16) {
    launch.operator()<16>();
  } else if (a.head_dim <= 32) {
    launch.operator()<32>();
  } else if (a.head_dim <= 64) {
    launch.operator()<64>();
  } else {
    launch.operator()<128>();
  }
}

}  // namespace skein::cuda
