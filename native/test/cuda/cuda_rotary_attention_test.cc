// Attention that rotates and stores by itself gives the bits of the two ops.
#include "test/cuda/attention_fixture.h"

namespace skein {
namespace {

// Fused for steps of decodes, for whatever heads: the bits of the two ops, and the same in the
// cache, whether the row's own key is among a block's first keys or later ones.
TEST_F(CudaAttentionTest, RotaryAttentionIsRotaryAndAttention) {
  const std::vector<int32_t> contexts = {1, 2, 16, 17, 128, 129, 256, 257, 600, 1000, 2400};
  std::vector<AttentionCase> cases = {{128, {0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2}}};
  for (const int64_t group : {1, 5, 12, 20}) cases.push_back(Grouped(128, 1, group));
  for (const int64_t head_dim : {16, 20, 32, 64, 80}) cases.push_back(Grouped(head_dim, 2, 5));
  Sequences sequences(static_cast<int64_t>(contexts.size()), 2400, 13);
  for (const AttentionCase& c : cases) {
    // One cache a way, the same before.
    const std::unique_ptr<KvCache> caches[] = {PoisonedCache(c, sequences.num_blocks()),
                                               PoisonedCache(c, sequences.num_blocks())};
    std::vector<Sequences::Part> parts;
    for (int32_t s = 0; s < static_cast<int32_t>(contexts.size()); ++s) {
      const int32_t context = contexts[static_cast<size_t>(s)];
      parts.push_back({s, context, 1});
      if (context == 1) continue;
      const std::vector<Sequences::Part> before = {{s, context - 1, context - 1}};
      for (const auto& cache : caches) {
        const auto qkv = QkvOf(*fast_, c, before);
        Store(*fast_, c, sequences.Step(before), qkv->view(), *cache);
        fast_->FinishStep();
      }
    }
    // Few sequences and many are cut differently.
    for (const size_t count : {size_t{1}, size_t{3}, parts.size()}) {
      const std::vector<Sequences::Part> batch(parts.end() - static_cast<int64_t>(count),
                                               parts.end());
      const auto rows = static_cast<int64_t>(count) + 2;
      std::vector<float> outs[2];
      for (const int way : {0, 1}) {
        const auto qkv = QkvOf(*fast_, c, batch, rows);
        const auto out = PoisonedOut(*fast_, c, rows);
        const StepMetadata& metadata = sequences.Step(batch, static_cast<int32_t>(rows));
        if (way == 0) {
          Attend(*fast_, c, metadata, qkv->view(), *caches[0], out->view());
        } else {
          Settle();
          fast_->BeginStep(metadata);
          fast_->RunCaptured(0, [&] {
            fast_->RotaryAttention(qkv->view(), *caches[1], 0, 1e6, c.q_to_kv, out->view());
          });
        }
        fast_->FinishStep();
        fast_->DropCaptured();
        outs[way] = Read(out->view(), true);
      }
      EXPECT_EQ(outs[0], outs[1]) << "head_dim " << c.head_dim << ", " << c.num_heads()
                                  << " heads, " << count << " sequences";
    }
    std::vector<uint16_t> stored[2];
    for (const int way : {0, 1}) {
      stored[way].resize(caches[way]->bytes() / 2);
      cuda::CopyAndWait(stored[way].data(),
                        static_cast<const cuda::CudaKvCache&>(*caches[way]).Keys(0),
                        caches[way]->bytes());
    }
    EXPECT_TRUE(stored[0] == stored[1]) << "head_dim " << c.head_dim;
  }
}

}  // namespace
}  // namespace skein
