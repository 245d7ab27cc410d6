#include "tiny_model.h"

#include <random>
#include <stdexcept>
#include <thread>

#include "model/plan_limits.h"

namespace skein::test {

TinyGroup::TinyGroup(const TinyModelOptions& options, int world_size) {
  BackendOptions backend;
  backend.num_threads = 1;
  for (int rank = 0; rank < world_size; ++rank) {
    engines_.push_back(std::make_unique<Engine>(backend));
    load_results_.push_back(
        engines_.back()->Load(MakeTinyPlan(options, world_size, rank), nullptr));
  }
}

void TinyGroup::OnAllRanks(const std::function<void(int, Engine&)>& body) {
  std::vector<std::exception_ptr> errors(engines_.size());
  std::vector<std::thread> threads;
  for (int rank = 0; rank < world_size(); ++rank) {
    threads.emplace_back([&, rank] {
      try {
        body(rank, engine(rank));
      } catch (...) {
        errors[static_cast<size_t>(rank)] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors) {
    if (error != nullptr) std::rethrow_exception(error);
  }
}

void TinyGroup::Join(uint64_t epoch, int64_t num_kv_blocks) {
  GroupOptions options;
  options.group_epoch = epoch;
  options.world_size = world_size();
  options.collective = world_size() == 1 ? CollectiveKind::kNone : CollectiveKind::kSharedMemory;
  std::vector<std::string> addresses;
  for (int rank = 0; rank < world_size(); ++rank) {
    options.rank = rank;
    addresses.push_back(engine(rank).PrepareGroup(options));
  }
  OnAllRanks(
      [&](int, Engine& engine) { engine.JoinGroup(epoch, addresses, num_kv_blocks, 10000); });
  group_epoch = epoch;
  step = 1;
}

StepResult TinyGroup::Step(StepPlan plan) {
  plan.group_epoch = group_epoch;
  plan.step = step;
  std::vector<StepResult> results(engines_.size());
  OnAllRanks(
      [&](int rank, Engine& engine) { results[static_cast<size_t>(rank)] = engine.RunStep(plan); });
  ++step;
  for (const StepResult& result : results) {
    if (result.sample_hash != results[0].sample_hash) throw std::runtime_error("ranks disagree");
  }
  return results[0];
}

void TinyGroup::PutPicture(uint32_t id, const std::vector<int32_t>& tile_slots,
                           const std::vector<uint8_t>& pixels) {
  for (const auto& engine : engines_) engine->PutPixels(group_epoch, id, tile_slots, pixels);
}

NewSequence MakeSequence(int32_t slot, std::vector<int32_t> token_ids) {
  NewSequence sequence;
  sequence.slot = slot;
  sequence.num_prompt_tokens = static_cast<int64_t>(token_ids.size());
  sequence.token_ids = std::move(token_ids);
  sequence.sampling.num_top_logprobs = 20;
  sequence.sampling.return_logprobs = true;
  return sequence;
}

std::vector<int32_t> RandomTokens(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i) tokens.push_back(static_cast<int32_t>(random() % kTinyVocab));
  return tokens;
}

std::vector<uint8_t> RandomPixels(int64_t tiles, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<uint8_t> pixels(static_cast<size_t>(tiles * 16 * 16 * 3));
  for (uint8_t& pixel : pixels) pixel = static_cast<uint8_t>(random());
  return pixels;
}

std::vector<int32_t> Blocks(int32_t slot, int32_t first, int32_t count) {
  std::vector<int32_t> pairs;
  for (int32_t block = first; block < first + count; ++block) {
    pairs.push_back(slot);
    pairs.push_back(block);
  }
  return pairs;
}

}  // namespace skein::test
