// Shared memory of Hopper's attention kernel, and the warps that fill it.
#pragma once

#include "cuda/kernels/attention_pieces.cuh"
#include "cuda/kernels/hopper.cuh"
#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/mma.cuh"
#include "cuda/kernels/shared_memory.cuh"

namespace skein::cuda::warpgroup {

template <int kD, bool kPaged>
struct Shape {
  // 1,025 keys, a picture tile's, are almost six times 176.
  static constexpr int kKeys = kPaged ? 128 : 176;
  static constexpr int kStages = 2;
  static constexpr int kHalves = kD / 64;
  // Two where there is room.
  static constexpr int kQueryStages = kPaged || kD == 64 ? 2 : 1;
  static constexpr int kConsumers = 256;
  static constexpr int kThreads = kConsumers + 128;
  static constexpr int kConsumerWarps = kConsumers / 32;
  static constexpr int kQueryThreads = 64;
  // Setting them up takes 168 registers a thread; then they are dealt out anew.
  static constexpr int kConsumerRegisters = kD == 64 ? 216 : kPaged ? 224 : 232;
  static constexpr int kProducerRegisters = kD == 64 ? 72 : kPaged ? 56 : 40;

  // Each 64 columns of a tile lie together: rows of 128 bytes, swizzled.
  static constexpr int kHalfBytes = kKeys * 128;
  static constexpr int kTileBytes = kHalves * kHalfBytes;
  static constexpr int kQueryHalfBytes = kPieceRows * 128;
  static constexpr int kQueryBytes = kHalves * kQueryHalfBytes;
  static constexpr int kBarriers = kQueryStages * kQueryBytes + 2 * kStages * kTileBytes;
  static constexpr int kPlaces = kBarriers + 16 * (2 * kStages + kQueryStages);
  static constexpr int kPieceBytes = 64;
  // Those whose queries are there or on their way, and the one that is being finished.
  static constexpr int kSlots = kQueryStages + 1;
  // Behind them what the threads that add up runs tell each other.
  static constexpr int kNote = kPlaces + kSlots * kPieceBytes;
  static constexpr int kSharedBytes = 1024 + kNote + 16;
  static_assert(sizeof(Piece) <= kPieceBytes && kPlaces % 16 == 0 && kHalfBytes % 1024 == 0);
  static_assert(kSharedBytes <= 227 * 1024);

  // A stage of a ring of kCount and the parity of its phase.
  template <int kCount>
  struct TurnOf {
    int stage = 0, parity;
    __device__ __forceinline__ void Advance() {
      if (++stage == kCount) {
        stage = 0;
        parity ^= 1;
      }
    }
  };
  using Turn = TurnOf<kStages>;
  using QueryTurn = TurnOf<kQueryStages>;
  // Of keys, or of values.
  struct Ring {
    uint32_t tiles, barriers;
    __device__ __forceinline__ uint32_t Tile(int stage) const { return tiles + stage * kTileBytes; }
    __device__ __forceinline__ uint32_t Full(int stage) const { return barriers + stage * 16; }
    __device__ __forceinline__ uint32_t Empty(int stage) const { return barriers + stage * 16 + 8; }
  };
  struct Shared {
    uint32_t base;
    char* memory;  // the same place; first the queries
    __device__ __forceinline__ Ring Keys() const {
      return {base + kQueryStages * kQueryBytes, base + kBarriers};
    }
    __device__ __forceinline__ Ring Values() const {
      return {base + kQueryStages * kQueryBytes + kStages * kTileBytes,
              base + kBarriers + 16 * kStages};
    }
    __device__ __forceinline__ uint32_t Queries(int stage) const {
      return base + stage * kQueryBytes;
    }
    __device__ __forceinline__ uint32_t QueriesFull(int stage) const {
      return base + kBarriers + 32 * kStages + 16 * stage;
    }
    __device__ __forceinline__ uint32_t QueriesEmpty(int stage) const {
      return QueriesFull(stage) + 8;
    }
    __device__ __forceinline__ Piece* PieceAt(int slot) const {
      return reinterpret_cast<Piece*>(memory + kPlaces + slot * kPieceBytes);
    }
    __device__ __forceinline__ int* Note() const { return reinterpret_cast<int*>(memory + kNote); }
  };
  // Piece c (16 bytes, eight columns) of row `row` of a tile whose halves are `half_bytes` long.
  __device__ static __forceinline__ uint32_t Swizzled(int row, int c, int half_bytes) {
    return static_cast<uint32_t>(c / 8 * half_bytes + row * 128 + (c % 8 ^ row % 8) * 16);
  }
};

template <int kD, bool kPaged, bool kInRuns>
struct Copies : Shape<kD, kPaged> {
  using S = Shape<kD, kPaged>;
  using S::kHalfBytes, S::kHalves, S::kKeys, S::kProducerRegisters, S::kQueryHalfBytes;
  using S::kQueryThreads, S::kSlots, S::kTileBytes, S::Swizzled;
  using typename S::QueryTurn, typename S::Ring, typename S::Shared, typename S::Turn;

