// Attention over the paged cache: CUDA beside its CPU twin over awkward head groups, dimensions,
// contexts and batches, and the bits of a row whatever surrounds it. Caches are filled with NaN
// first, so that a key which nobody wrote shows.
#include <algorithm>
#include <map>

#include "cuda/cuda_storage.h"
#include "cuda/device_copy.h"
#include "cuda/device_memory.h"
#include "cuda/kernels/attention.h"
#include "test/cuda/attention_fixture.h"

namespace skein {
namespace {

// Needs no device: the kernels and the size of their buffers rest on it.
TEST(DecodeRuns, CoverEveryKeyOnceInOrder) {
  for (const int run_keys : {128, 256}) {
    for (const int context :
         {1, 127, 128, 129, 2047, 2048, 2049, 8192, 8193, 32768, 40000, 131072}) {
      const int runs = cuda::RunsOf(context, run_keys);
      int next = 0;
      for (int run = 0; run < runs; ++run) {
        const cuda::KeyRun keys = cuda::RunAt(run, run_keys);
        ASSERT_EQ(keys.begin, next) << "run " << run;
        ASSERT_EQ(keys.length % run_keys, 0);
        ASSERT_LT(keys.begin, context);
        next = keys.begin + keys.length;
      }
      EXPECT_GE(next, context);
    }
  }
  EXPECT_EQ(cuda::RunsOf(0, 128), 0);
  EXPECT_EQ(cuda::RunsOf(32768, 128), 88);
}

// Over caches of both types.
class CudaCacheTypesTest : public CudaAttentionTest, public ::testing::WithParamInterface<DType> {};
INSTANTIATE_TEST_SUITE_P(Types, CudaCacheTypesTest,
                         ::testing::Values(DType::kBFloat16, DType::kFloat8E4M3),
                         [](const auto& info) { return std::string(Name(info.param)); });

// Mixed prefill chunks and decodes over a paged cache whose blocks lie in a shuffled order.
TEST_F(CudaAttentionTest, ChunksAndDecodesAgreeWithTheCpu) {
  for (const AttentionCase& c :
       {Grouped(8, 4, 3), Grouped(16, 4, 2), Grouped(20, 3, 1), Grouped(32, 2, 4),
        Grouped(64, 1, 7), Grouped(80, 2, 3), Grouped(128, 1, 5), Grouped(128, 2, 5)}) {
    for (Backend* backend : {cuda_.get(), fast_.get()}) {
      Sequences sequences(4, 700, 3);
      const KvCacheShape shape{1, sequences.num_blocks(), kBlockSize, c.num_kv_heads(), c.head_dim};
      const auto cpu_cache = cpu_->AllocateKvCache(shape, DType::kBFloat16);
      const auto cache = PoisonedCache(c, sequences.num_blocks());
      // Whole prompts of awkward lengths, then chunks beside decodes, then decodes alone.
      std::vector<int32_t> lengths = {0, 0, 0, 0};
      for (const std::vector<int32_t>& step :
           {std::vector<int32_t>{1, 65, 130, 300}, {1, 1, 77, 1}, {1, 1, 1, 200}, {1, 1, 1, 1}}) {
        std::vector<Sequences::Part> parts;
        for (int32_t s = 0; s < 4; ++s) {
          const int32_t rows = step[static_cast<size_t>(s)];
          lengths[static_cast<size_t>(s)] += rows;
          parts.push_back({s, lengths[static_cast<size_t>(s)], rows});
        }
        const StepMetadata& metadata = sequences.Step(parts);
        const auto rows = static_cast<int64_t>(metadata.token_ids.size());
        const Twin qkv = RandomTwin(rows, c.width());
        const Twin out = PoisonedTwin(rows, c.num_heads() * c.head_dim);
        Attend(*cpu_, c, metadata, qkv.cpu->view(), *cpu_cache, out.cpu->view());
        Attend(*backend, c, metadata, qkv.cuda->view(), *cache, out.cuda->view());
        backend->FinishStep();
        ExpectClose(out, 3 * kRounding, Format("head_dim %lld", (long long)c.head_dim));
      }
    }
  }
}

// A padded batch of decodes: each context with each group of heads that tensor parallelism yields.
TEST_F(CudaAttentionTest, DecodeAgreesWithTheCpu) {
  std::vector<AttentionCase> cases;
  for (const int64_t group : {1, 2, 3, 5, 7, 8, 12, 16, 20})
    cases.push_back(Grouped(128, 1, group));
  for (const int64_t head_dim : {16, 20, 64, 80}) cases.push_back(Grouped(head_dim, 2, 5));
  cases.push_back({128, {0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2}});
  const std::vector<int32_t> contexts = {1, 15, 16, 127, 128, 129, 255, 256, 257, 1000, 5000};
  Sequences sequences(static_cast<int64_t>(contexts.size()), 5000, 11);
  for (const AttentionCase& c : cases) {
    const KvCacheShape shape{1, sequences.num_blocks(), kBlockSize, c.num_kv_heads(), c.head_dim};
    const auto cpu_cache = cpu_->AllocateKvCache(shape, DType::kBFloat16);
    const auto cache = PoisonedCache(c, sequences.num_blocks());
    std::vector<Sequences::Part> parts;
    for (int32_t s = 0; s < static_cast<int32_t>(contexts.size()); ++s) {
      const int32_t context = contexts[static_cast<size_t>(s)];
      parts.push_back({s, context, 1});
      if (context == 1) continue;
      const StepMetadata& before = sequences.Step({{s, context - 1, context - 1}});
      const Twin qkv = RandomTwin(context - 1, c.width());
      Store(*cpu_, c, before, qkv.cpu->view(), *cpu_cache);
      Store(*fast_, c, before, qkv.cuda->view(), *cache);
      fast_->FinishStep();
    }
    constexpr int32_t kBucket = 16;
    const auto rows = static_cast<int64_t>(parts.size());
    const Twin qkv = RandomTwin(kBucket, c.width());
    const Twin out = PoisonedTwin(kBucket, c.num_heads() * c.head_dim);
    Attend(*cpu_, c, sequences.Step(parts), qkv.cpu->view().Rows(0, rows), *cpu_cache,
           out.cpu->view().Rows(0, rows));
    Attend(*fast_, c, sequences.Step(parts, kBucket), qkv.cuda->view(), *cache, out.cuda->view());
    fast_->FinishStep();
    fast_->DropCaptured();
    for (int64_t row = 0; row < rows; ++row) {
      ExpectClose(out.cpu->view().Rows(row, 1), out.cuda->view().Rows(row, 1), 3 * kRounding,
                  Format("head_dim %lld, %lld heads, context %d", (long long)c.head_dim,
                         (long long)c.num_heads(), contexts[static_cast<size_t>(row)]));
    }
    for (const float value : Read(out.cuda->view().Rows(rows, kBucket - rows), true)) {
      ASSERT_EQ(value, 0.0f) << "a padded row";
    }
  }
}

TEST_P(CudaCacheTypesTest, DecodeBitsDoNotDependOnTheBatch) {
  const AttentionCase c = Grouped(128, 2, 5);
  constexpr int32_t kSequences = 17;
  Sequences sequences(kSequences, 2400, 5);
  const auto cache = PoisonedCache(c, sequences.num_blocks(), GetParam());
  std::vector<Sequences::Part> parts;
  for (int32_t s = 0; s < kSequences; ++s) {
    const int32_t context = 1 + s * 149;
    parts.push_back({s, context, 1});
    if (s == 0) continue;
    const std::vector<Sequences::Part> before = {{s, context - 1, context - 1}};
    const auto qkv = QkvOf(*fast_, c, before);
    Store(*fast_, c, sequences.Step(before), qkv->view(), *cache);
    fast_->FinishStep();
  }
  const auto run = [&](const std::vector<Sequences::Part>& batch, int32_t bucket) {
    const auto rows = std::max<int64_t>(bucket, static_cast<int64_t>(batch.size()));
    const auto qkv = QkvOf(*fast_, c, batch, rows);
    const auto out = PoisonedOut(*fast_, c, rows);
    Attend(*fast_, c, sequences.Step(batch, bucket), qkv->view(), *cache, out->view());
    fast_->FinishStep();
    fast_->DropCaptured();
    return Read(out->view(), true);
  };
  // Small steps and large ones are cut differently; within either cut bits are the row's own.
  constexpr int32_t kLarge = 20;
  const auto variant_of = [](int64_t rows) {
    return cuda::ChooseDecodeVariant(static_cast<int>(rows), 2, 128);
  };
  ASSERT_NE(variant_of(1), variant_of(kLarge));
  std::map<int, std::vector<std::vector<float>>> alone;
  for (const Sequences::Part& part : parts) {
    for (const int32_t bucket : {0, kLarge}) {
      alone[variant_of(std::max(bucket, 1))].push_back(RowOf(run({part}, bucket), c, 0));
    }
  }
  for (size_t count = 1; count <= parts.size(); ++count) {
    std::vector<Sequences::Part> batch = parts;
    std::shuffle(batch.begin(), batch.end(), generator_);
    batch.resize(count);
    for (const int32_t bucket : {0, kLarge}) {
      const std::vector<float> together = run(batch, bucket);
      const int variant = variant_of(std::max<int64_t>(bucket, static_cast<int64_t>(count)));
      for (size_t row = 0; row < count; ++row) {
        EXPECT_EQ(RowOf(together, c, static_cast<int64_t>(row)),
                  alone[variant][static_cast<size_t>(batch[row].sequence)])
            << "sequence " << batch[row].sequence << " among " << count;
      }
    }
  }
}

// Every way to share the runs out gives the same bits, and every variant the right values.
TEST_F(CudaAttentionTest, DecodeBitsDoNotDependOnTheList) {
  const AttentionCase c = Grouped(128, 1, 12);
  Sequences sequences(1, 3000, 9);
  const auto cache = PoisonedCache(c, sequences.num_blocks());
  const std::vector<Sequences::Part> whole = {{0, 2900, 2900}};
  const auto qkv = QkvOf(*cuda_, c, whole);
  const auto expected_out = PoisonedOut(*cuda_, c, 2900);
  // The last row by the prefill kernel is the reference.
  Attend(*cuda_, c, sequences.Step(whole), qkv->view(), *cache, expected_out->view());
  cuda_->FinishStep();
  const std::vector<float> expected = Read(expected_out->view().Rows(2899, 1), true);

  const auto& paged = static_cast<const cuda::CudaKvCache&>(*cache);
  const auto keys_of = [&](const int32_t* table) {
    return cuda::PagedKeys{paged.Keys(0),
                           paged.Values(0),
                           table,
                           static_cast<int32_t>(sequences.table_width()),
                           kBlockSize,
                           1,
                           static_cast<int32_t>(sequences.num_blocks())};
  };
  ExpectListsLeaveBits(c, sequences, 2900, qkv->view().Rows(2899, 1), keys_of,
                       [&](int variant, const StepMetadata&, const Matrix& out) {
                         const std::vector<float> actual = Read(out, true);
                         double difference = 0, norm = 0;
                         for (size_t i = 0; i < actual.size(); ++i) {
                           difference += std::pow(static_cast<double>(actual[i]) - expected[i], 2);
                           norm += std::pow(static_cast<double>(expected[i]), 2);
                         }
                         EXPECT_LT(std::sqrt(difference), 3 * kRounding * std::sqrt(norm))
                             << "variant " << variant;
                       });
}

// Deterministic mode: a row alone, as a decode, in chunks of any cut, among others: the same bits.
TEST_P(CudaCacheTypesTest, DeterministicBitsDoNotDependOnChunks) {
  for (const AttentionCase& c : {Grouped(128, 2, 5), Grouped(20, 3, 1), Grouped(64, 1, 3)}) {
    ExpectChunksLeaveBits(
        c, GetParam(),
        {{330}, {1, 63, 64, 65, 1, 136}, {200, 1, 1, 1, 127}, {128, 128, 74}, {329, 1}});
  }
}

// The same of contexts of several runs of keys, which decodes split.
TEST_F(CudaAttentionTest, DeterministicBitsOfSeveralRunsDoNotDependOnChunks) {
  for (const AttentionCase& c : {Grouped(128, 1, 5), Grouped(64, 1, 3)}) {
    ExpectChunksLeaveBits(c, DType::kBFloat16,
                          {{4400}, {2047, 1, 1, 1, 2046, 1, 303}, {640, 3759, 1}});
  }
}

// Decodes of very different contexts, padded rows among them, have the bits that each has alone,
// whether their runs are split, as those of few sequences are, or not.
TEST_F(CudaAttentionTest, DeterministicDecodesDoNotDependOnTheBatch) {
  const AttentionCase c = Grouped(128, 1, 5);
  constexpr int32_t kSequences = cuda::kMostSplitTiles + 8;
  Sequences sequences(kSequences, 4500, 2);
  const auto cache = PoisonedCache(c, sequences.num_blocks());
  std::vector<Sequences::Part> parts;
  for (int32_t i = 0; i < kSequences; ++i) {
    // Every fourth of several runs.
    const int32_t context = i % 4 == 3 ? 2049 + i * 60 : 1 + (i * 389) % 290;
    parts.push_back({i, context, context});
    const auto qkv = QkvOf(*cuda_, c, {parts.back()});
    Store(*cuda_, c, sequences.Step({parts.back()}), qkv->view(), *cache);
    cuda_->FinishStep();
    parts.back().rows = 1;
  }
  const auto run = [&](const std::vector<Sequences::Part>& batch, int32_t bucket) {
    const int64_t rows = std::max<int64_t>(bucket, static_cast<int64_t>(batch.size()));
    const auto qkv = QkvOf(*cuda_, c, batch, rows);
    const auto out = PoisonedOut(*cuda_, c, rows);
    Attend(*cuda_, c, sequences.Step(batch, bucket), qkv->view(), *cache, out->view());
    cuda_->FinishStep();
    return Read(out->view(), true);
  };
  const std::vector<float> all = run(parts, 0);
  for (int32_t count : {1, 3, cuda::kMostSplitTiles}) {
    const std::vector<Sequences::Part> some(parts.end() - count, parts.end());
    const std::vector<float> together = run(some, count == 3 ? 4 : 0);
    for (int32_t row = 0; row < count; ++row) {
      EXPECT_EQ(RowOf(together, c, row), RowOf(all, c, kSequences - count + row))
          << "row " << row << " of " << count;
    }
  }
}

// A recording serves every context length of its bucket, however the next step's differ from the
// last one's, and gives what eager steps give.
TEST_P(CudaCacheTypesTest, RecordingsServeEveryContext) {
  const AttentionCase c = Grouped(128, 2, 5);
  for (Backend* backend : {cuda_.get(), fast_.get()}) {
    constexpr int32_t kLongest = 3000;
    Sequences sequences(3, kLongest, 4);
    StepLimits limits;
    limits.max_rows = kLongest, limits.max_sequences = 4;
    limits.max_blocks_per_sequence = sequences.table_width(), limits.block_size = kBlockSize;
    limits.num_query_heads = c.num_heads(), limits.num_kv_heads = c.num_kv_heads();
    limits.head_dim = c.head_dim, limits.max_model_length = kLongest;
    limits.graph_buckets = {4};
    backend->ReserveSteps(limits);
    const auto eager_cache = PoisonedCache(c, sequences.num_blocks(), GetParam());
    const auto cache = PoisonedCache(c, sequences.num_blocks(), GetParam());
    std::vector<Sequences::Part> parts = {{0, 1, 1}, {1, 1, 1}, {2, 1, 1}};
    for (KvCache* each : {eager_cache.get(), cache.get()}) {
      for (const Sequences::Part& part : parts) {
        const std::vector<Sequences::Part> before = {{part.sequence, kLongest, kLongest}};
        const auto qkv = QkvOf(*backend, c, before);
        Store(*backend, c, sequences.Step(before), qkv->view(), *each);
        backend->FinishStep();
      }
    }
    constexpr int32_t kContexts[][3] = {{1, kLongest, 40}, {kLongest, kLongest, kLongest},
                                        {2, 1, 1},         {kLongest - 500, 130, 700},
                                        {129, 128, 127},   {250, 251, 2049}};
    const auto out = PoisonedOut(*backend, c, 4), eager_out = PoisonedOut(*backend, c, 4);
    const auto recorded_qkv = backend->Allocate(DType::kBFloat16, 4, c.width());
    int recordings = 0;
    for (int step = 0; step < 20; ++step) {
      for (size_t i = 0; i < parts.size(); ++i) parts[i].context = kContexts[step % 6][i];
      // A sequence's table is another row now.
      if (step % 6 == 5) std::rotate(parts.begin(), parts.begin() + 1, parts.end());
      const auto qkv = QkvOf(*backend, c, parts, 4);
      cuda::CopyAndWait(recorded_qkv->view().data, qkv->view().data,
                        static_cast<size_t>(4 * c.width()) * 2);
      SKEIN_CUDA(
          cudaMemset(out->view().data, 0xff,
                     static_cast<size_t>(4 * c.num_heads()) * static_cast<size_t>(c.head_dim) * 2));
      // The eager step leaves its tables where those of the recording are to be, narrower.
      Attend(*backend, c, sequences.Step(parts), qkv->view().Rows(0, 3), *eager_cache,
             eager_out->view().Rows(0, 3));
      backend->FinishStep();
      Settle();
      backend->BeginStep(sequences.Step(parts, 4));
      backend->RunCaptured(4, [&] {
        ++recordings;
        const Matrix matrix = recorded_qkv->view();
        backend->RotaryAttention(matrix, *cache, 0, 1e6, c.q_to_kv, out->view());
      });
      backend->FinishStep();
      // The first step runs eagerly and is recorded: its rotation runs once, not twice.
      EXPECT_EQ(recordings, 2);
      EXPECT_EQ(Read(out->view().Rows(0, 3), true), Read(eager_out->view().Rows(0, 3), true))
          << "step " << step;
    }
    EXPECT_GE(backend->graph_bytes(), 0);
    backend->DropCaptured();
    EXPECT_EQ(backend->graph_bytes(), 0);
  }
}

}  // namespace
}  // namespace skein
