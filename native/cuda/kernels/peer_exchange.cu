// Sums and gathers of plain vectors over the ranks of a host. A thread sends some items ahead of
// the one that it awaits, so that the link is busy meanwhile.
#include "cuda/kernels/peer_exchange.h"

#include <algorithm>

#include "cuda/cuda_check.h"
#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/peer_words.cuh"

namespace skein::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kItemsAhead = 4;

// Item `index` of a vector: 16 bytes, the last of which may lie beyond its end.
template <typename T>
struct Vector {
  static constexpr int kEach = Elements<T>::kCount;
  T* data;
  int64_t count;

  __device__ int64_t items() const { return (count + kEach - 1) / kEach; }
  __device__ uint4 Load(int64_t index) const {
    if ((index + 1) * kEach <= count) {
      return Sendable(reinterpret_cast<const uint4*>(data)[index]);
    }
    uint4 item = {};
    for (int64_t i = index * kEach; i < count; ++i) {
      reinterpret_cast<T*>(&item)[i - index * kEach] = data[i];
    }
    return Sendable(item);
  }
  __device__ void Store(int64_t index, const uint4& item) const {
    if ((index + 1) * kEach <= count) {
      reinterpret_cast<uint4*>(data)[index] = item;
      return;
    }
    for (int64_t i = index * kEach; i < count; ++i) {
      data[i] = reinterpret_cast<const T*>(&item)[i - index * kEach];
    }
  }
};

// An item to every other rank, `offset` bytes into this rank's area of the slot there.
__device__ __forceinline__ void SendToAll(const PeerView& view, const PeerTurn& turn,
                                          int64_t area_bytes, int64_t offset, const uint4& item) {
  for (int peer = 0; peer < view.world_size; ++peer) {
    if (peer == view.rank) continue;
    char* area = view.staging[peer] + turn.slot + AreaOf(view.rank, peer, area_bytes);
    StoreSystem(reinterpret_cast<uint4*>(area + offset), item);
  }
}

// Where `source` puts what it sends here.
struct Incoming {
  const PeerView& view;
  const char* slot;
  int64_t area_bytes, offset;
  __device__ const uint4* operator()(int source) const {
    return reinterpret_cast<const uint4*>(slot + AreaOf(source, view.rank, area_bytes) +
                                          offset);
  }
};

template <typename T, int kGroup>
__global__ void __launch_bounds__(kThreads)
    SumKernel(const __grid_constant__ PeerView view, T* data, int64_t count) {
  LetNextStart();
  WaitForPrevious();
  const Vector<T> vector{data, count};
  const int64_t items = vector.items(), area_bytes = items * 16;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  const uint4 first_item = first < items ? vector.Load(first) : uint4{};
  PeerTurn turn(view);
  const auto send = [&](int64_t index, const uint4& item) {
    if (turn.is_live) SendToAll(view, turn, area_bytes, index * 16, item);
  };
  if (first < items) send(first, first_item);
  for (int64_t i = 1; i < kItemsAhead && first + i * step < items; ++i) {
    send(first + i * step, vector.Load(first + i * step));
  }
  turn.Announce(view);
  const char* slot = view.staging[view.rank] + turn.slot;
  for (int64_t index = first; index < items; index += step) {
    const int64_t next = index + kItemsAhead * step;
    if (next < items) send(next, vector.Load(next));
    const uint4 own[1] = {vector.Load(index)};
    float values[Vector<T>::kEach];
    SumOfRanks<T, kGroup>(view, turn, own, Incoming{view, slot, area_bytes, index * 16}, values);
    vector.Store(index, Elements<T>::Pack(values));
  }
  __syncthreads();
  turn.End(view);
}

// In a slot: the parts that others send to be summed, then the sums that they made.
template <typename T, int kGroup>
__global__ void __launch_bounds__(kThreads)
    SumInPartsKernel(const __grid_constant__ PeerView view, T* data, int64_t count) {
  LetNextStart();
  WaitForPrevious();
  PeerTurn turn(view);
  const Vector<T> vector{data, count};
  const int64_t items = vector.items();
  const int64_t part = (items + view.world_size - 1) / view.world_size, area_bytes = part * 16;
  const int64_t sums = (view.world_size - 1) * area_bytes;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  const auto length = [&](int rank) { return min(part, items - min(items, rank * part)); };
  for (int64_t i = first; turn.is_live && i < part; i += step) {
    for (int peer = 0; peer < view.world_size; ++peer) {
      if (peer == view.rank || i >= length(peer)) continue;
      char* area = view.staging[peer] + turn.slot + AreaOf(view.rank, peer, area_bytes);
      StoreSystem(reinterpret_cast<uint4*>(area) + i, vector.Load(peer * part + i));
    }
  }
  turn.Announce(view);
  const char* slot = view.staging[view.rank] + turn.slot;
  for (int64_t i = first; i < length(view.rank); i += step) {
    const int64_t index = view.rank * part + i;
    const uint4 own[1] = {vector.Load(index)};
    float values[Vector<T>::kEach];
    SumOfRanks<T, kGroup>(view, turn, own, Incoming{view, slot, area_bytes, i * 16}, values);
    const uint4 sum = Sendable(Elements<T>::Pack(values));
    vector.Store(index, sum);
    if (turn.is_live) SendToAll(view, turn, area_bytes, sums + i * 16, sum);
  }
  for (int64_t i = first; i < part; i += step) {
    // The last rank's part may be shorter, and those behind it empty.
    int owners = 0;
    while (owners < view.world_size && i < length(owners)) ++owners;
    for (int group = 0; group < owners; group += kGroup) {
      uint4 words[kGroup][1] = {};
      TakeGroup<AllWords>(view, turn, group, owners,
                          Incoming{view, slot, area_bytes, sums + i * 16}, words);
#pragma unroll
      for (int r = 0; r < kGroup; ++r) {
        const int owner = group + r;
        if (owner < owners && owner != view.rank) vector.Store(owner * part + i, words[r][0]);
      }
    }
  }
  __syncthreads();
  turn.End(view);
}

