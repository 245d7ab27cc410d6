// Decode attention over the paged cache, split over the context (Flash-Decoding). Grid: (KV head,
// sequence, split); a block works through runs of keys split, split + splits, ... (attention.h) and
// leaves an unnormalised partial result for each; the last block of a sequence and KV head to
// finish combines them in order.
//
// The query heads that share the KV head are the rows of m16n8k16 products, so every key and value
// is read once. Warps share nothing within a run: each loads its own keys by cp.async and keeps its
// own softmax; the next keys are on their way while the values are multiplied and the other way
// round. They meet at the end of a run.

#include "cuda/cuda_check.h"
#include "cuda/kernels/attention.h"
#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/mma.cuh"

namespace skein::cuda {
namespace {

constexpr unsigned kAllLanes = 0xffffffffu;
// Padding of a row in shared memory: shifts consecutive rows by 16 bytes, so that ldmatrix is free
// of bank conflicts.
constexpr int kPad = 8;

// Where a block stands in its list of keys: the chunk at `begin` of run `run`.
struct Cursor {
  int run;
  int begin;
  int end;  // of the run's keys that exist
};

// Row `row` of the slice for every row but `skip`; lane i holds in `place` where row i's key lies
// in the cache, -1 for none: those rows become zero, since what lies in unused slots may be
// anything.
template <int kD, bool kAligned, int kSlice>
__device__ __forceinline__ void LoadRows(__nv_bfloat16* shared, const __nv_bfloat16* source,
                                         int head_dim, int place, int skip) {
  const int lane = threadIdx.x % 32;
  if constexpr (kAligned) {
    constexpr int kPieces = kD / 8;
#pragma unroll
    for (int i = 0; i < kSlice * kPieces / 32; ++i) {
      const int row = (i * 32 + lane) / kPieces;
      const int col = (i * 32 + lane) % kPieces * 8;
      const int from = __shfl_sync(kAllLanes, place, row);
      const bool valid = from >= 0 && col < head_dim;
      if (row != skip) {
        CopyAsync16(shared + row * (kD + kPad) + col,
                    source + (valid ? static_cast<int64_t>(from) * head_dim + col : 0), valid);
      }
    }
  } else {
    for (int i = lane; i < kSlice * kD; i += 32) {
      const int row = i / kD;
      const int col = i % kD;
      const int from = __shfl_sync(kAllLanes, place, row);
      const bool valid = from >= 0 && col < head_dim;
      if (row != skip) {
        shared[row * (kD + kPad) + col] =
            valid ? source[static_cast<int64_t>(from) * head_dim + col] : __float2bfloat16(0.0f);
      }
    }
  }
}

// Only row `row`.
template <int kD, bool kAligned>
__device__ __forceinline__ void LoadRow(__nv_bfloat16* shared, const __nv_bfloat16* source,
                                        int head_dim, int place, int row) {
  const int64_t from = static_cast<int64_t>(__shfl_sync(kAllLanes, place, row)) * head_dim;
  __nv_bfloat16* to = shared + row * (kD + kPad);
  const int lane = threadIdx.x % 32;
  if constexpr (kAligned) {
    const int col = lane * 8;
    const bool valid = col < head_dim;
    if (col < kD) CopyAsync16(to + col, source + (valid ? from + col : 0), valid);
  } else {
    for (int col = lane; col < kD; col += 32) {
      to[col] = col < head_dim ? source[from + col] : __float2bfloat16(0.0f);
    }
  }
}

// The group's queries, one head a row; zero rows after them.
template <int kD, bool kAligned, int kThreads>
__device__ __forceinline__ void LoadQueries(__nv_bfloat16* shared, const __nv_bfloat16* source,
                                            int head_dim, int group) {
  constexpr int kWidth = kAligned ? 8 : 1;
  for (int i = threadIdx.x; i < kDecodeHeads * kD / kWidth; i += kThreads) {
    const int row = i / (kD / kWidth);
    const int col = i % (kD / kWidth) * kWidth;
    const bool valid = row < group && col < head_dim;
    const __nv_bfloat16* from = source + (valid ? static_cast<int64_t>(row) * head_dim + col : 0);
    if constexpr (kAligned) {
      CopyAsync16(shared + row * (kD + kPad) + col, from, valid);
    } else {
      shared[row * (kD + kPad) + col] = valid ? *from : __float2bfloat16(0.0f);
    }
  }
}

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

template <int kD, bool kAligned, int kWarps, int kSlice, int kRunKeys>
__global__ void __launch_bounds__(kWarps * 32, kWarps == 8 ? 2 : 3)
    DecodeKernel(AttentionArguments a, PagedKeys keys, const int32_t* kv_q_start,
                 const QueryTile* tiles, DecodeWorkspace workspace) {
  constexpr int kThreads = kWarps * 32;
  constexpr int kChunk = kWarps * kSlice;
  static_assert(kRunKeys % kChunk == 0, "a run is whole chunks");
  static_assert(kSlice == 16 || kSlice == 32, "one lane holds one key's place");
  constexpr int kStride = kD + kPad;
  // The warps' weighted values meet eight rows at a time, in the memory of their values tile.
  constexpr int kMergeStride = kD + 8;
  static_assert(8 * kMergeStride * sizeof(float) <= kSlice * kStride * sizeof(__nv_bfloat16));
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  __shared__ float2 warp_stats[kWarps][kDecodeHeads];
  __shared__ bool is_last;

  LetNextStart();
  const QueryTile tile = tiles[blockIdx.y];
  const int passes = gridDim.x / keys.num_kv_heads;
  const int kv_head = blockIdx.x / passes;
  const int first_head = kv_q_start[kv_head] + blockIdx.x % passes * kDecodeHeads;
  const int group = min(kDecodeHeads, kv_q_start[kv_head + 1] - first_head);
  const int runs = RunsOf(tile.context_length, kRunKeys);
  const int splits = gridDim.z;
  if (group <= 0 || tile.num_rows == 0 || static_cast<int>(blockIdx.z) >= runs) {
    WaitForPrevious();
    if (tile.num_rows == 0 && blockIdx.z == 0) {
      __nv_bfloat16* out = a.out + static_cast<int64_t>(tile.query_row) * a.out_stride +
                           static_cast<int64_t>(first_head) * a.head_dim;
      for (int i = threadIdx.x; i < group * a.head_dim; i += kThreads) {
        out[i] = __float2bfloat16(0.0f);
      }
    }
    return;
  }

  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  auto* k_tile = reinterpret_cast<__nv_bfloat16*>(shared_bytes) + warp * kSlice * kStride;
  auto* v_tile = k_tile + kWarps * kSlice * kStride;
  auto* q_tile = reinterpret_cast<__nv_bfloat16*>(shared_bytes) + 2 * kWarps * kSlice * kStride;
  // Warp w's part of what is merged.
  const auto merge_part = [&](int w) {
    return reinterpret_cast<float*>(reinterpret_cast<__nv_bfloat16*>(shared_bytes) +
                                    (kWarps + w) * kSlice * kStride);
  };

  const auto at_run = [&](int run) {
    const KeyRun keys_of_run = RunAt(run, kRunKeys);
    return Cursor{run, keys_of_run.begin,
                  min(keys_of_run.begin + keys_of_run.length, tile.context_length)};
  };
  const auto advance = [&](const Cursor& cursor) {
    if (cursor.begin + kChunk < cursor.end) {
      return Cursor{cursor.run, cursor.begin + kChunk, cursor.end};
    }
    return cursor.run + splits < runs ? at_run(cursor.run + splits)
                                      : Cursor{cursor.run + splits, 0, 0};
  };
  const int32_t* table = keys.block_tables + static_cast<int64_t>(tile.table_row) * keys.max_blocks;
  const auto place_of = [&](const Cursor& cursor) {
    const int position = cursor.begin + warp * kSlice + lane;
    if (lane >= kSlice || position >= cursor.end) return -1;
    return (table[position / keys.block_size] * keys.num_kv_heads + kv_head) * keys.block_size +
           position % keys.block_size;
  };

  // All keys but the step's own are of earlier steps: they come while the kernels in front finish.
  Cursor cursor = at_run(blockIdx.z);
  int place = place_of(cursor);
  const int own_row = tile.first_position - (cursor.begin + warp * kSlice);
  const bool has_own_row = own_row >= 0 && own_row < kSlice && tile.first_position < cursor.end;
  const int skip = has_own_row ? own_row : -1;
  LoadRows<kD, kAligned, kSlice>(k_tile, keys.keys, a.head_dim, place, skip);
  LoadRows<kD, kAligned, kSlice>(v_tile, keys.values, a.head_dim, place, skip);
  WaitForPrevious();
  if (has_own_row) {
    LoadRow<kD, kAligned>(k_tile, keys.keys, a.head_dim, place, own_row);
    LoadRow<kD, kAligned>(v_tile, keys.values, a.head_dim, place, own_row);
  }
  LoadQueries<kD, kAligned, kThreads>(q_tile,
                                      a.q + static_cast<int64_t>(tile.query_row) * a.q_stride +
                                          static_cast<int64_t>(first_head) * a.head_dim,
                                      a.head_dim, group);
  CommitAsync();

  const float scale_log2 = a.scale * 1.4426950408889634f;
  // Of rows (query heads) lane / 4 and lane / 4 + 8, over this warp's keys of the run.
  float row_max[2] = {-INFINITY, -INFINITY};
  float row_sum[2] = {0.0f, 0.0f};
  float output[kD / 8][4];
  const auto clear_output = [&] {
#pragma unroll
    for (auto& fragment : output) {
#pragma unroll
      for (float& value : fragment) value = 0.0f;
    }
  };
  clear_output();
  __nv_bfloat16* out_row = a.out + static_cast<int64_t>(tile.query_row) * a.out_stride;

  bool is_first = true;
  while (true) {
    const Cursor next = advance(cursor);
    const bool has_next = next.run < runs;
    // Looked up early: its latency would stand before that of the keys themselves.
    const int next_place = has_next ? place_of(next) : -1;
    const bool is_active = cursor.begin + warp * kSlice < cursor.end;
    // Pending: the keys, then the values of this chunk; of the first chunk both in one group.
    if (is_first) {
      WaitAsync<0>();
      // The queries were loaded by all warps.
      __syncthreads();
      is_first = false;
    } else {
      WaitAsync<1>();
      __syncwarp();
    }

    float scores[kSlice / 8][4];
    if (is_active) {
#pragma unroll
      for (auto& fragment : scores) {
#pragma unroll
        for (float& value : fragment) value = 0.0f;
      }
#pragma unroll
      for (int k = 0; k < kD / 16; ++k) {
        uint32_t q[4];
        LoadMatrix4(q, SharedAddress(q_tile + lane % 16 * kStride + k * 16 + lane / 16 * 8));
#pragma unroll
        for (int n = 0; n < kSlice / 16; ++n) {
          uint32_t b[4];
          LoadMatrix4(b, SharedAddress(k_tile + (n * 16 + lane / 16 * 8 + lane % 8) * kStride +
                                       k * 16 + lane / 8 % 2 * 8));
          MultiplyAccumulate(scores[2 * n], q, b[0], b[1]);
          MultiplyAccumulate(scores[2 * n + 1], q, b[2], b[3]);
        }
      }
    }
    __syncwarp();
    if (has_next) {
      LoadRows<kD, kAligned, kSlice>(k_tile, keys.keys, a.head_dim, next_place, -1);
    }
    CommitAsync();

    if (is_active) {
      const int base = cursor.begin + warp * kSlice;
      float new_max[2] = {row_max[0], row_max[1]};
#pragma unroll
      for (int n = 0; n < kSlice / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int position = base + n * 8 + lane % 4 * 2 + (i & 1);
          scores[n][i] = position < cursor.end ? scores[n][i] * scale_log2 : -INFINITY;
          new_max[i / 2] = fmaxf(new_max[i / 2], scores[n][i]);
        }
      }
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        // An active warp has at least one key, so that the maximum is finite.
        new_max[r] = fmaxf(new_max[r], __shfl_xor_sync(kAllLanes, new_max[r], 1));
        new_max[r] = fmaxf(new_max[r], __shfl_xor_sync(kAllLanes, new_max[r], 2));
        const float correction = PowerOfTwo(row_max[r] - new_max[r]);
        row_max[r] = new_max[r];
        row_sum[r] *= correction;
#pragma unroll
        for (int d = 0; d < kD / 8; ++d) {
          output[d][2 * r] *= correction;
          output[d][2 * r + 1] *= correction;
        }
      }
#pragma unroll
      for (int n = 0; n < kSlice / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          scores[n][i] = PowerOfTwo(scores[n][i] - row_max[i / 2]);
          row_sum[i / 2] += scores[n][i];
        }
      }
    }

