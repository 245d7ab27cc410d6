// How Hopper's attention kernel adds up runs of keys (deterministic mode): a row's sums of each run
// begin anew, and are added to those of the runs before it, in order. A block that has all runs of
// a piece keeps the sums so far where its own threads alone write and read them; a piece of one run
// leaves a partial result, and the block that leaves the last of a row adds them all. Both add by
// the same operations, so the bits are the same.
#pragma once

#include "cuda/kernels/attention_pieces.cuh"
#include "cuda/kernels/mma.cuh"

namespace skein::cuda::warpgroup::fixed_runs {

// Threads of the warpgroup that has a split piece's rows.
inline constexpr int kThreads = 128;
inline constexpr int kBarrier = 3;

// The sums so far are multiplied by `before`, a run's by `now`; maximum: that of both.
struct Factors {
  float before, now, maximum;
};
// A run of which a row has no key has a maximum of -infinity, and changes nothing.
__device__ __forceinline__ Factors FactorsOf(float before, float now, float scale_log2) {
  const float maximum = fmaxf(before, now);
  return {PowerOfTwo(__fmul_rn(before - maximum, scale_log2)),
          PowerOfTwo(__fmul_rn(now - maximum, scale_log2)), maximum};
}
__device__ __forceinline__ float Added(float before, float now, const Factors& factors) {
  return __fmaf_rn(now, factors.now, __fmul_rn(before, factors.before));
}
__device__ __forceinline__ float ScaleLog2(float scale) { return scale * 1.4426950408889634f; }

// Adds the sums of run `run` to those before it; behind the last they are the result, else they are
// kept. maximum and total: of the thread's two rows; sums[4 i + j] is of row j / 2.
template <int kCount>
__device__ __forceinline__ void AddToKept(const FixedRuns& runs, float scale, int run, int last,
                                          float (&sums)[kCount], float (&maximum)[2],
                                          float (&total)[2]) {
  constexpr int kConsumers = 256;
  // [blocks, quads and one of maxima and totals, threads] of four floats.
  float4* const kept = reinterpret_cast<float4*>(runs.kept) +
                       static_cast<int64_t>(blockIdx.x) * (kCount / 4 + 1) * kConsumers +
                       threadIdx.x;
  if (run > 0) {
    const float4 stats = __ldcg(kept);
    const float scale_log2 = ScaleLog2(scale);
    const Factors factors[2] = {FactorsOf(stats.x, maximum[0], scale_log2),
                                FactorsOf(stats.y, maximum[1], scale_log2)};
    maximum[0] = factors[0].maximum, maximum[1] = factors[1].maximum;
    total[0] = Added(stats.z, total[0], factors[0]);
    total[1] = Added(stats.w, total[1], factors[1]);
#pragma unroll
    for (int i = 0; i < kCount / 4; ++i) {
      const float4 before = __ldcg(kept + (i + 1) * kConsumers);
      float* const c = sums + 4 * i;
      c[0] = Added(before.x, c[0], factors[0]), c[1] = Added(before.y, c[1], factors[0]);
      c[2] = Added(before.z, c[2], factors[1]), c[3] = Added(before.w, c[3], factors[1]);
    }
  }
  if (run == last) return;
  __stcg(kept, make_float4(maximum[0], maximum[1], total[0], total[1]));
#pragma unroll
  for (int i = 0; i < kCount / 4; ++i) {
    const float* const c = sums + 4 * i;
    __stcg(kept + (i + 1) * kConsumers, make_float4(c[0], c[1], c[2], c[3]));
  }
}

// Where the partial result of the piece's run and first head lies, in heads.
__device__ __forceinline__ int64_t PartAt(const Operands& p, const Piece& piece, int run) {
  return (static_cast<int64_t>(piece.tile.query_row) * p.runs.max_runs + run) * p.a.num_heads +
         piece.first_head;
}

// A thread's part of the piece's only run: of a decode, whose rows are the heads of a group.
template <int kD>
__device__ __forceinline__ void StorePart(const Operands& p, const Piece& piece, int warp,
                                          const float (&sums)[kD / 2], const float (&maximum)[2],
                                          const float (&total)[2]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int row = warp * 16 + lane / 4 + r * 8;
    if (row >= piece.num_rows) continue;
    const int64_t at = PartAt(p, piece, piece.run) + row;
    float* const values = p.runs.values + at * kD + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < kD / 8; ++i) {
      __stcg(reinterpret_cast<float2*>(values + i * 8),
             make_float2(sums[4 * i + 2 * r], sums[4 * i + 2 * r + 1]));
    }
    if (lane % 4 == 0) __stcg(p.runs.stats + at, make_float2(maximum[r], total[r]));
  }
}

