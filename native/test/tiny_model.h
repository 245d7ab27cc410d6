// A group of engines of a tiny random model (tiny_plan.h) in this process, one thread a rank while
// a call runs, over shared memory. Test support only.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "engine/engine.h"
#include "tiny_plan.h"

namespace skein::test {

class TinyGroup {
 public:
  TinyGroup(const TinyModelOptions& options, int world_size);

  int world_size() const { return static_cast<int>(engines_.size()); }
  Engine& engine(int rank) { return *engines_[static_cast<size_t>(rank)]; }
  const LoadResult& load_result(int rank) const { return load_results_[static_cast<size_t>(rank)]; }

  // Runs `body` on a thread per rank; throws the first error.
  void OnAllRanks(const std::function<void(int, Engine&)>& body);
  void Join(uint64_t group_epoch, int64_t num_kv_blocks = 64);
  // Runs the plan with this group's epoch and its next step number on every rank, which must agree.
  StepResult Step(StepPlan plan);
  void PutPicture(uint32_t id, const std::vector<int32_t>& tile_slots,
                  const std::vector<uint8_t>& pixels);

  // The next plan's epoch and step.
  uint64_t group_epoch = 0, step = 0;

 private:
  std::vector<std::unique_ptr<Engine>> engines_;
  std::vector<LoadResult> load_results_;
};

NewSequence MakeSequence(int32_t slot, std::vector<int32_t> token_ids);
// `count` tokens below the tiny vocabulary, by seed.
std::vector<int32_t> RandomTokens(int64_t count, uint32_t seed);
// [tiles, 16, 16, 3]
std::vector<uint8_t> RandomPixels(int64_t tiles, uint32_t seed);
// Pairs (slot, block) of blocks first .. first + count - 1.
std::vector<int32_t> Blocks(int32_t slot, int32_t first, int32_t count);

}  // namespace skein::test
