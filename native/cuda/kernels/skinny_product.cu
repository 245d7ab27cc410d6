// Products of few rows with a dense bfloat16 weight, at the speed at which memory gives the weight.
//
// A group of 1, 2 or 4 blocks (a cluster) takes a run of consecutive outputs, all runs equally long
// so that every multiprocessor reads as much; it goes over them in passes of up to 80 weight rows.
// The blocks of a cluster and the warps of a block share the columns of the weight: a warp takes a
// unit of 32 columns of all the pass's rows at a time. At the end of a pass the warps' sums, then
// the blocks', are added in a fixed order.
//
// Tensor cores: weights are the 16 rows of mma.m16n8k16, rows of x its 8 columns. A lane takes 16
// contiguous bytes (8 columns) of a weight row and of a row of x; since both sides give the same
// columns to the same places of a fragment, their order within 32 columns does not matter.
//
// What a lane copies, that same lane consumes, so the ring in which weights wait (kDepth units a
// warp, in shared memory or in registers) needs no barrier. The ring is filled before
// WaitForPrevious(): weights are never written while steps run.
#include <cuda_bf16.h>

#include <algorithm>

#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/mma.cuh"
#include "cuda/kernels/skinny_product.h"

namespace skein::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * 32;
constexpr int kUnitColumns = 32;

struct Arguments {
  const __nv_bfloat16* weight;
  // Elements from a weight row to the next; from a tile's row g to its row g + 8.
  int64_t stride, second;
  const __nv_bfloat16* x;
  int64_t x_stride;
  const void* bias;
  void* out;
  int64_t out_stride;
  int32_t rows, k, outputs;
  // Outputs of a group, and of a pass.
  int32_t run, step;
  // Outputs of a tile: 16, or 8 where its rows are 8 of gate and 8 of up. The output of row g + 8
  // is that of row g plus `half`: 8, or 0.
  int32_t tile_outputs, half;
  // Columns of a block, in units. Warps take turns by 1 << pair_shift units.
  int32_t block_units, pair_shift;
  bool out_float, swiglu;
};

// ---- primitives ----

// 16 bytes that are read once: no place in the L1 cache. Zeros, and nothing read, where not valid.
__device__ __forceinline__ uint4 LoadWeights(const __nv_bfloat16* place, bool valid) {
  uint4 v;
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %5, 0;\n"
      "mov.b32 %0, 0;\nmov.b32 %1, 0;\nmov.b32 %2, 0;\nmov.b32 %3, 0;\n"
      "@p ld.global.nc.L1::no_allocate.L2::128B.v4.b32 {%0,%1,%2,%3}, [%4];\n}\n"
      : "=&r"(v.x), "=&r"(v.y), "=&r"(v.z), "=&r"(v.w)
      : "l"(place), "r"(static_cast<int>(valid)));
  return v;
}

// 16 bytes of x, which other warps read again. After WaitForPrevious() only.
__device__ __forceinline__ uint4 LoadX(const __nv_bfloat16* place, bool valid) {
  uint4 v;
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %5, 0;\n"
      "mov.b32 %0, 0;\nmov.b32 %1, 0;\nmov.b32 %2, 0;\nmov.b32 %3, 0;\n"
      "@p ld.global.v4.b32 {%0,%1,%2,%3}, [%4];\n}\n"
      : "=&r"(v.x), "=&r"(v.y), "=&r"(v.z), "=&r"(v.w)
      : "l"(place), "r"(static_cast<int>(valid))
      : "memory");
  return v;
}

__device__ __forceinline__ void CopyWeights(uint32_t shared, const __nv_bfloat16* place,
                                            bool valid) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;\n" ::"r"(shared), "l"(place),
               "r"(valid ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void CopyX(uint32_t shared, const __nv_bfloat16* place, bool valid) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;\n" ::"r"(shared), "l"(place),
               "r"(valid ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void Commit() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }
template <int kPending>
__device__ __forceinline__ void Wait() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kPending) : "memory");
}

__device__ __forceinline__ uint4 LoadShared(uint32_t shared) {
  uint4 v;
  asm volatile("ld.shared.v4.b32 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(shared)
               : "memory");
  return v;
}
__device__ __forceinline__ void StoreShared(uint32_t shared, const uint4& v) {
  asm volatile("st.shared.v4.b32 [%0], {%1,%2,%3,%4};\n" ::"r"(shared), "r"(v.x), "r"(v.y),
               "r"(v.z), "r"(v.w)
               : "memory");
}

