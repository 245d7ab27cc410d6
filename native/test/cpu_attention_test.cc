// Rotary positions, the paged cache and attention of the CPU back end against plain loops, for each
// type of the cache; a row's bits over batches, chunks and threads.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/float8.h"
#include "cpu/cpu_backend.h"
#include "kv/kv_layout.h"
#include "test/reference_ops.h"

namespace skein::test {
namespace {

using cpu::InstructionClass;

class CpuAttentionTest : public testing::TestWithParam<InstructionClass> {
 protected:
  std::unique_ptr<Backend> backend_ = cpu::MakeCpuBackendOfClass(2, GetParam());

  void UseThreads(int threads) { backend_ = cpu::MakeCpuBackendOfClass(threads, GetParam()); }
};

struct AttentionShape {
  std::vector<int32_t> q_to_kv;
  int64_t num_kv_heads, head_dim, block_size;
  int64_t heads() const { return static_cast<int64_t>(q_to_kv.size()); }
  int64_t width() const { return (heads() + 2 * num_kv_heads) * head_dim; }
};

constexpr DType kCacheTypes[] = {DType::kFloat32, DType::kBFloat16, DType::kFloat8E4M3};

const AttentionShape kAttentionShapes[] = {
    {{0}, 1, 16, 16},      {{0, 0, 1, 1, 1}, 2, 20, 16},
    {{1, 0, 1}, 2, 32, 5}, {{0, 0, 0, 0, 0, 0, 0}, 1, 64, 16},
    {{0, 1, 2}, 3, 40, 7}, {{0, 0, 0, 0, 0, 1, 1, 1, 1, 1}, 2, 128, 16},
};

// One sequence with its qkv rows and its blocks, scattered over the cache.
struct Sequence {
  HostMatrix qkv;
  std::vector<int32_t> blocks;
  int64_t computed = 0;
  HostMatrix out;
};

// Runs sequences through rotary, cache and attention in steps of (sequence, number of rows) and
// collects their outputs.
class AttentionRun {
 public:
  AttentionRun(Backend& backend, const AttentionShape& shape, DType cache_type, int64_t num_blocks)
      : backend_(backend), shape_(shape) {
    cache_ = backend.AllocateKvCache(
        {2, num_blocks, shape.block_size, shape.num_kv_heads, shape.head_dim}, cache_type);
  }

  void Step(std::vector<std::pair<Sequence*, int64_t>> chunks) {
    std::vector<int32_t> ids, positions, tables;
    std::vector<int64_t> slots;
    std::vector<SequenceSpan> spans;
    int64_t rows = 0;
    for (const auto& [sequence, count] : chunks) rows += count;
    HostMatrix qkv(rows, shape_.width(), 3);
    constexpr int64_t kMaxBlocks = 64;
    int64_t row = 0;
    for (const auto& [sequence, count] : chunks) {
      spans.push_back({static_cast<int32_t>(row), static_cast<int32_t>(count),
                       static_cast<int32_t>(sequence->computed + count),
                       static_cast<int32_t>(spans.size())});
      for (int64_t i = 0; i < count; ++i, ++row) {
        const int64_t position = sequence->computed + i;
        ids.push_back(0);
        positions.push_back(static_cast<int32_t>(position));
        slots.push_back(sequence->blocks[static_cast<size_t>(position / shape_.block_size)] *
                            shape_.block_size +
                        position % shape_.block_size);
        for (int64_t c = 0; c < shape_.width(); ++c) qkv.Set(row, c, sequence->qkv.At(position, c));
      }
      for (size_t b = 0; b < kMaxBlocks; ++b) {
        tables.push_back(b < sequence->blocks.size() ? sequence->blocks[b] : -1);
      }
    }
    StepMetadata metadata = TokensOnly(ids, positions, slots);
    metadata.spans = spans;
    metadata.block_tables = tables;
    metadata.max_blocks_per_sequence = kMaxBlocks;
    backend_.BeginStep(metadata);
    HostMatrix out = PoisonedMatrix(rows, shape_.heads() * shape_.head_dim, 1);
    const Matrix q = qkv.view().Cols(0, shape_.heads() * shape_.head_dim);
    for (const int64_t layer : {1}) {
      backend_.RotaryStoreKv(qkv.view(), *cache_, layer, shape_.heads(), kTheta);
      backend_.PagedAttention(q, *cache_, layer, shape_.q_to_kv, out.view());
    }
    row = 0;
    for (const auto& [sequence, count] : chunks) {
      for (int64_t i = 0; i < count; ++i, ++row) {
        for (int64_t c = 0; c < out.cols(); ++c) {
          sequence->out.Set(sequence->computed + i, c, out.At(row, c));
        }
      }
      sequence->computed += count;
    }
  }

  static constexpr double kTheta = 10000;

