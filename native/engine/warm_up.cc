#include "engine/warm_up.h"

#include <algorithm>

#include "kv/kv_layout.h"
#include "model/plan_limits.h"

namespace skein {
namespace {

// Asks the sampler for all it can do.
SamplingParams EverySamplingParam(const LoadPlan& plan) {
  SamplingParams params;
  params.temperature = 1;
  params.top_k = 8;
  params.top_p = 0.9f;
  params.repetition_penalty = 1.1f;
  params.return_logprobs = true;
  params.num_top_logprobs = static_cast<int32_t>(
      std::min<int64_t>(plan.max_top_logprobs, std::min<int64_t>(20, plan.text.vocab_size)));
  return params;
}

SamplingParams Nucleus() {
  SamplingParams params;
  params.temperature = 1;
  params.top_p = 0.9f;
  params.repetition_penalty = 1.1f;
  return params;
}

class PlanMaker {
 public:
  PlanMaker(const LoadPlan& plan, int64_t num_kv_blocks)
      : plan_(plan), num_kv_blocks_(num_kv_blocks) {}

  std::vector<StepPlan> Make() && {
    AddPrefill();
    AddDecode(plan_.max_num_sequences, 0, EverySamplingParam(plan_));
    // The largest first: what it makes grow need not grow again, which would drop recordings. A
    // bucket's first step runs eagerly, its second is recorded.
    for (auto bucket = plan_.graph_buckets.rbegin(); bucket != plan_.graph_buckets.rend();
         ++bucket) {
      for (int i = 0; i < 2; ++i) AddDecode(*bucket, *bucket, {});
    }
    // Filtered rows of steps that run ahead take kernels of their own.
    if (!plan_.graph_buckets.empty()) {
      AddDecode(plan_.graph_buckets.front(), plan_.graph_buckets.front(), Nucleus());
    }
    Next();
    return std::move(plans_);
  }

 private:
  // A plan that releases what the one before started.
  StepPlan& Next() {
    StepPlan& plan = plans_.emplace_back();
    plan.step = plans_.size();
    for (int32_t slot = 0; slot < num_live_; ++slot) plan.released_slots.push_back(slot);
    num_live_ = 0;
    if (has_picture_) plan.released_pictures.push_back(0);
    has_picture_ = false;
    return plan;
  }

  void Start(int32_t slot, int64_t tokens, int32_t first_block, const SamplingParams& sampling,
             StepPlan* plan) {
    NewSequence& fresh = plan->new_sequences.emplace_back();
    fresh.slot = slot;
    fresh.token_ids.assign(static_cast<size_t>(tokens), 0);
    fresh.num_prompt_tokens = tokens;
    fresh.sampling = sampling;
    const auto blocks = static_cast<int32_t>(BlocksFor(tokens, plan_.block_size));
    for (int32_t block = 0; block < blocks; ++block) {
      plan->new_blocks.insert(plan->new_blocks.end(), {slot, first_block + block});
    }
    plan->scheduled_slots.push_back(slot);
    plan->scheduled_tokens.push_back(static_cast<int32_t>(tokens));
    ++num_live_;
  }

  // As many tokens as a step takes, of as many prompts as that needs, behind the most tiles that a
  // step encodes.
  void AddPrefill() {
    StepPlan& plan = Next();
    int64_t left = plan_.max_step_tokens, blocks = num_kv_blocks_, tokens = 0;
    for (int32_t slot = 0; slot < plan_.max_num_sequences && left > 0 && blocks > 0; ++slot) {
      const int64_t count = std::min({left, plan_.max_model_length, blocks * plan_.block_size});
      Start(slot, count, static_cast<int32_t>(num_kv_blocks_ - blocks), EverySamplingParam(plan_),
            &plan);
      if (slot == 0) tokens = count;
      left -= count;
      blocks -= BlocksFor(count, plan_.block_size);
    }
    const int64_t tiles = WarmUpTiles(plan_);
    if (tiles == 0) return;
    has_picture_ = true;
    plan.encode_items.push_back({0, 0, static_cast<int32_t>(tiles)});
    if (tiles * TokensPerTile(plan_.vision) > tokens) return;
    plan.new_sequences.front().pictures.push_back({0, 0});
  }

  void AddDecode(int64_t sequences, int32_t bucket, const SamplingParams& sampling) {
    StepPlan& plan = Next();
    plan.graph_bucket = bucket;
    const int64_t count = std::min({sequences, plan_.max_step_tokens, num_kv_blocks_});
    for (int32_t slot = 0; slot < count; ++slot) Start(slot, 1, slot, sampling, &plan);
  }

  const LoadPlan& plan_;
  const int64_t num_kv_blocks_;
  std::vector<StepPlan> plans_;
  int32_t num_live_ = 0;
  bool has_picture_ = false;
};

}  // namespace

int64_t WarmUpTiles(const LoadPlan& plan) {
  return plan.has_vision ? std::min(plan.max_tiles_per_step, plan.num_tile_slots) : 0;
}

std::vector<StepPlan> MakeWarmUpPlans(const LoadPlan& plan, int64_t num_kv_blocks) {
  return PlanMaker(plan, num_kv_blocks).Make();
}

}  // namespace skein
