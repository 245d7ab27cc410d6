// Pieces of the decode attention kernels: how the sums of warps become a run's, and runs the
// result.
#pragma once

#include "cuda/kernels/attention_decode.cuh"

namespace skein::cuda {
namespace decode {

template <bool kAligned>
__device__ __forceinline__ void StoreFour(__nv_bfloat16* out, int col, int head_dim, float4 v) {
  if constexpr (kAligned) {
    if (col < head_dim) {
      *reinterpret_cast<uint2*>(out + col) =
          make_uint2(PackBFloat16(v.x, v.y), PackBFloat16(v.z, v.w));
    }
  } else {
    const float values[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (col + i < head_dim) out[col + i] = __float2bfloat16(values[i]);
    }
  }
}

// The end of a run: the warps' sums become one, added in the order of the warps. They meet eight
// rows at a time in `parts`, kPartStride floats a warp. store(row, column, maximum, sum, four
// values) gets the result. Every warp's part may be written again afterwards.
template <int kD, int kWarps, int kPartStride, typename Sums, typename Store>
__device__ __forceinline__ void MergeWarps(Sums& sums, float* parts,
                                           float2 (&stats)[kWarps][kDecodeHeads], int group,
                                           const Store& store) {
  constexpr int kRowStride = kD + 8;
  const int warp = threadIdx.x / 32;
  sums.StoreStats(stats[warp]);
  __syncthreads();
  // Finite: the first warp has the run's first key.
  const auto max_of = [&](int row) {
    float maximum = stats[0][row].x;
#pragma unroll
    for (int w = 1; w < kWarps; ++w) maximum = fmaxf(maximum, stats[w][row].x);
    return maximum;
  };
#pragma unroll
  for (int half = 0; half < Sums::kEights; ++half) {
    if (8 * half >= group) break;
    if (half == 1) __syncthreads();
    sums.StoreEightRows(half, parts + warp * kPartStride, kRowStride, group, max_of);
    __syncthreads();
    for (int i = threadIdx.x; i < min(8, group - 8 * half) * (kD / 4); i += kWarps * 32) {
      const int row = i / (kD / 4);
      const int col = i % (kD / 4) * 4;
      const float maximum = max_of(row + 8 * half);
      float sum = 0.0f;
      float4 value = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
      for (int w = 0; w < kWarps; ++w) {
        const float2 of_warp = stats[w][row + 8 * half];
        sum = fmaf(of_warp.y, PowerOfTwo(of_warp.x - maximum), sum);
        const float4 part =
            *reinterpret_cast<const float4*>(parts + w * kPartStride + row * kRowStride + col);
        value.x += part.x, value.y += part.y, value.z += part.z, value.w += part.w;
      }
      store(row + 8 * half, col, maximum, sum, value);
    }
  }
  __syncthreads();
}

// Combines the partial results of all runs of one sequence and head in order; four columns.
template <int kD>
__device__ __forceinline__ float4 CombineRuns(const DecodeWorkspace& workspace, int64_t first_part,
                                              int num_heads, int runs, int col) {
  float maximum = -INFINITY;
  float sum = 0.0f;
  float4 value = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  // Eight at a time, so that their loads are under way together; added one after the other.
  constexpr int kBatch = 8;
  for (int base = 0; base < runs; base += kBatch) {
    float2 stats[kBatch];
    float4 parts[kBatch];
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      const bool exists = base + j < runs;
      const int64_t at = first_part + static_cast<int64_t>(exists ? base + j : 0) * num_heads;
      stats[j] = __ldcg(workspace.stats + at);
      parts[j] = __ldcg(reinterpret_cast<const float4*>(workspace.values + at * kD + col));
      if (!exists) stats[j].x = -INFINITY;
    }
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      const float new_max = fmaxf(maximum, stats[j].x);
      const float old_factor = PowerOfTwo(maximum - new_max);
      const float factor = PowerOfTwo(stats[j].x - new_max);
      sum = sum * old_factor + stats[j].y * factor;
      value.x = value.x * old_factor + parts[j].x * factor;
      value.y = value.y * old_factor + parts[j].y * factor;
      value.z = value.z * old_factor + parts[j].z * factor;
      value.w = value.w * old_factor + parts[j].w * factor;
      maximum = new_max;
    }
  }
  const float inverse = 1.0f / sum;
  return make_float4(value.x * inverse, value.y * inverse, value.z * inverse, value.w * inverse);
}

// Four columns of one head's result of a run, which is partial result `at`, or, as the only run,
// the result itself.
template <int kD, bool kAligned>
__device__ __forceinline__ void StoreRun(const DecodeWorkspace& workspace, int64_t at, int runs,
                                         __nv_bfloat16* out, int col, int head_dim, float maximum,
                                         float sum, float4 value) {
  if (runs == 1) {
    const float inverse = 1.0f / sum;
    value.x *= inverse, value.y *= inverse, value.z *= inverse, value.w *= inverse;
    StoreFour<kAligned>(out, col, head_dim, value);
    return;
  }
  __stcg(reinterpret_cast<float4*>(workspace.values + at * kD + col), value);
  if (col == 0) __stcg(workspace.stats + at, make_float2(maximum, sum));
}

// Behind a block's last run: the last block of a sequence and KV head combines what all have left.
// `is_last` is shared memory.
template <int kD, bool kAligned, int kThreads>
__device__ __forceinline__ void FinishRuns(const DecodeWorkspace& workspace, int64_t first_part,
                                           int num_heads, int head_dim, const BlockWork& work,
                                           bool* is_last) {
  // The partial results of every block are visible before its count is.
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    int32_t* counter = workspace.counters + work.share.tile * gridDim.x + blockIdx.x;
    // A list that was dealt for shorter runs has shares without any.
    *is_last = atomicAdd(counter, 1) == min(work.share.count, work.runs) - 1;
    // Nobody counts after the last; the next launch finds it as this one did.
    if (*is_last) *counter = 0;
  }
  __syncthreads();
  if (!*is_last) return;
  __threadfence();
  for (int i = threadIdx.x; i < work.heads.count * (kD / 4); i += kThreads) {
    const int row = i / (kD / 4);
    const int col = i % (kD / 4) * 4;
    StoreFour<kAligned>(work.out + row * head_dim, col, head_dim,
                        CombineRuns<kD>(workspace, first_part + row, num_heads, work.runs, col));
  }
}

}  // namespace decode
}  // namespace skein::cuda
