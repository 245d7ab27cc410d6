// The end of a row-parallel product in one kernel: sum over the ranks, residual, norm. Of few rows
// it is bound by latency: a row is shared among the blocks of a cluster, so that several
// multiprocessors put its words on the link at once, and the sums that the norm needs meet in
// shared memory. Of many it is bound by the link: rows are sent some ahead of the one that is
// awaited.
//
// A thread has eight columns of a row, whatever the cluster, and warps are added in order: the bits
// are those of NormKernel (norms.cu), and depend on the row alone.
#include <algorithm>

#include "cuda/cuda_check.h"
#include "cuda/kernels/hopper.cuh"
#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/mma.cuh"
#include "cuda/kernels/norm_parts.cuh"
#include "cuda/kernels/peer_exchange.h"
#include "cuda/kernels/peer_words.cuh"
#include "cuda/kernels/shared_memory.cuh"

namespace skein::cuda {
namespace {

constexpr int kMostThreads = static_cast<int>(kMostPeerNormColumns) / 8;
constexpr int kMostWarps = kMostThreads / 32;
constexpr int kRowsAhead = 2;
constexpr int kMostCluster = 8;

// The sums of a row's warps, of all blocks of the cluster in each: one for the mean or the squares,
// one for the centred squares, both twice for rows that follow each other in a block.
struct RowSums {
  float warps[2][2][kMostWarps];
  uint64_t arrived[2];
};

// This thread's place in a row.
struct RowPlace {
  int cluster, block;  // blocks of the cluster; which of them this is
  int warp;            // of the row
  int num_warps;       // of the row
  int64_t col;
};

__device__ __forceinline__ RowPlace PlaceOf(int64_t cols, int cluster) {
  RowPlace at;
  at.cluster = cluster;
  at.block = static_cast<int>(blockIdx.x) % cluster;
  const int thread = at.block * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
  at.warp = thread / 32;
  at.num_warps = static_cast<int>((cols + 255) / 256);
  at.col = static_cast<int64_t>(thread) * 8;
  return at;
}

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
// A value to a place in the shared memory of block `rank` of the cluster, and its bytes to the
// barrier there.
__device__ __forceinline__ void SendToBlock(const float* place, float value,
                                            const uint64_t* barrier, int rank) {
  asm volatile(
      "{\n.reg .b32 there, signal;\n"
      "mapa.shared::cluster.u32 there, %0, %3;\n"
      "mapa.shared::cluster.u32 signal, %1, %3;\n"
      "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.b32 [there], %2, "
      "[signal];\n}\n" ::"r"(SharedAddress(place)),
      "r"(SharedAddress(barrier)), "r"(__float_as_uint(value)), "r"(rank)
      : "memory");
}
// The phase's bytes have arrived, and are seen.
__device__ __forceinline__ void AwaitSums(const uint64_t* barrier) {
  uint32_t done;
  do {
    asm volatile(
        "{\n.reg .pred p;\n"
        "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], 0;\n"
        "selp.b32 %0, 1, 0, p;\n}\n"
        : "=r"(done)
        : "r"(SharedAddress(barrier))
        : "memory");
  } while (done == 0);
}
#endif

// Before a cluster's first sums. All blocks of it run when this returns.
__device__ __forceinline__ void PrepareCluster(const RowPlace& at, RowSums& sums) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  if (at.cluster == 1) return;
  if (threadIdx.x == 0) {
    for (uint64_t& barrier : sums.arrived) {
      InitBarrier(SharedAddress(&barrier), 1);
    }
    FenceBarriers();
    for (uint64_t& barrier : sums.arrived) {
      ExpectBytes(SharedAddress(&barrier), at.num_warps * static_cast<int>(sizeof(float)));
    }
  }
  SyncCluster();
#endif
}

// Sum over the row in a fixed order, the same on every thread. `which`: the row's first or second.
// `turn`: rows of a block so far; a cluster has one.
__device__ __forceinline__ float RowSum(float value, const RowPlace& at, RowSums& sums, int which,
                                        int turn) {
  value = WarpSum(value);
  float* warps = sums.warps[turn % 2][which];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (at.cluster == 1) {
    if (lane == 0) warps[at.warp] = value;
    __syncthreads();
  } else {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    if (lane < at.cluster && at.warp < at.num_warps) {
      SendToBlock(warps + at.warp, value, &sums.arrived[which], lane);
    }
    AwaitSums(&sums.arrived[which]);
#endif
  }
  float sum = 0.0f;
  for (int i = 0; i < at.num_warps; ++i) sum += warps[i];
  return sum;
}

template <typename T, int kGroup>
struct Row {
  static constexpr int kVectors = 8 / Elements<T>::kCount;
  const PeerView& view;
  const PeerNormRows<T>& rows;
  int64_t col;
  bool has_columns;