__device__ __forceinline__ int ClusterSize() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  uint32_t size;
  asm("mov.u32 %0, %%cluster_nctarank;\n" : "=r"(size));
  return static_cast<int>(size);
#else
  return 1;
#endif
}
__device__ __forceinline__ int ClusterRank() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  uint32_t rank;
  asm("mov.u32 %0, %%cluster_ctarank;\n" : "=r"(rank));
  return static_cast<int>(rank);
#else
  return 0;
#endif
}
// All threads of the cluster; what they wrote to shared memory before is seen after.
__device__ __forceinline__ void ClusterBarrier() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;\n" ::: "memory");
#endif
}
// 16 bytes at the place that `shared` names, in the shared memory of the cluster's block `rank`.
__device__ __forceinline__ float4 LoadFromBlock(uint32_t shared, int rank) {
  float4 v{};
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  uint32_t place;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;\n" : "=r"(place) : "r"(shared), "r"(rank));
  asm volatile("ld.shared::cluster.v4.f32 {%0,%1,%2,%3}, [%4];\n"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "r"(place)
               : "memory");
#endif
  return v;
}

__device__ __forceinline__ void Add(float4& sum, const float4& part) {
  sum.x += part.x;
  sum.y += part.y;
  sum.z += part.z;
  sum.w += part.w;
}

// ---- where a lane is ----

// Walks over the units of all passes, ahead of the sums.
struct Cursor {
  const __nv_bfloat16* row;  // this lane's first row of the pass, at its first column of a unit
  int32_t limit;             // outputs of the pass from this lane's first on; none: negative
  int32_t unit, pass;

  __device__ void SetPass(const Arguments& p, int first, int count, int passes, int lane) {
    const int start = pass * p.step;
    limit = pass < passes ? min(p.step, count - start) - (lane >> 2) : -1;
    row = p.weight + (first + start + (lane >> 2)) * p.stride + (lane & 3) * 8;
  }
};

// First column of the warp's unit, counted from the block's first one.
__device__ __forceinline__ int UnitColumn(const Arguments& p, int unit, int warp) {
  const int turn = unit >> p.pair_shift, within = unit & ((1 << p.pair_shift) - 1);
  return ((((turn * kWarps + warp) << p.pair_shift) + within)) * kUnitColumns;
}

__device__ __forceinline__ void Put(const Arguments& p, int row, int output, float value) {
  const int64_t place = row * p.out_stride + output;
  if (p.out_float) {
    if (p.bias != nullptr) value += static_cast<const float*>(p.bias)[output];
    static_cast<float*>(p.out)[place] = value;
  } else {
    if (p.bias != nullptr) {
      value += __bfloat162float(static_cast<const __nv_bfloat16*>(p.bias)[output]);
    }
    static_cast<__nv_bfloat16*>(p.out)[place] = __float2bfloat16_rn(value);
  }
}

// A lane's four sums of a fragment: rows 2t and 2t + 1 of x for its output, then for that of row
// g + 8 of the tile.
__device__ __forceinline__ void PutFragment(const Arguments& p, int first, int limit, int tile,
                                            int column_tile, int lane, const float4& v) {
  const int output = tile * p.tile_outputs + (lane >> 2);
  const int row = column_tile * 8 + (lane & 3) * 2;
  const float pairs[2][2] = {{v.x, v.z}, {v.y, v.w}};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (row + i >= p.rows) break;
    if (p.swiglu) {
      const float gate = pairs[i][0];
      if (output < limit) {
        Put(p, row + i, first + output, gate / (1.0f + __expf(-gate)) * pairs[i][1]);
      }
    } else {
      if (output < limit) Put(p, row + i, first + output, pairs[i][0]);
      if (output + 8 < limit) Put(p, row + i, first + output + 8, pairs[i][1]);
    }
  }
}

// ---- the kernel ----

template <int kTiles, int kColumnTiles>
struct Shapes {
  static constexpr int kSums = kTiles * 32;                // float4 of a warp, one column tile
  static constexpr int kTotals = kColumnTiles * kSums;     // float4 of a block
  static constexpr int kSlot = kTiles * 2 + kColumnTiles;  // 16 bytes a lane
  __host__ __device__ static constexpr size_t SumBytes(int cluster) {
    return (static_cast<size_t>(kWarps) * kSums + (cluster > 1 ? 2 * kTotals : 0)) * 16;
  }
};

