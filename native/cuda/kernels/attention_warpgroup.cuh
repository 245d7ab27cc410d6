// The attention kernel of Hopper: an online softmax (FlashAttention-2, Dao 2023) over tiles of
// queries and keys that warpgroup products multiply, with the roles of FlashAttention-3 (Shah and
// others 2024: arXiv 2407.08608).
//
// A block stays and takes one piece of work after the other: 128 rows of one KV head's queries. The
// query heads that share the KV head are rows like any others - row p of a tile of queries is query
// p / group of head p % group - so a tile of few queries, a decode too, fills a piece with heads.
// Two warpgroups multiply, 64 rows each: while one turns scores into weights, the other's products
// keep the tensor cores busy (they take turns to issue them), and a warpgroup's own products with
// values run while it weighs the next scores. Of the third warpgroup one warp copies keys, one
// values and two queries, each a tile or a piece ahead.
//
// A row's bits depend on its own keys only: key tiles begin at multiples of kKeys positions and are
// added in ascending order; a tile that is wholly masked for a row changes nothing. With kInRuns
// keys are summed in fixed runs, and the runs' sums in order (attention_fixed_runs.cuh): the same
// bits, whether a block has all of a row's runs or each is a piece of its own.
#pragma once

#include "cuda/kernels/attention_copies.cuh"
#include "cuda/kernels/attention_fixed_runs.cuh"
#include "cuda/kernels/wgmma.cuh"

namespace skein::cuda::warpgroup {

template <int kD, bool kPaged, bool kInRuns>
struct Attention : Shape<kD, kPaged> {
  using S = Shape<kD, kPaged>;
  using S::kConsumerRegisters, S::kConsumers, S::kConsumerWarps, S::kHalfBytes, S::kKeys;
  using S::kProducerRegisters, S::kQueryHalfBytes, S::kQueryStages, S::kQueryThreads;
  using S::kSlots, S::kStages;
  using typename S::QueryTurn, typename S::Ring, typename S::Shared, typename S::Turn;

  // --- A thread of those that multiply. It holds of rows lane / 4 and lane / 4 + 8 of its warp's
  // sixteen what a product of wgmma.cuh leaves in it.
  struct Consumer {
    const Operands& p;
    const Shared& shared;
    const int group;  // 0 or 1
    const int warp, lane;
    Turn keys{0, 0}, values{0, 0};
    QueryTurn queries{0, 0};
    float scores[kKeys / 2];
    float sums[kD / 2];
    uint32_t weights[kKeys / 16][4];
    float maximum[2], total[2], correction[2];

    // Of what products alone have read. Each thread says for itself when it has read the queries'
    // piece, which racecheck would not see otherwise.
    __device__ __forceinline__ void Release(uint32_t barrier) const {
      if (lane == 0) Arrive(barrier);
    }
    // The warpgroups issue their products in turn.
    __device__ __forceinline__ void AwaitTurn() const {
      asm volatile("bar.sync %0, %1;\n" ::"r"(1 + group), "n"(kConsumers) : "memory");
    }
    __device__ __forceinline__ void PassTurn() const {
      asm volatile("bar.arrive %0, %1;\n" ::"r"(2 - group), "n"(kConsumers) : "memory");
    }

    __device__ __forceinline__ void MultiplyKeys() {
      const uint64_t q = OperandDescriptor(shared.Queries(queries.stage) + group * 64 * 128);
      const uint64_t k = OperandDescriptor(shared.Keys().Tile(keys.stage));
#pragma unroll
      for (int i = 0; i < kD / 16; ++i) {
        WarpgroupMultiply<kKeys>(scores, q + i / 4 * (kQueryHalfBytes / 16) + i % 4 * 2,
                                 k + i / 4 * (kHalfBytes / 16) + i % 4 * 2, i == 0 ? 0 : 1);
      }
      CommitProducts();
    }
    __device__ __forceinline__ void MultiplyValues(int adds) {
      const uint64_t v = TransposedDescriptor(shared.Values().Tile(values.stage), kHalfBytes);
#pragma unroll
      for (int i = 0; i < kKeys / 16; ++i) {
        WarpgroupMultiplyTransposed<kD>(sums, weights[i], v + i * (16 * 128 / 16),
                                        i == 0 ? adds : 1);
      }
      CommitProducts();
    }
    __device__ __forceinline__ void PinScores() {
#pragma unroll
      for (float& value : scores) Pin(value);
    }
    __device__ __forceinline__ void PinSums() {
#pragma unroll
      for (float& value : sums) Pin(value);
    }

