// Attention over the KV cache in float8, of decodes and of tiles, beside double precision over the
// same codes and scales. Caches are full of NaN before, scales too. That bits are a row's own:
// cuda_attention_test.cc.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/float8.h"
#include "cuda/kernels/attention.h"
#include "test/cuda/attention_fixture.h"
#include "test/cuda/stored_float8.h"

namespace skein {
namespace {

class CudaFloat8KvTest : public CudaAttentionTest {
 protected:
  // Every head of these query rows, whose sequences are as `metadata` says, in double precision:
  // the mean over heads, each relative to its own result.
  void ExpectAttention(const AttentionCase& c, const StepMetadata& metadata,
                       const std::vector<float>& qkv, const KvCache& cache, const Matrix& out,
                       int step, const std::string& what, double bound = 3 * kRounding) {
    const Stored stored(cache, c);
    const std::vector<float> actual = Read(out, true);
    const int64_t d = c.head_dim, out_width = c.num_heads() * d;
    double squares = 0;
    int64_t count = 0;
    for (const SequenceSpan& span : metadata.spans) {
      const int32_t* table =
          metadata.block_tables.data() + span.table_row * metadata.max_blocks_per_sequence;
      for (int32_t i = 0; i < span.num_queries;
           i = std::max(i + 1, std::min(i + step, span.num_queries - 1))) {
        const int64_t row = span.query_start + i;
        const int32_t num_keys = span.context_length - span.num_queries + i + 1;
        for (int64_t head = 0; head < c.num_heads(); ++head) {
          const int32_t kv_head = c.q_to_kv[static_cast<size_t>(head)];
          const float* q = qkv.data() + row * c.width() + head * d;
          const auto row_of = [&](int32_t key) {
            return stored.Row(int64_t{table[key / kBlockSize]} * kBlockSize + key % kBlockSize,
                              kv_head);
          };
          std::vector<double> scores;
          for (int32_t key = 0; key < num_keys; ++key) {
            const uint8_t* codes = stored.Codes(false, row_of(key));
            double score = 0;
            for (int64_t j = 0; j < d; ++j) score += double{q[j]} * double{kValues[codes[j]]};
            scores.push_back(score * double{stored.Scale(false, row_of(key))} /
                             std::sqrt(static_cast<double>(d)));
          }
          const double most = *std::max_element(scores.begin(), scores.end());
          std::vector<double> expected(static_cast<size_t>(d));
          double total = 0;
          for (int32_t key = 0; key < num_keys; ++key) {
            const double weight = std::exp(scores[static_cast<size_t>(key)] - most);
            total += weight;
            const uint8_t* codes = stored.Codes(true, row_of(key));
            const double scaled = weight * double{stored.Scale(true, row_of(key))};
            for (int64_t j = 0; j < d; ++j) {
              expected[static_cast<size_t>(j)] += scaled * double{kValues[codes[j]]};
            }
          }
          double difference = 0, norm = 0;
          for (int64_t j = 0; j < d; ++j) {
            const double value = expected[static_cast<size_t>(j)] / total;
            const float is = actual[static_cast<size_t>(row * out_width + head * d + j)];
            ASSERT_TRUE(std::isfinite(is)) << what << ", row " << row << ", head " << head;
            difference += std::pow(double{is} - value, 2);
            norm += std::pow(value, 2);
          }
          ASSERT_GT(norm, 0) << what << ", row " << row << ", head " << head;
          squares += difference / norm;
          ++count;
        }
      }
    }
    ASSERT_GT(count, 0);
    EXPECT_LT(std::sqrt(squares / static_cast<double>(count)), bound) << what;
  }