// An item is two words, each with its mark.
__global__ void __launch_bounds__(kThreads)
    GatherKernel(const __grid_constant__ PeerView view, const uint32_t* send, uint32_t* receive, int64_t words,
                 int64_t stride) {
  LetNextStart();
  WaitForPrevious();
  PeerTurn turn(view);
  const int64_t items = (words + 1) / 2, area_bytes = items * 16;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const auto put = [&](int rank, int64_t index, uint32_t low, uint32_t high) {
    uint32_t* place = receive + rank * stride + 2 * index;
    place[0] = low;
    if (2 * index + 1 < words) place[1] = high;
  };
  for (int64_t index = first; index < items; index += step) {
    const uint32_t low = send[2 * index];
    const uint32_t high = 2 * index + 1 < words ? send[2 * index + 1] : 0;
    if (turn.is_live) {
      SendToAll(view, turn, area_bytes, index * 16,
                make_uint4(low, MarkedWords::kMark, high, MarkedWords::kMark));
    }
    put(view.rank, index, low, high);
  }
  turn.Announce(view);
  const char* slot = view.staging[view.rank] + turn.slot;
  for (int64_t index = first; index < items; index += step) {
    for (int group = 0; group < view.world_size; group += kRankGroup) {
      uint4 taken[kRankGroup][1] = {};
      TakeGroup<MarkedWords>(view, turn, group, view.world_size,
                             Incoming{view, slot, area_bytes, index * 16}, taken);
#pragma unroll
      for (int r = 0; r < kRankGroup; ++r) {
        const int source = group + r;
        if (source >= view.world_size || source == view.rank) continue;
        put(source, index, taken[r][0].x, taken[r][0].z);
      }
    }
  }
  __syncthreads();
  turn.End(view);
}

unsigned BlocksOf(int64_t items, int max_blocks) {
  return static_cast<unsigned>(
      std::clamp<int64_t>((items + kThreads - 1) / kThreads, 1, max_blocks));
}

template <typename T>
int64_t ItemsOf(int64_t count) {
  constexpr int64_t kEach = 16 / static_cast<int64_t>(sizeof(T));
  return (count + kEach - 1) / kEach;
}

}  // namespace

template <typename T>
void PeerSum(const PeerView& view, T* data, int64_t count, int max_blocks, Stream& stream) {
  const auto kernel = view.world_size == 2 ? SumKernel<T, 2> : SumKernel<T, kRankGroup>;
  LaunchOverlapped(kernel, dim3(BlocksOf(ItemsOf<T>(count), max_blocks)), dim3(kThreads), 0,
                   stream, view, data, count);
}
template void PeerSum(const PeerView&, float*, int64_t, int, Stream&);
template void PeerSum(const PeerView&, __nv_bfloat16*, int64_t, int, Stream&);

template <typename T>
void PeerSumInParts(const PeerView& view, T* data, int64_t count, int max_blocks, Stream& stream) {
  const int64_t part = (ItemsOf<T>(count) + view.world_size - 1) / view.world_size;
  const auto kernel =
      view.world_size == 2 ? SumInPartsKernel<T, 2> : SumInPartsKernel<T, kRankGroup>;
  LaunchOverlapped(kernel, dim3(BlocksOf(part, max_blocks)), dim3(kThreads), 0, stream,
                   view, data, count);
}
template void PeerSumInParts(const PeerView&, float*, int64_t, int, Stream&);
template void PeerSumInParts(const PeerView&, __nv_bfloat16*, int64_t, int, Stream&);

void PeerGather(const PeerView& view, const uint32_t* send, uint32_t* receive, int64_t words,
                int64_t stride, int max_blocks, Stream& stream) {
  LaunchOverlapped(GatherKernel, dim3(BlocksOf((words + 1) / 2, max_blocks)), dim3(kThreads), 0,
                   stream, view, send, receive, words, stride);
}

}  // namespace skein::cuda