    // What leads to `sum`, which is not negative, is computed before the next wait: ptxas would
    // rather wait first, and weigh while nothing is multiplied.
    __device__ __forceinline__ void StayBefore(float sum) const {
      asm volatile(
          "{\n.reg .pred p;\nsetp.lt.f32 p, %1, 0f00000000;\n@p st.shared.f32 [%0], %1;\n}\n" ::"r"(
              shared.base),
          "f"(sum)
          : "memory");
    }
    // Scores of the tile at `begin` become weights, in place.
    template <bool kFirst>
    __device__ __forceinline__ void Weigh(int begin, const int (&limits)[2], int first_limit,
                                          float scale_log2) {
      if (begin + kKeys > first_limit) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const int end = limits[r] - begin - lane % 4 * 2;
#pragma unroll
          for (int i = 0; i < kKeys / 8; ++i) {
            if (i * 8 >= end) scores[4 * i + 2 * r] = -INFINITY;
            if (i * 8 + 1 >= end) scores[4 * i + 2 * r + 1] = -INFINITY;
          }
        }
      }
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float most = kFirst ? scores[2 * r] : maximum[r];
#pragma unroll
        for (int i = 0; i < kKeys / 8; ++i) {
          most = fmaxf(most, fmaxf(scores[4 * i + 2 * r], scores[4 * i + 2 * r + 1]));
        }
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
        // A row may have no key of a run, but of the first one.
        const float base = kInRuns && most == -INFINITY ? 0.0f : most;
        correction[r] = kFirst ? 0.0f : PowerOfTwo((maximum[r] - base) * scale_log2);
        maximum[r] = most;
        const float shift = -base * scale_log2;
        // Two sums wait less for each other.
        float sum[2] = {kFirst ? 0.0f : total[r] * correction[r], 0.0f};
#pragma unroll
        for (int i = 0; i < kKeys / 8; ++i) {
#pragma unroll
          for (int j = 0; j < 2; ++j) {
            float& score = scores[4 * i + 2 * r + j];
            score = PowerOfTwo(fmaf(score, scale_log2, shift));
            sum[j] += score;
          }
        }
        total[r] = sum[0] + sum[1];
      }
    }
    __device__ __forceinline__ void PackWeights() {
#pragma unroll
      for (int i = 0; i < kKeys / 16; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          weights[i][j] = PackBFloat16(scores[8 * i + 2 * j], scores[8 * i + 2 * j + 1]);
          Pin(weights[i][j]);
        }
      }
    }
    __device__ __forceinline__ void Correct() {
#pragma unroll
      for (int i = 0; i < kD / 8; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) sums[4 * i + j] *= correction[j / 2];
      }
    }

    // Rows of this warpgroup do not exist: its part of the barriers.
    __device__ __forceinline__ void Skip(int tiles, bool is_last) {
      if (is_last) Arrive(shared.QueriesEmpty(queries.stage));
      for (int tile = 0; tile < tiles; ++tile) {
        AwaitParity(shared.Keys().Full(keys.stage), keys.parity);
        Release(shared.Keys().Empty(keys.stage));
        keys.Advance();
        AwaitParity(shared.Values().Full(values.stage), values.parity);
        Release(shared.Values().Empty(values.stage));
        values.Advance();
      }
    }

    // The sums of `tiles` tiles of keys from `begin` on; is_last: the queries are not needed again.
    __device__ __forceinline__ void Attend(const Piece& piece, int begin, int tiles, bool is_last) {
      const float scale_log2 = p.a.scale * 1.4426950408889634f;
      const int row = piece.first + group * 64 + warp * 16;
      int limits[2], first_limit = piece.num_keys;
      limits[0] = limits[1] = piece.num_keys;
      if constexpr (kPaged) {
        const auto limit = [&](int of) {
          return min(piece.tile.first_position + of / piece.group + 1, piece.num_keys);
        };
        first_limit = limit(row);
        limits[0] = limit(row + lane / 4);
        limits[1] = limit(row + lane / 4 + 8);
      }
      const bool takes_turns = piece.num_rows > 64;
      const Ring key_ring = shared.Keys(), value_ring = shared.Values();

      AwaitParity(key_ring.Full(keys.stage), keys.parity);
      FenceProducts();
      MultiplyKeys();
      WaitProducts<0>();
      PinScores();
      Release(key_ring.Empty(keys.stage));
      keys.Advance();
      Weigh<true>(begin, limits, first_limit, scale_log2);
      PackWeights();
      for (int tile = 1; tile < tiles; ++tile) {
        AwaitParity(key_ring.Full(keys.stage), keys.parity);
        if (takes_turns) AwaitTurn();
        FenceProducts();
        MultiplyKeys();
        AwaitParity(value_ring.Full(values.stage), values.parity);
        FenceProducts();
        MultiplyValues(tile == 1 ? 0 : 1);
        if (takes_turns) PassTurn();
        WaitProducts<1>();
        PinScores();
        Release(key_ring.Empty(keys.stage));
        keys.Advance();
        Weigh<false>(begin + tile * kKeys, limits, first_limit, scale_log2);
        StayBefore(fminf(total[0], total[1]));
        WaitProducts<0>();
        PinSums();
        Release(value_ring.Empty(values.stage));
        values.Advance();
        Correct();
        PackWeights();
      }
      if (is_last) Arrive(shared.QueriesEmpty(queries.stage));
      AwaitParity(value_ring.Full(values.stage), values.parity);
      FenceProducts();
      MultiplyValues(tiles == 1 ? 0 : 1);
      WaitProducts<0>();
      PinSums();
      Release(value_ring.Empty(values.stage));
      values.Advance();
#pragma unroll
      for (float& sum : total) {
        sum += __shfl_xor_sync(0xffffffffu, sum, 1);
        sum += __shfl_xor_sync(0xffffffffu, sum, 2);
      }
    }

    __device__ __forceinline__ void Store(const Piece& piece) const {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int row = group * 64 + warp * 16 + lane / 4 + r * 8;
        if (row >= piece.num_rows) continue;
        const float inverse = 1.0f / total[r];
        const int query = (piece.first + row) / piece.group;
        const int head = piece.first_head + (piece.first + row) % piece.group;
        __nv_bfloat16* out = p.a.out +
                             static_cast<int64_t>(piece.tile.query_row + query) * p.a.out_stride +
                             static_cast<int64_t>(head) * p.a.head_dim;
#pragma unroll
        for (int i = 0; i < kD / 8; ++i) {
          if (i * 8 >= p.a.head_dim) break;
          *reinterpret_cast<uint32_t*>(out + i * 8 + lane % 4 * 2) =
              PackBFloat16(sums[4 * i + 2 * r] * inverse, sums[4 * i + 2 * r + 1] * inverse);
        }
      }
    }

    // A piece whose keys are summed in runs.
    __device__ __forceinline__ void RunAll(const Piece& piece, bool has_rows) {
      const int runs = RunsOf(piece.num_keys, kFixedRunKeys);
      const bool is_part = piece.run >= 0;
      const int last = is_part ? piece.run : runs - 1;
      for (int run = is_part ? piece.run : 0; run <= last; ++run) {
        const KeyRun run_keys = RunOf(piece, run);
        const int tiles = (run_keys.length + kKeys - 1) / kKeys;
        if (!has_rows) {
          Skip(tiles, run == last);
          continue;
        }
        Attend(piece, run_keys.begin, tiles, run == last);
        if (runs == 1 || is_part) break;
        fixed_runs::AddToKept(p.runs, p.a.scale, run, last, sums, maximum, total);
      }
      if (!has_rows) return;
      if (runs > 1 && is_part) {
        fixed_runs::StorePart<kD>(p, piece, warp, sums, maximum, total);
        fixed_runs::FinishParts<kD>(p, piece, runs, shared.Note());
      } else {
        Store(piece);
      }
    }

    __device__ __forceinline__ void Run() {
      if (group == 1) PassTurn();
      for (int slot = 0;; slot = slot + 1 == kSlots ? 0 : slot + 1) {
        AwaitParity(shared.QueriesFull(queries.stage), queries.parity);
        // Read again where it is needed: registers are scarce.
        const Piece& piece = *shared.PieceAt(slot);
        const int num_rows = piece.num_rows;
        if (num_rows == 0) break;
        if constexpr (kInRuns) {
          RunAll(piece, group * 64 < num_rows);
        } else {
          const int tiles = (piece.num_keys + kKeys - 1) / kKeys;
          if (group * 64 >= num_rows) {
            Skip(tiles, true);
          } else {
            Attend(piece, 0, tiles, true);
            Store(piece);
          }
        }
        queries.Advance();
      }
      if (group == 0) AwaitTurn();
    }
  };

  __device__ static __forceinline__ void Run(const KeyMaps& maps, const Operands& p, char* memory) {
    LetNextStart();
    if constexpr (kInRuns) {
      // Leaves its place at once; the first block, which waits, always stays.
      Piece piece;
      if (blockIdx.x > 0 && !Pieces<kPaged, kInRuns>{p}.Next(&piece)) return;
    }
    const uint32_t start = SharedAddress(memory);
    const uint32_t base = (start + 1023) / 1024 * 1024;
    const Shared shared{base, memory + (base - start)};
    const int warp = static_cast<int>(threadIdx.x) / 32;
    if (threadIdx.x == 0) {
      PrefetchMap(&maps.keys);
      PrefetchMap(&maps.values);
      for (int stage = 0; stage < kStages; ++stage) {
        InitBarrier(shared.Keys().Full(stage), 1);
        InitBarrier(shared.Keys().Empty(stage), kConsumerWarps);
        InitBarrier(shared.Values().Full(stage), 1);
        InitBarrier(shared.Values().Empty(stage), kConsumerWarps);
      }
      for (int stage = 0; stage < kQueryStages; ++stage) {
        InitBarrier(shared.QueriesFull(stage), kQueryThreads);
        InitBarrier(shared.QueriesEmpty(stage), kConsumers);
      }
      FenceBarriers();
    }
    __syncthreads();
    WaitForPrevious();
    if (warp >= kConsumerWarps) {
      ShrinkRegisters<kProducerRegisters>();
      if (warp == kConsumerWarps) {
        Copies<kD, kPaged, kInRuns>::template CopyTiles<false>(p, &maps.keys, shared.Keys());
      } else if (warp == kConsumerWarps + 1) {
        Copies<kD, kPaged, kInRuns>::template CopyTiles<true>(p, &maps.values, shared.Values());
      } else {
        Copies<kD, kPaged, kInRuns>::CopyQueries(p, shared);
      }
    } else {
      GrowRegisters<kConsumerRegisters>();
      Consumer{p, shared, warp / 4, warp % 4, static_cast<int>(threadIdx.x) % 32}.Run();
    }
  }
};

template <int kD, bool kPaged, bool kInRuns>
__global__ void __launch_bounds__(Attention<kD, kPaged, kInRuns>::kThreads, 1)
    AttentionKernel([[maybe_unused]] const __grid_constant__ KeyMaps maps,
                    [[maybe_unused]] const __grid_constant__ Operands p) {
#if defined(SKEIN_HOPPER)
  extern __shared__ char memory[];
  Attention<kD, kPaged, kInRuns>::Run(maps, p, memory);
#endif
}

}  // namespace skein::cuda::warpgroup