  // --- The warp that copies keys, and the one that copies values.
  template <bool kValues>
  __device__ static __forceinline__ void CopyTiles(const Operands& p, const CUtensorMap* map,
                                                   const Ring& ring) {
    Turn turn{0, 1};
    Pieces<kPaged, kInRuns> pieces{p};
    Piece piece;
    while (pieces.Next(&piece)) {
      if (piece.num_rows == 0) continue;
      int begin = 0, end = piece.num_keys;
      if constexpr (kInRuns) {
        // Runs are whole tiles, but for the last.
        if (piece.run >= 0) {
          const KeyRun keys = RunOf(piece, piece.run);
          begin = keys.begin, end = keys.begin + keys.length;
        }
      }
      for (; begin < end; begin += kKeys) {
        if constexpr (kPaged) {
          CopyPaged<kValues>(p, map, ring, turn, piece, begin);
        } else {
          CopyContiguous(p, map, ring, turn, piece, begin);
        }
        turn.Advance();
      }
    }
  }

  // One lane a box. Boxes beyond the last key are copied from outside the cache: zeros.
  template <bool kValues>
  __device__ static __forceinline__ void CopyPaged(const Operands& p, const CUtensorMap* map,
                                                   const Ring& ring, const Turn& turn,
                                                   const Piece& piece, int begin) {
    constexpr int kBoxes = kKeys / kBoxKeys;
    static_assert(kHalves * kBoxes <= 32);
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int box = lane % kBoxes, half = lane / kBoxes;
    const int position = begin + box * kBoxKeys;
    int row = -kBoxKeys;
    if (position < piece.num_keys) {
      const int32_t* table =
          p.block_tables + static_cast<int64_t>(piece.tile.table_row) * p.max_blocks;
      row = (table[position / p.block_size] * p.num_kv_heads + piece.kv_head) * p.block_size +
            position % p.block_size;
    }
    // Nothing of a value beyond the last key may be read, not even to be weighed with zero.
    const int last_keys = piece.num_keys - begin;
    const bool is_ragged = kValues && last_keys < kKeys && last_keys % kBoxKeys != 0;
    const uint32_t full = ring.Full(turn.stage), tile = ring.Tile(turn.stage);
    AwaitParity(ring.Empty(turn.stage), turn.parity);
    if (is_ragged) {
      const int ragged = last_keys / kBoxKeys;
      const int from = __shfl_sync(0xffffffffu, row, ragged);
      CopyRagged(p, tile, ragged * kBoxKeys, from, last_keys % kBoxKeys);
      if (box == ragged) row = -1;
      __syncwarp();
    }
    if (lane == 0) {
      ExpectBytes(full, kTileBytes - (is_ragged ? kHalves * kBoxKeys * 128 : 0));
    }
    __syncwarp();
    if (half < kHalves && row != -1) {
      CopyBox(tile + half * kHalfBytes + box * kBoxKeys * 128, map, half * 64, row, full);
    }
  }