// Behind StorePart: the block that leaves the last of the piece's runs adds them all. `note` is in
// shared memory.
template <int kD>
__device__ __forceinline__ void FinishParts(const Operands& p, const Piece& piece, int runs,
                                            int* note) {
  const auto meet = [] {
    asm volatile("bar.sync %0, %1;\n" ::"n"(kBarrier), "n"(kThreads) : "memory");
  };
  // The partial results are visible before they are counted.
  __threadfence();
  meet();
  const int thread = static_cast<int>(threadIdx.x) % kThreads;
  if (thread == 0) {
    int32_t* const counter =
        p.runs.counters + piece.tile.query_row * p.num_kv_heads + piece.kv_head;
    *note = atomicAdd(counter, 1) == runs - 1;
    // Nobody counts after the last; the next launch finds it as this one did.
    if (*note != 0) *counter = 0;
  }
  meet();
  const bool is_last = *note != 0;
  meet();
  if (!is_last) return;
  __threadfence();
  const float scale_log2 = ScaleLog2(p.a.scale);
  __nv_bfloat16* const out = p.a.out + static_cast<int64_t>(piece.tile.query_row) * p.a.out_stride +
                             static_cast<int64_t>(piece.first_head) * p.a.head_dim;
  for (int i = thread; i < piece.num_rows * (kD / 4); i += kThreads) {
    const int row = i / (kD / 4), col = i % (kD / 4) * 4;
    float maximum = 0.0f, total = 0.0f;
    float4 value{};
    // Their loads are under way together; they are added one after the other.
    constexpr int kBatch = 8;
    for (int base = 0; base < runs; base += kBatch) {
      float2 stats[kBatch];
      float4 parts[kBatch];
#pragma unroll
      for (int j = 0; j < kBatch; ++j) {
        const int64_t at = PartAt(p, piece, min(base + j, runs - 1)) + row;
        stats[j] = __ldcg(p.runs.stats + at);
        parts[j] = __ldcg(reinterpret_cast<const float4*>(p.runs.values + at * kD + col));
      }
#pragma unroll
      for (int j = 0; j < kBatch; ++j) {
        if (base + j >= runs) break;
        if (base + j == 0) {
          maximum = stats[0].x, total = stats[0].y, value = parts[0];
          continue;
        }
        const Factors factors = FactorsOf(maximum, stats[j].x, scale_log2);
        maximum = factors.maximum;
        total = Added(total, stats[j].y, factors);
        value.x = Added(value.x, parts[j].x, factors),
        value.y = Added(value.y, parts[j].y, factors);
        value.z = Added(value.z, parts[j].z, factors),
        value.w = Added(value.w, parts[j].w, factors);
      }
    }
    if (col >= p.a.head_dim) continue;
    const float inverse = 1.0f / total;
    auto* const place = reinterpret_cast<uint32_t*>(out + row * p.a.head_dim + col);
    place[0] = PackBFloat16(value.x * inverse, value.y * inverse);
    place[1] = PackBFloat16(value.z * inverse, value.w * inverse);
  }
}

}  // namespace skein::cuda::warpgroup::fixed_runs