// Adds what the warps (and the cluster's blocks) have, and writes the pass's outputs.
template <int kTiles, int kColumnTiles>
__device__ __forceinline__ void FinishPass(const Arguments& p,
                                           const float (&sums)[kTiles][kColumnTiles][4],
                                           float4* shared, int first, int limit, int parity) {
  using S = Shapes<kTiles, kColumnTiles>;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int ranks = ClusterSize();
  float4* const totals = shared + kWarps * S::kSums + parity * S::kTotals;
#pragma unroll
  for (int c = 0; c < kColumnTiles; ++c) {
#pragma unroll
    for (int a = 0; a < kTiles; ++a) {
      shared[warp * S::kSums + a * 32 + lane] =
          make_float4(sums[a][c][0], sums[a][c][1], sums[a][c][2], sums[a][c][3]);
    }
    __syncthreads();
    for (int e = threadIdx.x; e < S::kSums; e += kThreads) {
      float4 sum = shared[e];
#pragma unroll
      for (int w = 1; w < kWarps; ++w) Add(sum, shared[w * S::kSums + e]);
      if (ranks == 1) {
        PutFragment(p, first, limit, e / 32, c, e % 32, sum);
      } else {
        totals[c * S::kSums + e] = sum;
      }
    }
    __syncthreads();
  }
  if (ranks == 1) return;
  // The totals of the pass after the next one come to the same place: by then every block has come
  // through the next pass's barrier, and so has read these.
  ClusterBarrier();
  for (int e = threadIdx.x * ranks + ClusterRank(); e < S::kTotals; e += kThreads * ranks) {
    const uint32_t place = SharedAddress(totals + e);
    float4 sum = LoadFromBlock(place, 0);
    for (int rank = 1; rank < ranks; ++rank) Add(sum, LoadFromBlock(place, rank));
    PutFragment(p, first, limit, e % S::kSums / 32, e / S::kSums, e % 32, sum);
  }
}

// Few registers where the ring is in shared memory: the next product's block is to fit beside.
constexpr int BlocksPerProcessor(int sums, bool in_shared) {
  return in_shared && sums <= 12 ? 2 : 1;
}