    WaitAsync<1>();
    __syncwarp();
    if (is_active) {
#pragma unroll
      for (int k = 0; k < kSlice / 16; ++k) {
        const uint32_t p[4] = {PackBFloat16(scores[2 * k][0], scores[2 * k][1]),
                               PackBFloat16(scores[2 * k][2], scores[2 * k][3]),
                               PackBFloat16(scores[2 * k + 1][0], scores[2 * k + 1][1]),
                               PackBFloat16(scores[2 * k + 1][2], scores[2 * k + 1][3])};
#pragma unroll
        for (int d = 0; d < kD / 16; ++d) {
          uint32_t b[4];
          LoadMatrix4Transposed(
              b, SharedAddress(v_tile + (k * 16 + lane % 16) * kStride + d * 16 + lane / 16 * 8));
          MultiplyAccumulate(output[2 * d], p, b[0], b[1]);
          MultiplyAccumulate(output[2 * d + 1], p, b[2], b[3]);
        }
      }
    }
    __syncwarp();

    if (next.run != cursor.run) {
      // The run's end: the warps' results become one, added in the order of the warps.
      float factor[2];
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        row_sum[r] += __shfl_xor_sync(kAllLanes, row_sum[r], 1);
        row_sum[r] += __shfl_xor_sync(kAllLanes, row_sum[r], 2);
        if (lane % 4 == 0) warp_stats[warp][lane / 4 + 8 * r] = make_float2(row_max[r], row_sum[r]);
      }
      __syncthreads();
      // Finite: the first warp has the run's first key.
      const auto max_of = [&](int row) {
        float maximum = warp_stats[0][row].x;
#pragma unroll
        for (int w = 1; w < kWarps; ++w) maximum = fmaxf(maximum, warp_stats[w][row].x);
        return maximum;
      };
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        factor[r] = PowerOfTwo(row_max[r] - max_of(lane / 4 + 8 * r));
      }
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        if (8 * half >= group) break;
        if (half == 1) __syncthreads();
        if (lane / 4 + 8 * half < group) {
          float* part = merge_part(warp) + lane / 4 * kMergeStride + lane % 4 * 2;
#pragma unroll
          for (int d = 0; d < kD / 8; ++d) {
            *reinterpret_cast<float2*>(part + d * 8) = make_float2(
                output[d][2 * half] * factor[half], output[d][2 * half + 1] * factor[half]);
          }
        }
        __syncthreads();
        const int rows = min(8, group - 8 * half);
        for (int i = threadIdx.x; i < rows * (kD / 4); i += kThreads) {
          const int row = i / (kD / 4);
          const int col = i % (kD / 4) * 4;
          const float maximum = max_of(row + 8 * half);
          float sum = 0.0f;
          float4 value = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
          for (int w = 0; w < kWarps; ++w) {
            const float2 stats = warp_stats[w][row + 8 * half];
            sum = fmaf(stats.y, PowerOfTwo(stats.x - maximum), sum);
            const float4 part =
                *reinterpret_cast<const float4*>(merge_part(w) + row * kMergeStride + col);
            value.x += part.x, value.y += part.y, value.z += part.z, value.w += part.w;
          }
          const int head = first_head + row + 8 * half;
          if (runs == 1) {
            const float inverse = 1.0f / sum;
            value.x *= inverse, value.y *= inverse, value.z *= inverse, value.w *= inverse;
            StoreFour<kAligned>(out_row + static_cast<int64_t>(head) * a.head_dim, col, a.head_dim,
                                value);
          } else {
            const int64_t at =
                (static_cast<int64_t>(blockIdx.y) * workspace.max_runs + cursor.run) * a.num_heads +
                head;
            __stcg(reinterpret_cast<float4*>(workspace.values + at * kD + col), value);
            if (col == 0) __stcg(workspace.stats + at, make_float2(maximum, sum));
          }
        }
      }
      __syncthreads();
      row_max[0] = row_max[1] = -INFINITY;
      row_sum[0] = row_sum[1] = 0.0f;
      clear_output();
    }
    if (!has_next) break;
    LoadRows<kD, kAligned, kSlice>(v_tile, keys.values, a.head_dim, next_place, -1);
    CommitAsync();
    cursor = next;
    place = next_place;
  }
  if (runs == 1) return;

  // The partial results of every block are visible before its count is.
  int32_t* counter = workspace.counters + blockIdx.y * gridDim.x + blockIdx.x;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    is_last = atomicAdd(counter, 1) == min(splits, runs) - 1;
    // Nobody counts after the last; the next launch finds it as this one did.
    if (is_last) *counter = 0;
  }
  __syncthreads();
  if (!is_last) return;
  __threadfence();
  for (int i = threadIdx.x; i < group * (kD / 4); i += kThreads) {
    const int head = first_head + i / (kD / 4);
    const int col = i % (kD / 4) * 4;
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
        const int64_t at =
            (static_cast<int64_t>(blockIdx.y) * workspace.max_runs + (exists ? base + j : 0)) *
                a.num_heads +
            head;
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
    value.x *= inverse, value.y *= inverse, value.z *= inverse, value.w *= inverse;
    StoreFour<kAligned>(out_row + static_cast<int64_t>(head) * a.head_dim, col, a.head_dim, value);
  }
}

