// How the ranks of a host hand each other words through memory that all of them reach.
//
// Every rank has staging memory in two slots, which its peers write and it alone reads. A word (4
// bytes) of it that nobody has written since it was last read is kEmpty. A rank writes its words
// into its peers' memory; a peer polls until a word is anything else, and makes it kEmpty again. So
// a word is its own flag: no fence, no counter, no second trip, and no order among words is needed.
// What is sent must not be kEmpty. Of float32 and of two bfloat16 that is one NaN of many, sent as
// another (Sendable); bytes of any meaning travel with a mark for each word.
//
// Exchange e of every rank goes through slot e mod 2, and two slots are enough. A rank writes words
// of e + 2 when its own exchange e + 1 has ended, for which it needed words that every peer sent in
// e + 1, or that were made from these. A peer sends words of e + 1 when its exchange e has ended,
// since every kernel waits for the one in front: then it has read the words of e and made them
// empty. So words of e + 2 never meet those of e. A recorded kernel cannot be told e, so it counts:
// each block has a count of its own, which only it reads and which it writes when all its threads
// have read it; the blocks that run also count for those that do not.
//
// Blocks wait for blocks of other devices, so all blocks of such a kernel must be on the device at
// the same time (PeerExchange sees to that). They let the next kernel start when all of them are.
//
// Giving up: who waits looks at a word in the host's memory now and then. If it is set, the block
// goes on with what it has, `given_up` is set, and no later exchange of this rank sends or waits.
// What was sent before is right, so a peer gets right words or waits until it gives up, too.
#pragma once

#include <cuda_bf16.h>

#include "cuda/kernels/device_clock.cuh"
#include "cuda/kernels/peer_view.h"
#include "cuda/kernels/vectors.cuh"

namespace skein::cuda {

inline constexpr uint32_t kEmpty = 0xffffffffu;
// Looks at the staging memory between two at the host's word: a look takes about half a
// microsecond.
inline constexpr int kLooksUntilAbort = 1024;
// Ranks whose words are awaited at once, where there are more than two; others take turns.
inline constexpr int kRankGroup = 4;

__device__ __forceinline__ uint4 LoadSystem(const uint4* from) {
  uint4 v;
  asm volatile("ld.relaxed.sys.global.v4.u32 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from)
               : "memory");
  return v;
}
__device__ __forceinline__ void StoreSystem(uint4* to, const uint4& v) {
  asm volatile("st.relaxed.sys.global.v4.u32 [%0], {%1,%2,%3,%4};\n" ::"l"(to), "r"(v.x), "r"(v.y),
               "r"(v.z), "r"(v.w)
               : "memory");
}
__device__ __forceinline__ uint32_t LoadSystem(const uint32_t* from) {
  uint32_t v;
  asm volatile("ld.relaxed.sys.global.u32 %0, [%1];\n" : "=r"(v) : "l"(from) : "memory");
  return v;
}
__device__ __forceinline__ void StoreSystem(uint32_t* to, uint32_t v) {
  asm volatile("st.relaxed.sys.global.u32 [%0], %1;\n" ::"l"(to), "r"(v) : "memory");
}
__device__ __forceinline__ uint64_t LoadSystem(const uint64_t* from) {
  uint64_t v;
  asm volatile("ld.relaxed.sys.global.u64 %0, [%1];\n" : "=l"(v) : "l"(from) : "memory");
  return v;
}
__device__ __forceinline__ void StoreSystem(uint64_t* to, uint64_t v) {
  asm volatile("st.relaxed.sys.global.u64 [%0], %1;\n" ::"l"(to), "l"(v) : "memory");
}

__device__ __forceinline__ uint32_t Sendable(uint32_t word) {
  return word == kEmpty ? 0x7fffffffu : word;
}
__device__ __forceinline__ uint4 Sendable(const uint4& v) {
  return make_uint4(Sendable(v.x), Sendable(v.y), Sendable(v.z), Sendable(v.w));
}

// Where in a slot of `target` what `source` sends arrives, `area_bytes` from each rank.
__device__ __forceinline__ int64_t AreaOf(int source, int target, int64_t area_bytes) {
  return (source < target ? source : source - 1) * area_bytes;
}

// One exchange, as a thread sees it.
struct PeerTurn {
  uint64_t count;
  bool is_live;
  int64_t slot;  // bytes from the beginning of the staging memory
  // Of the first thread of all: its time speaks for the others'. Nanoseconds, of earlier exchanges
  // and this one.
  uint64_t waited_ns;

  // After WaitForPrevious(). What is sent first should be read before it: a thread goes on when it
  // knows whether to send.
  __device__ explicit PeerTurn(const PeerView& view)
      : count(LoadSystem(view.counts + blockIdx.x)),
        is_live(LoadSystem(view.given_up) == 0),
        waited_ns(IsFirst() ? LoadSystem(view.waited_ns) : 0) {
    slot = static_cast<int64_t>(count & 1) * view.slot_bytes;
  }

  // Tells the host, once the first words are on their way.
  __device__ void Announce(const PeerView& view) const {
    if (!IsFirst()) return;
    StoreSystem(view.begun, count + 1);
    StoreSystem(view.told_waited_ns, waited_ns);
  }

  static __device__ bool IsFirst() { return blockIdx.x == 0 && threadIdx.x == 0; }