template <int kTiles, int kColumnTiles, int kDepth, bool kInShared>
__global__ void __launch_bounds__(kThreads, BlocksPerProcessor(kTiles* kColumnTiles, kInShared))
    SkinnyKernel(const Arguments p) {
  using S = Shapes<kTiles, kColumnTiles>;
  extern __shared__ float4 shared[];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int ranks = ClusterSize(), rank = ClusterRank();
  const int first = static_cast<int>(blockIdx.x) / ranks * p.run;
  const int count = min(p.run, p.outputs - first);
  const int passes = (count + p.step - 1) / p.step;
  const int begin = rank * p.block_units * kUnitColumns;
  const int end = min(p.k, begin + p.block_units * kUnitColumns);
  // Turns of the warp with the most; the registers' ring goes round a whole number of times.
  const int per_turn = kWarps << p.pair_shift;
  int units = (p.block_units + per_turn - 1) / per_turn << p.pair_shift;
  if constexpr (!kInShared) units = (units + kDepth - 1) / kDepth * kDepth;

  Cursor next{};
  next.SetPass(p, first, count, passes, lane);
  const auto advance = [&] {
    if (++next.unit < units) return;
    next.unit = 0;
    ++next.pass;
    next.SetPass(p, first, count, passes, lane);
  };
  // Calls load(i, place, valid) for the 2 * kTiles pieces of the cursor's unit.
  const auto for_pieces = [&](auto&& load) {
    const int column = begin + UnitColumn(p, next.unit, warp);
    const bool in_columns = column + (lane & 3) * 8 < end;
#pragma unroll
    for (int a = 0; a < kTiles; ++a) {
      const __nv_bfloat16* place = next.row + a * p.tile_outputs * p.stride + column;
      load(2 * a, place, in_columns && a * p.tile_outputs < next.limit);
      load(2 * a + 1, place + p.second, in_columns && a * p.tile_outputs + p.half < next.limit);
    }
  };
  // The same for the rows of x in a unit.
  const auto for_x = [&](int unit, auto&& load) {
    const int column = begin + UnitColumn(p, unit, warp) + (lane & 3) * 8;
#pragma unroll
    for (int c = 0; c < kColumnTiles; ++c) {
      const int row = c * 8 + (lane >> 2);
      load(c, p.x + row * p.x_stride + column, row < p.rows, column < end);
    }
  };
  float sums[kTiles][kColumnTiles][4];
  const auto clear = [&] {
#pragma unroll
    for (int a = 0; a < kTiles; ++a) {
#pragma unroll
      for (int c = 0; c < kColumnTiles; ++c) {
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[a][c][i] = 0.0f;
      }
    }
  };
  const auto multiply = [&](int a, const uint4& low, const uint4& high, const uint4* x) {
    const uint32_t left[4] = {low.x, high.x, low.y, high.y};
    const uint32_t right[4] = {low.z, high.z, low.w, high.w};
#pragma unroll
    for (int c = 0; c < kColumnTiles; ++c) {
      MultiplyAccumulate(sums[a][c], left, x[c].x, x[c].y);
      MultiplyAccumulate(sums[a][c], right, x[c].z, x[c].w);
    }
  };
  const auto finish = [&](int pass) {
    const int start = pass * p.step;
    FinishPass<kTiles, kColumnTiles>(p, sums, shared, first + start, min(p.step, count - start),
                                     pass % 2);
  };

  if constexpr (kInShared) {
    // The lane's places of a slot lie 512 bytes apart, the slots of a warp one after the other.
    const uint32_t ring = SharedAddress(shared) + static_cast<uint32_t>(S::SumBytes(ranks)) +
                          static_cast<uint32_t>(warp) * kDepth * S::kSlot * 512 + lane * 16;
    const auto issue = [&](uint32_t slot) {
      for_pieces([&](int i, const __nv_bfloat16* place, bool valid) {
        CopyWeights(slot + i * 512, place, valid);
      });
    };
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      issue(ring + d * S::kSlot * 512);
      Commit();
      advance();
    }
    LetNextStart();
    WaitForPrevious();
    // The first units' x comes by plain loads: its copies would be in groups behind all the ring's.
    int unit = 0;
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      for_x(unit, [&](int c, const __nv_bfloat16* place, bool is_row, bool in_columns) {
        StoreShared(ring + (d * S::kSlot + 2 * kTiles + c) * 512,
                    LoadX(place, is_row && in_columns));
      });
      if (++unit == units) unit = 0;
    }
    int slot = 0;
    for (int pass = 0; pass < passes; ++pass) {
      clear();
      for (int u = 0; u < units; ++u) {
        const uint32_t place = ring + slot * S::kSlot * 512;
        Wait<kDepth - 1>();
        uint4 x[kColumnTiles];
#pragma unroll
        for (int c = 0; c < kColumnTiles; ++c) x[c] = LoadShared(place + (2 * kTiles + c) * 512);
#pragma unroll
        for (int a = 0; a < kTiles; ++a) {
          multiply(a, LoadShared(place + 2 * a * 512), LoadShared(place + (2 * a + 1) * 512), x);
        }
        issue(place);
        // Rows of x that do not exist keep the zeros of the start.
        for_x(next.unit, [&](int c, const __nv_bfloat16* from, bool is_row, bool in_columns) {
          if (is_row) CopyX(place + (2 * kTiles + c) * 512, from, in_columns);
        });
        Commit();
        advance();
        if (++slot == kDepth) slot = 0;
      }
      finish(pass);
    }
    Wait<0>();
  } else {
    uint4 ring[kDepth][2 * kTiles];
    const auto issue = [&](uint4* slot) {
      for_pieces([&](int i, const __nv_bfloat16* place, bool valid) {
        slot[i] = LoadWeights(place, valid);
      });
    };
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      issue(ring[d]);
      advance();
    }
    LetNextStart();
    WaitForPrevious();
    uint4 x[kColumnTiles], next_x[kColumnTiles];
    const auto load_x = [&](int unit) {
      for_x(unit, [&](int c, const __nv_bfloat16* place, bool is_row, bool in_columns) {
        next_x[c] = LoadX(place, is_row && in_columns);
      });
    };
    load_x(0);
    for (int pass = 0; pass < passes; ++pass) {
      clear();
      for (int u = 0; u < units; u += kDepth) {
#pragma unroll
        for (int d = 0; d < kDepth; ++d) {
#pragma unroll
          for (int c = 0; c < kColumnTiles; ++c) x[c] = next_x[c];
          load_x(u + d + 1 == units ? 0 : u + d + 1);
#pragma unroll
          for (int a = 0; a < kTiles; ++a) multiply(a, ring[d][2 * a], ring[d][2 * a + 1], x);
          issue(ring[d]);
          advance();
        }
      }
      finish(pass);
    }
  }
  // A block's shared memory lives until the others have read it.
  if (ranks > 1) ClusterBarrier();
}