 private:
  Backend& backend_;
  const AttentionShape& shape_;
  std::unique_ptr<KvCache> cache_;
};

Sequence MakeSequence(Random& random, const AttentionShape& shape, int64_t length,
                      std::vector<int32_t>* free_blocks) {
  Sequence sequence{RandomMatrix(random, length, shape.width()),
                    {},
                    0,
                    PoisonedMatrix(length, shape.heads() * shape.head_dim)};
  for (int64_t i = 0; i < length; i += shape.block_size) {
    const size_t pick =
        static_cast<size_t>(random.Below(static_cast<int64_t>(free_blocks->size())));
    sequence.blocks.push_back((*free_blocks)[pick]);
    free_blocks->erase(free_blocks->begin() + static_cast<int64_t>(pick));
  }
  return sequence;
}

std::vector<int32_t> Blocks(int32_t count) {
  std::vector<int32_t> blocks(static_cast<size_t>(count));
  std::iota(blocks.begin(), blocks.end(), 0);
  return blocks;
}

// Each row as it comes back from a cache in float8.
void ThroughFloat8(HostMatrix& rows) {
  for (int64_t r = 0; r < rows.rows(); ++r) {
    std::vector<uint8_t> codes(static_cast<size_t>(rows.cols()));
    const auto value = [&](int64_t c) { return static_cast<float>(rows.At(r, c)); };
    const float scale = QuantizeToFloat8(value, rows.cols(), 0, codes.data());
    for (int64_t c = 0; c < rows.cols(); ++c) {
      rows.Set(r, c, Float8ToFloat(codes[static_cast<size_t>(c)]) * scale);
    }
  }
}

HostMatrix ReferenceOutput(const AttentionShape& shape, const Sequence& sequence,
                           DType cache_type) {
  const int64_t n = sequence.qkv.rows(), d = shape.head_dim;
  std::vector<int32_t> positions(static_cast<size_t>(n));
  std::iota(positions.begin(), positions.end(), 0);
  const HostMatrix rotated = ReferenceRotary(sequence.qkv, positions, shape.heads(),
                                             shape.num_kv_heads, d, AttentionRun::kTheta);
  HostMatrix out(n, shape.heads() * d);
  const bool is_float8 = cache_type == DType::kFloat8E4M3;
  const DType type = is_float8 ? DType::kFloat32 : cache_type;
  for (int64_t head = 0; head < shape.heads(); ++head) {
    const int64_t kv = shape.q_to_kv[static_cast<size_t>(head)];
    HostMatrix q(n, d), k(n, d, 0, type), v(n, d, 0, type);
    for (int64_t r = 0; r < n; ++r) {
      for (int64_t c = 0; c < d; ++c) {
        q.Set(r, c, rotated.At(r, head * d + c));
        k.Set(r, c, rotated.At(r, (shape.heads() + kv) * d + c));
        v.Set(r, c, rotated.At(r, (shape.heads() + shape.num_kv_heads + kv) * d + c));
      }
    }
    if (is_float8) {
      ThroughFloat8(k);
      ThroughFloat8(v);
    }
    const HostMatrix part = ReferenceAttention(q, k, v, true);
    for (int64_t r = 0; r < n; ++r) {
      for (int64_t c = 0; c < d; ++c) out.Set(r, head * d + c, part.At(r, c));
    }
  }
  return out;
}

TEST_P(CpuAttentionTest, PagedAttentionEqualsPlainLoops) {
  Random random(8);
  for (const AttentionShape& shape : kAttentionShapes) {
    for (const DType type : kCacheTypes) {
      std::vector<int32_t> free = Blocks(80);
      std::vector<Sequence> sequences;
      for (const int64_t length : {1, 63, 64, 130}) {
        sequences.push_back(MakeSequence(random, shape, length, &free));
      }
      AttentionRun run(*backend_, shape, type, 80);
      run.Step(
          {{&sequences[0], 1}, {&sequences[1], 63}, {&sequences[2], 64}, {&sequences[3], 130}});
      for (const Sequence& sequence : sequences) {
        // A key that falls on the other side of a rounding boundary of bfloat16 moves its score by
        // 2^-9 at most; of float8, one element by 2^-4 of itself.
        ExpectNear(sequence.out, ReferenceOutput(shape, sequence, type),
                   type == DType::kFloat32    ? 1e-5
                   : type == DType::kBFloat16 ? 4e-3
                                              : 2e-2,
                   std::string(Name(type)) + ", head_dim " + std::to_string(shape.head_dim) +
                       ", length " + std::to_string(sequence.qkv.rows()));
      }
    }
  }
}

TEST_P(CpuAttentionTest, PagedAttentionDoesNotDependOnChunksBatchOrThreads) {
  for (const AttentionShape& shape : kAttentionShapes) {
    for (const DType type : kCacheTypes) {
      constexpr int64_t kLength = 150;
      const auto sequences = [&](std::vector<int32_t>* free) {
        Random random(9);
        std::vector<Sequence> made;
        for (int i = 0; i < 3; ++i) made.push_back(MakeSequence(random, shape, kLength, free));
        return made;
      };
      // Whole and alone.
      std::vector<int32_t> free = Blocks(100);
      std::vector<Sequence> whole = sequences(&free);
      UseThreads(1);
      AttentionRun alone(*backend_, shape, type, 100);
      for (Sequence& sequence : whole) alone.Step({{&sequence, kLength}});
      for (const int threads : {1, 2, 3}) {
        UseThreads(threads);
        free = Blocks(100);
        std::vector<Sequence> mixed = sequences(&free);
        std::swap(mixed[0].blocks, mixed[2].blocks);
        AttentionRun run(*backend_, shape, type, 100);
        // Chunks and decodes together, in changing order, until all are done.
        const int64_t steps[][3] = {{1, 70, 0}, {0, 1, 13}, {64, 1, 50}, {1, 1, 1}, {84, 77, 86}};
        for (const auto& step : steps) {
          std::vector<std::pair<Sequence*, int64_t>> chunks;
          for (size_t i : {size_t{2}, size_t{0}, size_t{1}}) {
            if (step[i] > 0) chunks.emplace_back(&mixed[i], step[i]);
          }
          run.Step(chunks);
        }
        for (size_t i = 0; i < mixed.size(); ++i) {
          ASSERT_EQ(mixed[i].computed, kLength);
          for (int64_t r = 0; r < kLength; ++r) {
            ASSERT_TRUE(SameBits(mixed[i].out.view(), r, whole[i].out.view(), r))
                << "sequence " << i << ", row " << r << ", " << threads << " threads, head_dim "
                << shape.head_dim << ", " << Name(type);
          }
        }
      }
    }
  }
}

TEST_P(CpuAttentionTest, PagedAttentionIgnoresWhatIsBeyondTheContext) {
  // The blocks hold NaN of an earlier owner: a single one would show, even with weight 0.
  const AttentionShape& shape = kAttentionShapes[3];
  Random random(10);
  std::vector<int32_t> free = Blocks(2);
  UseThreads(1);
  Sequence first{PoisonedMatrix(32, shape.width()),
                 {0, 1},
                 0,
                 PoisonedMatrix(32, shape.heads() * shape.head_dim)};
  Sequence second = MakeSequence(random, shape, 20, &free);
  AttentionRun run(*backend_, shape, DType::kFloat32, 2);
  run.Step({{&first, 32}});
  run.Step({{&second, 20}});
  ExpectNear(second.out, ReferenceOutput(shape, second, DType::kFloat32), 1e-5, "reused blocks");
}

TEST_P(CpuAttentionTest, AFloat8CacheShowsWhatIsNoNumber) {
  const AttentionShape& shape = kAttentionShapes[1];
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Random random(12);
    std::vector<int32_t> free = Blocks(4);
    Sequence sequence = MakeSequence(random, shape, 20, &free);
    // An element of the values of KV head 1, in position 3.
    sequence.qkv.Set(3, (shape.heads() + shape.num_kv_heads + 1) * shape.head_dim + 2, bad);
    AttentionRun run(*backend_, shape, DType::kFloat8E4M3, 4);
    run.Step({{&sequence, 20}});
    // Rows before it may show it as well: they share its tile.
    for (int64_t r = 3; r < 20; ++r) {
      for (int64_t head = 0; head < shape.heads(); ++head) {
        EXPECT_EQ(std::isnan(sequence.out.At(r, head * shape.head_dim)),
                  shape.q_to_kv[static_cast<size_t>(head)] == 1)
            << "row " << r << ", head " << head;
      }
    }
  }
}

TEST_P(CpuAttentionTest, AFloat8CacheTakesHeadsOfFours) {
  EXPECT_EQ(backend_->AllocateKvCache({3, 5, 16, 2, 20}, DType::kFloat8E4M3)->bytes(),
            static_cast<size_t>(5 * KvBytesPerBlock({3, 5, 16, 2, 20}, DType::kFloat8E4M3)));
  EXPECT_THROW(backend_->AllocateKvCache({1, 1, 16, 1, 18}, DType::kFloat8E4M3), Error);
}

TEST_P(CpuAttentionTest, RotaryLeavesPaddedRowsOutOfTheCache) {
  const AttentionShape& shape = kAttentionShapes[0];
  auto cache = backend_->AllocateKvCache({1, 1, 16, 1, 16}, DType::kFloat32);
  EXPECT_EQ(cache->num_blocks(), 1);
  EXPECT_EQ(cache->bytes(), 2u * 16 * 16 * 4);
  Random random(11);
  HostMatrix qkv = RandomMatrix(random, 2, shape.width());
  const std::vector<int32_t> ids = {0, 0}, positions = {0, 1};
  const std::vector<int64_t> padded = {0, -1}, beyond = {0, 16};
  backend_->BeginStep(TokensOnly(ids, positions, padded));
  EXPECT_NO_THROW(backend_->RotaryStoreKv(qkv.view(), *cache, 0, 1, 1e4));
  backend_->BeginStep(TokensOnly(ids, positions, beyond));
  EXPECT_THROW(backend_->RotaryStoreKv(qkv.view(), *cache, 0, 1, 1e4), Error);
  EXPECT_THROW(backend_->AllocateKvCache({1, 1, 16, 1, 512}, DType::kFloat32), Error);
}

INSTANTIATE_TEST_SUITE_P(Classes, CpuAttentionTest,
                         testing::ValuesIn(cpu::AvailableInstructionClasses()),
                         [](const auto& info) { return std::string(cpu::Name(info.param)); });

}  // namespace
}  // namespace skein::test