  // 16-byte items from the beginning of `partial`, and of an area.
  __device__ int64_t ItemOf(int64_t row) const {
    return (row * rows.cols + col) / Elements<T>::kCount;
  }
  __device__ void Load(int64_t row, uint4 (&own)[kVectors]) const {
    const uint4* from = reinterpret_cast<const uint4*>(rows.partial) + ItemOf(row);
#pragma unroll
    for (int v = 0; v < kVectors; ++v) own[v] = Sendable(from[v]);
  }
  __device__ int64_t area_bytes() const {
    return rows.rows * rows.cols * static_cast<int64_t>(sizeof(T));
  }
  __device__ bool Has(int64_t row) const { return has_columns && row < rows.rows; }
  __device__ void Send(const PeerTurn& turn, int64_t row, const uint4 (&own)[kVectors]) const {
    if (!turn.is_live) return;
    for (int peer = 0; peer < view.world_size; ++peer) {
      if (peer == view.rank) continue;
      char* area = view.staging[peer] + turn.slot + AreaOf(view.rank, peer, area_bytes());
      uint4* to = reinterpret_cast<uint4*>(area) + ItemOf(row);
#pragma unroll
      for (int v = 0; v < kVectors; ++v) StoreSystem(to + v, own[v]);
    }
  }
  __device__ void Send(const PeerTurn& turn, int64_t row) const {
    if (!Has(row)) return;
    uint4 own[kVectors];
    Load(row, own);
    Send(turn, row, own);
  }
  // The new residual, which it stores.
  __device__ void Take(PeerTurn& turn, int64_t row, float (&values)[8]) const {
    uint4 own[kVectors];
    Load(row, own);
    float* place = rows.residual + row * rows.residual_stride + col;
    float old[8];
    LoadEightFloats(place, old);
    const char* slot = view.staging[view.rank] + turn.slot;
    SumOfRanks<T, kGroup>(
        view, turn, own,
        [&](int source) {
          return reinterpret_cast<const uint4*>(slot + AreaOf(source, view.rank, area_bytes())) +
                 ItemOf(row);
        },
        values);
    if constexpr (sizeof(T) == 2) Elements<T>::Unpack(Elements<T>::Pack(values), values);
    AddToResidual(rows.bias == nullptr ? nullptr : rows.bias + col,
                  rows.scale == nullptr ? nullptr : rows.scale + col, old, values);
    StoreEightFloats(place, values);
  }
};

// Blocks in clusters that share a row; a cluster of several has one row only.
template <typename T, int kGroup>
__global__ void __launch_bounds__(kMostThreads)
    SumResidualNormKernel(const __grid_constant__ PeerView view,
                          const __grid_constant__ PeerNormRows<T> rows, int cluster) {
  __shared__ RowSums sums;
  LetNextStart();
  const RowPlace at = PlaceOf(rows.cols, cluster);
  const Row<T, kGroup> part{view, rows, at.col, at.col < rows.cols};
  PrepareCluster(at, sums);
  // Weights do not change while steps run.
  float weight[8] = {};
  if (rows.has_norm && part.has_columns) LoadEightFloats(rows.norm.weight + at.col, weight);
  const int64_t first = blockIdx.x / cluster, step = gridDim.x / cluster;
  WaitForPrevious();
  uint4 own[Row<T, kGroup>::kVectors] = {};
  if (part.has_columns) part.Load(first, own);
  PeerTurn turn(view);
  if (part.has_columns) part.Send(turn, first, own);
  for (int i = 1; i < kRowsAhead; ++i) part.Send(turn, first + i * step);
  turn.Announce(view);
  int done = 0;
  for (int64_t row = first; row < rows.rows; row += step, ++done) {
    part.Send(turn, row + kRowsAhead * step);
    float values[8] = {};
    float sum = 0.0f, squares = 0.0f;
    if (part.has_columns) {
      part.Take(turn, row, values);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        sum += values[i];
        squares = fmaf(values[i], values[i], squares);
      }
    }
    if (!rows.has_norm) continue;
    const auto cols = static_cast<float>(rows.cols);
    float mean = 0.0f;
    if (rows.norm.is_layer_norm) {
      mean = RowSum(sum, at, sums, 0, done) / cols;
      squares = 0.0f;
      if (part.has_columns) {
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          const float d = values[i] - mean;
          squares = fmaf(d, d, squares);
        }
      }
    }
    const float inverse = rsqrtf(RowSum(squares, at, sums, 1, done) / cols + rows.norm.eps);
    if (!part.has_columns) continue;
    Normalize(mean, inverse, weight, rows.norm.bias == nullptr ? nullptr : rows.norm.bias + at.col,
              values);
    StoreEight(rows.normed + row * rows.normed_stride + at.col, Pack(values));
  }
  __syncthreads();
  turn.End(view);
}