  // When all threads of the block have made their PeerTurn, and a barrier was after that.
  __device__ void End(const PeerView& view) const {
    for (unsigned i = blockIdx.x + threadIdx.x * gridDim.x; i < kMostPeerBlocks;
         i += gridDim.x * blockDim.x) {
      view.counts[i] = count + 1;
    }
    if (IsFirst()) *view.waited_ns = waited_ns;
  }

  __device__ bool IsGivenUp(const PeerView& view) {
    if (LoadSystem(view.abort_asked) == 0) return false;
    StoreSystem(view.given_up, 1u);
    is_live = false;
    return true;
  }
};

// Words that carry data only, and those of which the second of each pair is a mark.
struct AllWords {
  static __device__ bool AreThere(const uint4& v) {
    return v.x != kEmpty && v.y != kEmpty && v.z != kEmpty && v.w != kEmpty;
  }
};
struct MarkedWords {
  static constexpr uint32_t kMark = 0;
  static __device__ bool AreThere(const uint4& v) { return v.y != kEmpty && v.w != kEmpty; }
};

// Awaits what the ranks first .. first + kGroup - 1 sent to this one, as far as they are below
// `end`: kVectors times 16 bytes from each, at `place(source)`, and empties it. The own rank's stay
// as they are.
template <typename Words, int kGroup, int kVectors, typename Place>
__device__ __forceinline__ void TakeGroup(const PeerView& view, PeerTurn& turn, int first, int end,
                                          const Place& place, uint4 (&words)[kGroup][kVectors]) {
  uint64_t waits_since = 0;
  for (int looks = 1; turn.is_live; ++looks) {
    bool are_there = true;
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      const int source = first + i;
      if (source >= end || source == view.rank) continue;
      const uint4* from = place(source);
#pragma unroll
      for (int v = 0; v < kVectors; ++v) words[i][v] = LoadSystem(from + v);
    }
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      const int source = first + i;
      if (source >= end || source == view.rank) continue;
#pragma unroll
      for (int v = 0; v < kVectors; ++v) are_there = are_there && Words::AreThere(words[i][v]);
    }
    if (are_there) break;
    if (looks == 1 && PeerTurn::IsFirst()) waits_since = DeviceNanoseconds();
    if (looks % kLooksUntilAbort == 0 && turn.IsGivenUp(view)) return;
  }
  if (waits_since != 0) turn.waited_ns += DeviceNanoseconds() - waits_since;
  if (!turn.is_live) return;
#pragma unroll
  for (int i = 0; i < kGroup; ++i) {
    const int source = first + i;
    if (source >= end || source == view.rank) continue;
    uint4* from = const_cast<uint4*>(place(source));
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      StoreSystem(from + v, make_uint4(kEmpty, kEmpty, kEmpty, kEmpty));
    }
  }
}

// 16 bytes of float32 or bfloat16 as float32.
template <typename T>
struct Elements;
template <>
struct Elements<float> {
  static constexpr int kCount = 4;
  static __device__ __forceinline__ void Unpack(const uint4& v, float* values) {
    values[0] = __uint_as_float(v.x), values[1] = __uint_as_float(v.y);
    values[2] = __uint_as_float(v.z), values[3] = __uint_as_float(v.w);
  }
  static __device__ __forceinline__ uint4 Pack(const float* values) {
    return make_uint4(__float_as_uint(values[0]), __float_as_uint(values[1]),
                      __float_as_uint(values[2]), __float_as_uint(values[3]));
  }
};
template <>
struct Elements<__nv_bfloat16> {
  static constexpr int kCount = 8;
  static __device__ __forceinline__ void Unpack(const uint4& v, float* values) {
    const uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      values[2 * i] = __uint_as_float(words[i] << 16);
      values[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
    }
  }
  static __device__ __forceinline__ uint4 Pack(const float* values) {
    uint32_t words[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const __nv_bfloat162 pair = __floats2bfloat162_rn(values[2 * i], values[2 * i + 1]);
      words[i] = *reinterpret_cast<const uint32_t*>(&pair);
    }
    return make_uint4(words[0], words[1], words[2], words[3]);
  }
};

// The sum in rank order, in float32, rounded to T, of what all ranks have: `own` here, the others'
// at `place(source)`.
template <typename T, int kGroup, int kVectors, typename Place>
__device__ __forceinline__ void SumOfRanks(const PeerView& view, PeerTurn& turn,
                                           const uint4 (&own)[kVectors], const Place& place,
                                           float (&values)[kVectors * Elements<T>::kCount]) {
  constexpr int kEach = Elements<T>::kCount;
  for (int first = 0; first < view.world_size; first += kGroup) {
    uint4 words[kGroup][kVectors] = {};
    TakeGroup<AllWords>(view, turn, first, view.world_size, place, words);
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      const int source = first + i;
      if (source >= view.world_size) break;
      float next[kVectors * kEach];
#pragma unroll
      for (int v = 0; v < kVectors; ++v) {
        Elements<T>::Unpack(source == view.rank ? own[v] : words[i][v], next + v * kEach);
      }
#pragma unroll
      for (int j = 0; j < kVectors * kEach; ++j) {
        values[j] = source == 0 ? next[j] : __fadd_rn(values[j], next[j]);
      }
    }
  }
}

}  // namespace skein::cuda