// ---- launching ----

struct Device {
  int processors = 0, shared_bytes = 0, major = 0;

  Device() {
    int device = 0;
    SKEIN_CUDA(cudaGetDevice(&device));
    SKEIN_CUDA(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
    SKEIN_CUDA(
        cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
    SKEIN_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  }
};

struct Launch {
  void (*kernel)(Arguments);
  size_t ring_bytes, sum_bytes[2];  // sums without and with a cluster
};

template <int kTiles, int kColumnTiles, int kDepth, bool kInShared>
Launch MakeLaunch() {
  using S = Shapes<kTiles, kColumnTiles>;
  const size_t ring = kInShared ? static_cast<size_t>(kWarps) * kDepth * S::kSlot * 512 : 0;
  return {SkinnyKernel<kTiles, kColumnTiles, kDepth, kInShared>,
          ring,
          {S::SumBytes(1), S::SumBytes(2)}};
}

// Units in the ring of a warp: what the budget holds, at least two.
constexpr int SharedDepth(int tiles, int column_tiles, int budget) {
  return std::max(2, budget / (kWarps * (tiles * 2 + column_tiles) * 512));
}
// As many registers of weights under way as sums and x leave.
constexpr int RegisterDepth(int tiles, int column_tiles) {
  return std::max(2, (17 - 3 * column_tiles) / tiles);
}

template <int kTiles, int kColumnTiles>
Launch ForRing(SkinnyTuning::Ring ring) {
  if (ring == SkinnyTuning::Ring::kWideShared) {
    return MakeLaunch<kTiles, kColumnTiles, SharedDepth(kTiles, kColumnTiles, 160 << 10), true>();
  }
  // Sums and x of more rows leave no registers for a ring.
  if constexpr (kColumnTiles <= 4) {
    if (ring == SkinnyTuning::Ring::kRegisters) {
      return MakeLaunch<kTiles, kColumnTiles, RegisterDepth(kTiles, kColumnTiles), false>();
    }
  }
  return MakeLaunch<kTiles, kColumnTiles, SharedDepth(kTiles, kColumnTiles, 96 << 10), true>();
}

template <int kColumnTiles>
Launch ForTiles(int tiles, SkinnyTuning::Ring ring) {
  switch (tiles) {
    case 1:
      return ForRing<1, kColumnTiles>(ring);
    case 2:
      return ForRing<2, kColumnTiles>(ring);
    case 3:
      return ForRing<3, kColumnTiles>(ring);
    case 4:
      return ForRing<4, kColumnTiles>(ring);
    default:
      return ForRing<5, kColumnTiles>(ring);
  }
}

Launch Find(int64_t rows, int tiles, SkinnyTuning::Ring ring) {
  if (rows <= 8) return ForTiles<1>(tiles, ring);
  if (rows <= 16) return ForTiles<2>(tiles, ring);
  if (rows <= 32) return ForTiles<4>(tiles, ring);
  return ForTiles<8>(tiles, ring);
}

int32_t CeilDivide(int64_t value, int64_t by) {
  return static_cast<int32_t>((value + by - 1) / by);
}

void Start(Arguments& p, SkinnyTuning tuning, cudaStream_t stream) {
  const Device device;
  const auto cluster = static_cast<unsigned>(device.major >= 9 ? tuning.cluster : 1);
  // Equal runs over all multiprocessors; a run shorter than 8 outputs reads x more than weights.
  const int64_t groups = std::max<int64_t>(device.processors / cluster, 1);
  p.run = std::max(CeilDivide(p.outputs, groups), 8);
  const int32_t passes = CeilDivide(p.run, tuning.tiles * p.tile_outputs);
  p.step = CeilDivide(p.run, passes);
  const int tiles = CeilDivide(p.step, p.tile_outputs);
  const int32_t units = CeilDivide(p.k, kUnitColumns);
  p.block_units = CeilDivide(units, cluster);
  // Whole 128-byte lines to a warp, unless that gives some warps more turns than others.
  p.pair_shift = p.block_units % (2 * kWarps) == 0 || p.block_units > 32 * kWarps ? 1 : 0;
  p.block_units = CeilDivide(p.block_units, int64_t{1} << p.pair_shift) << p.pair_shift;

  Launch launch = Find(p.rows, tiles, tuning.ring);
  const auto bytes = [&] { return launch.ring_bytes + launch.sum_bytes[cluster > 1]; };
  for (const auto ring : {SkinnyTuning::Ring::kShared, SkinnyTuning::Ring::kRegisters}) {
    if (bytes() > static_cast<size_t>(device.shared_bytes)) launch = Find(p.rows, tiles, ring);
  }
  SKEIN_CUDA(cudaFuncSetAttribute(launch.kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(bytes())));
  const auto blocks = static_cast<unsigned>(CeilDivide(p.outputs, p.run)) * cluster;
  LaunchOverlappedInClusters(launch.kernel, cluster, blocks, kThreads, bytes(), stream, p);
}

bool IsAligned(const Matrix& matrix) {
  return reinterpret_cast<uintptr_t>(matrix.data) % 16 == 0 && matrix.stride % 8 == 0;
}

Arguments MakeArguments(const Matrix& x, const Matrix& weight, const Matrix& out) {
  SKEIN_CHECK(IsSkinny(x, weight) && out.rows == x.rows, "rows %lld, k %lld, %lld",
              static_cast<long long>(x.rows), static_cast<long long>(x.cols),
              static_cast<long long>(weight.cols));
  Arguments p{};
  p.weight = weight.As<const __nv_bfloat16>();
  p.stride = weight.stride;
  p.x = x.As<const __nv_bfloat16>();
  p.x_stride = x.stride;
  p.out = out.data;
  p.out_stride = out.stride;
  p.rows = static_cast<int32_t>(x.rows);
  p.k = static_cast<int32_t>(x.cols);
  p.outputs = static_cast<int32_t>(out.cols);
  p.out_float = out.type == DType::kFloat32;
  return p;
}

}  // namespace

bool IsSkinny(const Matrix& x, const Matrix& weight) {
  return x.rows > 0 && x.rows <= kSkinnyMaxRows && x.type == DType::kBFloat16 &&
         weight.type == DType::kBFloat16 && x.cols == weight.cols && x.cols % 8 == 0 &&
         IsAligned(x) && IsAligned(weight);
}

SkinnyTuning ChooseSkinnyTuning(int64_t rows, int64_t, int64_t) {
  // More rows: x, which every block reads for its columns, comes to weigh as much as the weights,
  // unless a block has fewer columns of more outputs.
  if (rows <= 8) return {SkinnyTuning::Ring::kShared, 1, 4};
  return {SkinnyTuning::Ring::kShared, 2, 5};
}

std::string Name(const SkinnyTuning& tuning) {
  static constexpr const char* kRings[] = {"registers", "shared", "wide"};
  return std::string(kRings[static_cast<int>(tuning.ring)]) + " cluster " +
         std::to_string(tuning.cluster) + " tiles " + std::to_string(tuning.tiles);
}

void SkinnyProduct(const Matrix& x, const Matrix& weight, const void* bias, const Matrix& out,
                   const SkinnyTuning& tuning, cudaStream_t stream) {
  SKEIN_CHECK(out.cols == weight.rows, "out has %lld columns, weight %lld rows",
              static_cast<long long>(out.cols), static_cast<long long>(weight.rows));
  Arguments p = MakeArguments(x, weight, out);
  p.second = 8 * weight.stride;
  p.tile_outputs = 16;
  p.half = 8;
  p.bias = bias;
  Start(p, tuning, stream);
}

void SkinnySwiGlu(const Matrix& x, const Matrix& weight, const Matrix& out,
                  const SkinnyTuning& tuning, cudaStream_t stream) {
  SKEIN_CHECK(2 * out.cols == weight.rows && out.type == DType::kBFloat16,
              "out has %lld columns of %s, weight %lld rows", static_cast<long long>(out.cols),
              Name(out.type), static_cast<long long>(weight.rows));
  Arguments p = MakeArguments(x, weight, out);
  p.second = out.cols * weight.stride;
  p.tile_outputs = 8;
  p.half = 0;
  p.swiglu = true;
  Start(p, tuning, stream);
}

}  // namespace skein::cuda
