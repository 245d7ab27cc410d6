// The KV cache in float8: what is stored is what plain loops make of the same rows. Attention over
// it: cuda_float8_kv_test.cc.
#include <cmath>
#include <cstring>

#include "core/float8.h"
#include "test/cuda/attention_fixture.h"
#include "test/cuda/stored_float8.h"

namespace skein {
namespace {

using CudaFloat8StoreTest = CudaAttentionTest;

// Rows of codes and their scale, of values and of keys that no rotation turns, to the bit; rotated
// ones within their rounding. q becomes what it becomes beside a cache in bfloat16.
TEST_F(CudaFloat8StoreTest, StoresCodesAndScalesOfEachRow) {
  for (const AttentionCase& c : {Grouped(128, 8, 5), Grouped(128, 1, 1), Grouped(64, 2, 7),
                                 Grouped(80, 2, 3), Grouped(20, 3, 1), Grouped(4, 2, 2)}) {
    Sequences sequences(3, 100, 7);
    // Few rows and many are dealt out differently.
    for (const std::vector<int32_t>& lengths : {std::vector<int32_t>{1, 5, 2}, {1, 100, 70}}) {
      const auto cache = PoisonedCache(c, sequences.num_blocks(), DType::kFloat8E4M3);
      const auto plain = PoisonedCache(c, sequences.num_blocks());
      std::vector<Sequences::Part> parts;
      for (int32_t s = 0; s < 3; ++s) {
        const int32_t length = lengths[static_cast<size_t>(s)];
        parts.push_back({s, length, length});
      }
      const StepMetadata& metadata = sequences.Step(parts);
      const auto rows = static_cast<int64_t>(metadata.token_ids.size());
      const auto qkv = QkvOf(*fast_, c, parts), same = QkvOf(*fast_, c, parts);
      const std::vector<float> before = Read(qkv->view(), true);
      Store(*fast_, c, metadata, qkv->view(), *cache);
      Store(*fast_, c, metadata, same->view(), *plain);
      fast_->FinishStep();
      const Matrix q = qkv->view().Cols(0, c.num_heads() * c.head_dim);
      EXPECT_EQ(Read(q, true), Read(same->view().Cols(0, c.num_heads() * c.head_dim), true));
      const Stored stored(*cache, c);
      const int64_t d = c.head_dim;
      std::vector<bool> is_written(stored.scales[0].size());
      for (int64_t row = 0; row < rows; ++row) {
        const int32_t position = metadata.positions[static_cast<size_t>(row)];
        for (int64_t kv_head = 0; kv_head < c.num_kv_heads(); ++kv_head) {
          const int64_t at = stored.Row(metadata.slot_mapping[static_cast<size_t>(row)], kv_head);
          is_written[static_cast<size_t>(at)] = true;
          for (const bool is_value : {false, true}) {
            const int64_t head = c.num_heads() + (is_value ? c.num_kv_heads() : 0) + kv_head;
            const float* source = before.data() + row * c.width() + head * d;
            std::vector<uint8_t> codes(static_cast<size_t>(d));
            if (is_value || position == 0) {
              const float scale =
                  QuantizeToFloat8([&](int64_t i) { return source[i]; }, d, 0, codes.data());
              ASSERT_EQ(stored.Scale(is_value, at), scale) << "head_dim " << d;
              ASSERT_EQ(std::memcmp(stored.Codes(is_value, at), codes.data(), codes.size()), 0)
                  << "head_dim " << d << ", row " << row << ", head " << head;
              continue;
            }
            double difference = 0, norm = 0;
            for (int64_t i = 0; i < d / 2; ++i) {
              const double angle =
                  position * std::pow(1e6, -2.0 * static_cast<double>(i) / static_cast<double>(d));
              const double x = source[i], y = source[i + d / 2];
              const double turned[2] = {x * std::cos(angle) - y * std::sin(angle),
                                        y * std::cos(angle) + x * std::sin(angle)};
              for (const int64_t half : {0, 1}) {
                const double is = double{Float8ToFloat(stored.Codes(false, at)[i + half * d / 2])} *
                                  double{stored.Scale(false, at)};
                difference += std::pow(is - turned[half], 2);
                norm += std::pow(turned[half], 2);
              }
            }
            // Each within 2^-4 of itself.
            ASSERT_LT(std::sqrt(difference / norm), 0.063) << "head_dim " << d << ", row " << row;
          }
        }
      }
      for (size_t at = 0; at < is_written.size(); ++at) {
        if (is_written[at]) continue;
        ASSERT_TRUE(std::isnan(stored.scales[0][at]) && std::isnan(stored.scales[1][at]));
        for (int64_t i = 0; i < d; ++i) {
          ASSERT_EQ(stored.Codes(false, static_cast<int64_t>(at))[i], 0xff);
          ASSERT_EQ(stored.Codes(true, static_cast<int64_t>(at))[i], 0xff);
        }
      }
    }
  }
}

// A row's codes and scales, whatever else is stored and however its sequence is cut.
TEST_F(CudaFloat8StoreTest, StoredBitsDoNotDependOnTheStep) {
  const AttentionCase c = Grouped(128, 2, 5);
  std::vector<uint8_t> first;
  for (const std::vector<int32_t>& cut : {std::vector<int32_t>{170}, {1, 63, 64, 42}, {100, 70}}) {
    Sequences sequences(2, 200, 1);
    const auto cache = PoisonedCache(c, sequences.num_blocks(), DType::kFloat8E4M3);
    int32_t done = 0;
    for (const int32_t count : cut) {
      done += count;
      const std::vector<Sequences::Part> parts = {{1, done, count}, {0, done, count}};
      const auto qkv = QkvOf(*fast_, c, parts);
      Store(*fast_, c, sequences.Step(parts), qkv->view(), *cache);
      fast_->FinishStep();
    }
    const auto& paged = static_cast<const cuda::CudaKvCache&>(*cache);
    const std::vector<uint8_t> bytes =
        FromDevice(static_cast<const uint8_t*>(paged.data()), static_cast<int64_t>(paged.bytes()));
    if (first.empty()) first = bytes;
    EXPECT_TRUE(bytes == first) << cut.size() << " chunks";
  }
}

TEST_F(CudaFloat8StoreTest, TakesTheBytesOfThePlanAndHeadsOfFours) {
  const KvCacheShape shape{3, 5, 16, 2, 20};
  EXPECT_EQ(fast_->AllocateKvCache(shape, DType::kFloat8E4M3)->bytes(),
            static_cast<size_t>(5 * 2 * 3 * 16 * 2 * (20 + 4)));
  EXPECT_THROW(fast_->AllocateKvCache({1, 1, 16, 1, 18}, DType::kFloat8E4M3), Error);
  EXPECT_THROW(fast_->AllocateKvCache({1, 1, 16, 1, 132}, DType::kFloat8E4M3), Error);
}

}  // namespace
}  // namespace skein