 private:
  inline static const std::vector<float> kValues = [] {
    std::vector<float> values;
    for (int code = 0; code < 256; ++code) {
      values.push_back(Float8ToFloat(static_cast<uint8_t>(code)));
    }
    return values;
  }();
};

// Keys alone have weight 1, so that values come out as they are: every code that is a number.
TEST_F(CudaFloat8KvTest, EveryCodeIsItsValue) {
  const AttentionCase c = Grouped(128, 1, 1);
  for (Backend* backend : {cuda_.get(), fast_.get()}) {
    Sequences sequences(2, 1, 3);
    const auto cache = PoisonedCache(c, sequences.num_blocks(), DType::kFloat8E4M3);
    const std::vector<Sequences::Part> parts = {{0, 1, 1}, {1, 1, 1}};
    const auto qkv = QkvOf(*backend, c, parts);
    const auto out = PoisonedOut(*backend, c, 2);
    const StepMetadata& metadata = sequences.Step(parts);
    Store(*backend, c, metadata, qkv->view(), *cache);
    backend->FinishStep();
    const cuda::Float8Kv kv = static_cast<const cuda::CudaKvCache&>(*cache).Float8(0);
    std::vector<float> expected;
    for (int s = 0; s < 2; ++s) {
      std::vector<uint8_t> codes;
      for (int i = 0; i < 128; ++i) {
        const int code = s * 128 + i;
        codes.push_back(static_cast<uint8_t>(code % 128 == 127 ? code - 1 : code));
        expected.push_back(Float8ToFloat(codes.back()));
      }
      const int64_t slot = metadata.slot_mapping[static_cast<size_t>(s)];
      const float one = 1.0f;
      cuda::CopyAndWait(kv.values + slot * 128, codes.data(), codes.size());
      cuda::CopyAndWait(kv.value_scales + slot, &one, sizeof(one));
    }
    Settle();
    backend->BeginStep(metadata);
    backend->RunCaptured(0, [&] {
      backend->PagedAttention(qkv->view().Cols(0, 128), *cache, 0, c.q_to_kv, out->view());
    });
    backend->FinishStep();
    EXPECT_EQ(Read(out->view(), true), expected);
  }
}

// Prompts, chunks beside decodes, decodes alone; deterministic and not.
TEST_F(CudaFloat8KvTest, ChunksAndDecodesAgreeWithDoublePrecision) {
  for (const AttentionCase& c : {Grouped(8, 4, 3), Grouped(16, 4, 2), Grouped(20, 3, 1),
                                 Grouped(32, 2, 4), Grouped(64, 1, 7), Grouped(72, 1, 2),
                                 Grouped(80, 2, 3), Grouped(128, 1, 5), Grouped(128, 2, 5)}) {
    for (Backend* backend : {cuda_.get(), fast_.get()}) {
      Sequences sequences(4, 700, 3);
      const auto cache = PoisonedCache(c, sequences.num_blocks(), DType::kFloat8E4M3);
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
        const auto qkv = QkvOf(*backend, c, parts);
        const auto out = PoisonedOut(*backend, c, rows);
        Attend(*backend, c, metadata, qkv->view(), *cache, out->view());
        backend->FinishStep();
        ExpectAttention(c, metadata, Read(qkv->view(), true), *cache, out->view(), 13,
                        Format("head_dim %lld, %lld rows, %s", (long long)c.head_dim,
                               (long long)rows, backend == fast_.get() ? "fast" : "deterministic"));
      }
    }
  }
}

// A padded batch of decodes: each context with each group of heads that tensor parallelism yields.
// Rounding the result to bfloat16 is 0.42 of kRounding; weights in bfloat16 would make it 0.6.
TEST_F(CudaFloat8KvTest, DecodeAgreesWithDoublePrecision) {
  std::vector<AttentionCase> cases = {{128, {0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2}}};
  for (const int64_t group : {1, 5, 8, 12, 20}) cases.push_back(Grouped(128, 1, group));
  for (const int64_t head_dim : {16, 20, 64, 80, 100}) cases.push_back(Grouped(head_dim, 2, 5));
  const std::vector<int32_t> contexts = {1, 15, 16, 127, 128, 129, 255, 256, 257, 1000, 5000};
  constexpr int32_t kBucket = 13;
  Sequences sequences(static_cast<int64_t>(contexts.size()), 5000, 11);
  for (const AttentionCase& c : cases) {
    const auto cache = PoisonedCache(c, sequences.num_blocks(), DType::kFloat8E4M3);
    std::vector<Sequences::Part> parts;
    for (int32_t s = 0; s < static_cast<int32_t>(contexts.size()); ++s) {
      const int32_t context = contexts[static_cast<size_t>(s)];
      parts.push_back({s, context, 1});
      if (context == 1) continue;
      const std::vector<Sequences::Part> before = {{s, context - 1, context - 1}};
      const auto qkv = QkvOf(*fast_, c, before);
      Store(*fast_, c, sequences.Step(before), qkv->view(), *cache);
      fast_->FinishStep();
    }
    // One sequence and many are cut differently.
    for (const size_t count : {size_t{1}, parts.size()}) {
      const std::vector<Sequences::Part> batch(parts.end() - static_cast<int64_t>(count),
                                               parts.end());
      const int32_t bucket = count == 1 ? 2 : kBucket;
      const auto qkv = QkvOf(*fast_, c, batch, bucket);
      const auto out = PoisonedOut(*fast_, c, bucket);
      const StepMetadata& metadata = sequences.Step(batch, bucket);
      Attend(*fast_, c, metadata, qkv->view(), *cache, out->view());
      fast_->FinishStep();
      fast_->DropCaptured();
      ExpectAttention(c, metadata, Read(qkv->view(), true), *cache, out->view(), 1,
                      Format("head_dim %lld, %lld heads, %zu sequences", (long long)c.head_dim,
                             (long long)c.num_heads(), count),
                      0.55 * kRounding);
      const auto rows = static_cast<int64_t>(count);
      for (const float value : Read(out->view().Rows(rows, bucket - rows), true)) {
        ASSERT_EQ(value, 0.0f) << "a padded row";
      }
    }
  }
}

// Every way to share the runs out gives the same bits, and every variant the right values; of no
// more than eight heads and of more.
TEST_F(CudaFloat8KvTest, DecodeBitsDoNotDependOnTheList) {
  constexpr int32_t kContext = 2900;
  for (const int64_t heads : Values({5, 12}, {5})) {
    const AttentionCase c = Grouped(128, 1, heads);
    Sequences sequences(1, 3000, 9);
    const auto cache = PoisonedCache(c, sequences.num_blocks(), DType::kFloat8E4M3);
    const std::vector<Sequences::Part> whole = {{0, kContext, kContext}};
    const auto qkv = QkvOf(*cuda_, c, whole);
    Store(*cuda_, c, sequences.Step(whole), qkv->view(), *cache);
    cuda_->FinishStep();
    const Matrix q = qkv->view().Rows(kContext - 1, 1);
    const auto keys_of = [&](const int32_t* table) {
      return cuda::PagedFloat8Keys{static_cast<const cuda::CudaKvCache&>(*cache).Float8(0), table,
                                   static_cast<int32_t>(sequences.table_width()), kBlockSize, 1};
    };
    ExpectListsLeaveBits(c, sequences, kContext, q, keys_of,
                         [&](int variant, const StepMetadata& metadata, const Matrix& out) {
                           ExpectAttention(c, metadata, Read(q, true), *cache, out, 1,
                                           Format("variant %d", variant));
                         });
  }
}

// Queries of 1e5 and keys of 1e-5, and the other way round; values that differ from token to token,
// by a million among those of a head, by 1e20 from head to head. In the last head, two columns have
// queries a million times as large as the others, and keys of zero.
TEST_F(CudaFloat8KvTest, MagnitudesDoNotMatter) {
  const AttentionCase c = Grouped(128, 4, 5);
  constexpr float kOfQueries[] = {1e5f, 1e-5f, 1e25f, 1.0f};
  constexpr float kOfValues[] = {1e-10f, 1e10f, 1.0f, 1.0f};
  constexpr int32_t kPrompt = 300;
  for (Backend* backend : {cuda_.get(), fast_.get()}) {
    Sequences sequences(1, kPrompt + 1, 3);
    const auto cache = PoisonedCache(c, sequences.num_blocks(), DType::kFloat8E4M3);
    for (const Sequences::Part& part :
         {Sequences::Part{0, kPrompt, kPrompt}, Sequences::Part{0, kPrompt + 1, 1}}) {
      const auto qkv = QkvOf(*backend, c, {part});
      const std::vector<float> normal = Read(qkv->view(), true);
      std::vector<BFloat16> scaled;
      for (size_t i = 0; i < normal.size(); ++i) {
        const int64_t row = static_cast<int64_t>(i) / c.width();
        const int64_t head = static_cast<int64_t>(i) % c.width() / 128, of_kinds = head - 20;
        // Rotary turns a column and the one 64 further on.
        const bool is_outlier = i % 64 == 0;
        if (head < 20) {
          const int64_t kv_head = head / 5;
          scaled.emplace_back(normal[i] * kOfQueries[kv_head] *
                              (kv_head == 3 && is_outlier ? 1048576.0f : 1.0f));
        } else if (of_kinds < 4) {
          scaled.emplace_back(of_kinds == 3 && is_outlier ? 0.0f
                                                          : normal[i] / kOfQueries[of_kinds]);
        } else {
          const int64_t token = part.context - part.rows + row;
          scaled.emplace_back(normal[i] * kOfValues[of_kinds - 4] *
                              std::pow(10.0f, static_cast<float>(token % 7 - 3)));
        }
      }
      cuda::CopyAndWait(qkv->view().data, scaled.data(), scaled.size() * sizeof(BFloat16));
      const auto out = PoisonedOut(*backend, c, part.rows);
      const StepMetadata& metadata = sequences.Step({part});
      Attend(*backend, c, metadata, qkv->view(), *cache, out->view());
      backend->FinishStep();
      ExpectAttention(
          c, metadata, Read(qkv->view(), true), *cache, out->view(), 13,
          Format("%d rows, %s", part.rows, backend == fast_.get() ? "fast" : "deterministic"));
    }
  }
}

TEST_F(CudaFloat8KvTest, ShowsWhatIsNoNumber) {
  const AttentionCase c = Grouped(64, 2, 3);
  for (Backend* backend : {cuda_.get(), fast_.get()}) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
      for (const std::string what : {"query", "key", "value"}) {
        Sequences sequences(1, 40, 3);
        const auto cache = PoisonedCache(c, sequences.num_blocks(), DType::kFloat8E4M3);
        const std::vector<Sequences::Part> before = {{0, 20, 20}}, last = {{0, 21, 1}};
        const auto prompt = QkvOf(*backend, c, before);
        const auto qkv = QkvOf(*backend, c, last);
        const BFloat16 element(bad);
        if (what == "query") {
          // An element of head 1.
          cuda::CopyAndWait(qkv->view().As<BFloat16>() + 64 + 2, &element, sizeof(element));
        } else {
          // An element of KV head 1, in position 3.
          const int64_t column = (c.num_heads() + (what == "value" ? 2 : 0) + 1) * 64 + 2;
          cuda::CopyAndWait(prompt->view().As<BFloat16>() + 3 * c.width() + column, &element,
                            sizeof(element));
        }
        Store(*backend, c, sequences.Step(before), prompt->view(), *cache);
        const auto out = PoisonedOut(*backend, c, 1);
        Attend(*backend, c, sequences.Step(last), qkv->view(), *cache, out->view());
        backend->FinishStep();
        const std::vector<float> values = Read(out->view(), true);
        for (int64_t head = 0; head < c.num_heads(); ++head) {
          EXPECT_EQ(std::isnan(values[static_cast<size_t>(head * 64)]),
                    what == "query" ? head == 1 : head >= 3)
              << "head " << head << ", a " << what;
        }
      }
    }
  }
}

}  // namespace
}  // namespace skein