template <int kD, bool kAligned, int kVariant>
void Launch(const AttentionArguments& a, const PagedKeys& keys, const int32_t* kv_q_start,
            int max_group, const QueryTile* tiles, int num_tiles, int splits,
            const DecodeWorkspace& workspace, cudaStream_t stream) {
  constexpr DecodeVariant kShape = kDecodeVariants[kVariant];
  constexpr int kBytes = (2 * kShape.warps * kShape.keys_per_warp + kDecodeHeads) * (kD + kPad) *
                         static_cast<int>(sizeof(__nv_bfloat16));
  const auto kernel =
      DecodeKernel<kD, kAligned, kShape.warps, kShape.keys_per_warp, kShape.run_keys>;
  SKEIN_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
  const dim3 grid(keys.num_kv_heads * DecodePasses(max_group), num_tiles, splits);
  LaunchOverlapped(kernel, grid, dim3(kShape.warps * 32), kBytes, stream, a, keys, kv_q_start,
                   tiles, workspace);
}

}  // namespace

void PagedDecodeAttention(const AttentionArguments& a, const PagedKeys& keys,
                          const int32_t* kv_q_start, int max_group, const QueryTile* tiles,
                          int num_tiles, int splits, const DecodeWorkspace& workspace, int variant,
                          cudaStream_t stream) {
  if (num_tiles == 0) return;
  SKEIN_CHECK(a.head_dim >= 1 && a.head_dim <= 128, "head_dim %d", a.head_dim);
  SKEIN_CHECK(splits >= 1 && splits <= workspace.max_runs, "splits %d", splits);
  const bool is_aligned = a.head_dim % 8 == 0 && a.q_stride % 8 == 0 && a.out_stride % 8 == 0;
  const auto launch = [&]<int kD, int kVariant>() {
    const auto kernel = is_aligned ? Launch<kD, true, kVariant> : Launch<kD, false, 0>;
    kernel(a, keys, kv_q_start, max_group, tiles, num_tiles, splits, workspace, stream);
  };
  const int columns = DecodeColumns(a.head_dim);
  SKEIN_CHECK(variant == 0 || (columns == 128 && is_aligned && variant < kNumDecodeVariants),
              "no variant %d for head_dim %d", variant, a.head_dim);
  if (columns == 16) {
    launch.operator()<16, 0>();
  } else if (columns == 32) {
    launch.operator()<32, 0>();
  } else if (columns == 64) {
    launch.operator()<64, 0>();
  } else if (variant == 0) {
    launch.operator()<128, 0>();
  } else if (variant == 1) {
    launch.operator()<128, 1>();
  } else if (variant == 2) {
    launch.operator()<128, 2>();
  } else {
    launch.operator()<128, 3>();
  }
}

}  // namespace skein::cuda