bool HasClusters() {
  int device = 0, major = 0;
  SKEIN_CUDA(cudaGetDevice(&device));
  SKEIN_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  return major >= 9;
}

int BlocksAProcessor() {
  int least = kMostPeerBlocks;
  const auto count = [&](auto kernel) {
    int blocks = 0;
    SKEIN_CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, kMostThreads, 0));
    least = std::min(least, blocks);
  };
  count(SumResidualNormKernel<float, 2>);
  count(SumResidualNormKernel<float, kRankGroup>);
  count(SumResidualNormKernel<__nv_bfloat16, 2>);
  count(SumResidualNormKernel<__nv_bfloat16, kRankGroup>);
  return least;
}

}  // namespace

int PeerBlockLimit() {
  int device = 0, processors = 0;
  SKEIN_CUDA(cudaGetDevice(&device));
  SKEIN_CUDA(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
  // The blocks of these have the most threads and registers of all kernels that exchange.
  return std::clamp(BlocksAProcessor() * processors, 1, kMostPeerBlocks);
}

template <typename T>
void PeerSumResidualNorm(const PeerView& view, const PeerNormRows<T>& rows, int max_blocks,
                         Stream& stream) {
  int cluster = 1;
  while (HasClusters() && cluster < kMostCluster && 2 * cluster * rows.rows <= max_blocks) {
    cluster *= 2;
  }
  const auto warps = static_cast<int>((rows.cols + 255) / 256);
  const auto threads = static_cast<unsigned>((warps + cluster - 1) / cluster * 32);
  const auto blocks =
      static_cast<unsigned>(std::min<int64_t>(rows.rows, max_blocks / cluster) * cluster);
  const auto kernel =
      view.world_size == 2 ? SumResidualNormKernel<T, 2> : SumResidualNormKernel<T, kRankGroup>;
  LaunchOverlappedClusters(kernel, cluster, dim3(blocks), dim3(threads), 0, stream, view, rows,
                           cluster);
}
template void PeerSumResidualNorm(const PeerView&, const PeerNormRows<float>&, int, Stream&);
template void PeerSumResidualNorm(const PeerView&, const PeerNormRows<__nv_bfloat16>&, int,
                                  Stream&);

}  // namespace skein::cuda