  // The box whose last keys do not exist, by ordinary loads: `count` rows, and zeros.
  __device__ static __forceinline__ void CopyRagged(const Operands& p, uint32_t tile, int first,
                                                    int from, int count) {
    const __nv_bfloat16* source = p.values + static_cast<int64_t>(from) * p.a.head_dim;
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.x) % 32; i < kBoxKeys * kD / 8; i += 32) {
      const int row = i / (kD / 8), c = i % (kD / 8);
      uint4 eight = make_uint4(0, 0, 0, 0);
      if (row < count && c * 8 < p.a.head_dim) {
        eight = *reinterpret_cast<const uint4*>(source + row * p.a.head_dim + c * 8);
      }
      StoreShared(tile + Swizzled(first + row, c, kHalfBytes), eight);
    }
    FenceSharedForAsync();
  }

  // Rows beyond the sequence's are outside the map: zeros.
  __device__ static __forceinline__ void CopyContiguous(const Operands& p, const CUtensorMap* map,
                                                        const Ring& ring, const Turn& turn,
                                                        const Piece& piece, int begin) {
    AwaitParity(ring.Empty(turn.stage), turn.parity);
    if (threadIdx.x % 32 == 0) {
      const uint32_t full = ring.Full(turn.stage);
      ExpectBytes(full, kTileBytes);
#pragma unroll
      for (int half = 0; half < kHalves; ++half) {
        CopyBox(ring.Tile(turn.stage) + half * kHalfBytes, map, half * 64, piece.kv_head, begin,
                piece.tile.table_row / p.sequence_rows, full);
      }
    }
    __syncwarp();
  }

  // --- The two warps that copy queries, and say which piece is next.
  __device__ static __forceinline__ void CopyQueries(const Operands& p, const Shared& shared) {
    const int thread = static_cast<int>(threadIdx.x) % kQueryThreads;
    Pieces<kPaged, kInRuns> pieces{p};
    QueryTurn turn{0, 1};
    int slot = 0;
    bool more = true;
    while (more) {
      Piece piece;
      more = pieces.Next(&piece);
      if (more && piece.num_rows == 0) {
        ClearPadding(p, piece, thread);
        continue;
      }
      if (!more) piece.num_rows = 0;
      AwaitParity(shared.QueriesEmpty(turn.stage), turn.parity);
      if (thread == 0) *shared.PieceAt(slot) = piece;
      if (more) {
        CopyHalf(p, piece, shared.Queries(turn.stage), thread / 32 * 64);
        CopyHalf(p, piece, shared.Queries(turn.stage), thread / 32 * 64 + 32);
      }
      CommitAsync();
      WaitAsync<0>();
      FenceSharedForAsync();
      Arrive(shared.QueriesFull(turn.stage));
      turn.Advance();
      slot = slot + 1 == kSlots ? 0 : slot + 1;
    }
  }
  // Half of a warp's rows: 32 from `first` on. A lane finds out where one of them lies.
  __device__ static __forceinline__ void CopyHalf(const Operands& p, const Piece& piece,
                                                  uint32_t queries, int first) {
    constexpr int kPieces = kD / 8;
    const int lane = static_cast<int>(threadIdx.x) % 32, c = lane % kPieces;
    const int of_lane = piece.first + first + lane;
    const int query = of_lane / piece.group, head = of_lane - query * piece.group;
    // In pieces of eight columns.
    int place = -1;
    if (first + lane < piece.num_rows) {
      place = static_cast<int>((piece.tile.query_row + query) * (p.a.q_stride / 8)) +
              (piece.first_head + head) * (p.a.head_dim / 8);
    }
#pragma unroll(kProducerRegisters < 56 ? 2 : 4)
    for (int i = 0; i < kPieces; ++i) {
      const int row = (i * 32 + lane) / kPieces;
      const int from = __shfl_sync(0xffffffffu, place, row);
      const bool is_valid = from >= 0 && c * 8 < p.a.head_dim;
      CopyAsync16(queries + Swizzled(first + row, c, kQueryHalfBytes),
                  is_valid ? p.a.q + (static_cast<int64_t>(from) + c) * 8 : p.a.q, is_valid);
    }
  }
  // A padded row's output is zero.
  __device__ static __forceinline__ void ClearPadding(const Operands& p, const Piece& piece,
                                                      int thread) {
    __nv_bfloat16* out = p.a.out + static_cast<int64_t>(piece.tile.query_row) * p.a.out_stride +
                         static_cast<int64_t>(piece.first_head) * p.a.head_dim;
    for (int i = thread; i < piece.group * p.a.head_dim; i += kQueryThreads) {
      out[i] = __float2bfloat16(0.0f);
    }
  }
};

}  // namespace skein::cuda::warpgroup
