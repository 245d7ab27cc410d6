#include "engine/epoch.h"

#include <numeric>

#include "core/error.h"
#include "engine/warm_up.h"
#include "kv/kv_layout.h"
#include "model/plan_limits.h"

namespace skein {
namespace {

int64_t TokensPerTileOf(const LoadPlan& plan) {
  return plan.has_vision ? TokensPerTile(plan.vision) : 0;
}

EngineLimits LimitsOf(const LoadPlan& plan, int64_t num_kv_blocks) {
  EngineLimits limits;
  limits.vocab_size = plan.text.vocab_size;
  limits.vocab_valid_rows = plan.layout.vocab_valid_rows;
  limits.max_step_tokens = plan.max_step_tokens;
  limits.max_model_length = plan.max_model_length;
  limits.max_top_logprobs = plan.max_top_logprobs;
  limits.block_size = plan.block_size;
  limits.num_kv_blocks = num_kv_blocks;
  limits.tokens_per_tile = TokensPerTileOf(plan);
  return limits;
}

StepBuilder::Shape ShapeOf(const LoadPlan& plan) {
  StepBuilder::Shape shape;
  shape.block_size = plan.block_size;
  shape.max_step_tokens = plan.max_step_tokens;
  shape.max_sequences = plan.max_num_sequences;
  shape.tokens_per_tile = TokensPerTileOf(plan);
  return shape;
}

int64_t TileBytes(const LoadPlan& plan) {
  return plan.has_vision ? plan.vision.image_size * plan.vision.image_size * 3 : 0;
}

}  // namespace

Epoch::Epoch(Backend& backend, LoadedModel& model, int64_t num_kv_blocks)
    : backend_(backend),
      model_(model),
      limits_(LimitsOf(model.plan(), num_kv_blocks)),
      sequences_(model.plan().max_num_sequences),
      pictures_(model.plan().has_vision ? model.plan().num_tile_slots : 0, TileBytes(model.plan())),
      builder_(ShapeOf(model.plan())) {
  const int64_t wanted = num_kv_blocks * model.result().kv_bytes_per_block;
  const int64_t free = backend.memory_free_bytes();
  if (wanted > free) {
    throw Error("DEVICE_OUT_OF_MEMORY",
                Format("numKvBlocks: %lld blocks need %lld bytes, %lld are free",
                       static_cast<long long>(num_kv_blocks), static_cast<long long>(wanted),
                       static_cast<long long>(free)));
  }
  cache_ = backend.AllocateKvCache(model.kv_shape(num_kv_blocks), model.plan().kv_cache_type);
}

Epoch::~Epoch() {
  backend_.DropCaptured();
  model_.sampler().DropAhead();
  for (int64_t slot = 0; slot < sequences_.size(); ++slot) {
    if (sequences_.at(slot).is_live) model_.sampler().EndSequence(static_cast<int32_t>(slot));
  }
}

void Epoch::WarmUp(Communicator& communicator) {
  const LoadPlan& plan = model_.plan();
  if (backend_.stream() == nullptr && plan.graph_buckets.empty()) return;
  if (const int64_t tiles = WarmUpTiles(plan); tiles > 0) {
    std::vector<int32_t> tile_slots(static_cast<size_t>(tiles));
    std::iota(tile_slots.begin(), tile_slots.end(), 0);
    PutPixels(0, tile_slots, std::vector<uint8_t>(static_cast<size_t>(tiles * TileBytes(plan))));
  }
  for (const StepPlan& step : MakeWarmUpPlans(plan, limits_.num_kv_blocks)) {
    Check(step);
    StepResult result;
    Run(
        step, communicator, [](EnginePhase) {}, &result);
  }
  last_step_ = 0;
  communicator.TakeWaitNanoseconds();
}

void Epoch::Check(const StepPlan& plan) const {
  if (plan.step != last_step_ + 1) {
    throw Error("STEP_OUT_OF_ORDER", Format("step: %llu does not follow %llu",
                                            static_cast<unsigned long long>(plan.step),
                                            static_cast<unsigned long long>(last_step_)));
  }
  CheckStepPlan(plan, limits_, sequences_, pictures_);
}

bool Epoch::MayFollow(const StepPlan& plan) const {
  if (started_.size() != 1 || !started_.front().is_ahead || plan.graph_bucket == 0) return false;
  const bool changes_sequences = !plan.released_slots.empty() || !plan.released_pictures.empty() ||
                                 !plan.new_sequences.empty() || !plan.encode_items.empty() ||
                                 !plan.masked_slots.empty();
  return !changes_sequences && model_.sampler().CanSampleAhead(plan.scheduled_slots);
}

bool Epoch::IsDone() const {
  return started_.empty() || !started_.front().is_ahead || model_.sampler().IsSampled();
}

void Epoch::Finish(StepResult* result) {
  SKEIN_CHECK(!started_.empty(), "no step was started");
  StartedStep step = std::move(started_.front());
  started_.pop_front();
  if (step.is_ahead) {
    model_.sampler().Collect(&step.tokens);
    for (size_t i = 0; i < step.places.size(); ++i) {
      const auto [slot, place] = step.places[i];
      sequences_.at(slot).token_ids[place] = step.tokens[i].token_id;
    }
  }
  result->sampling_ns += model_.sampler().TakeDeviceNanoseconds();
  result->tokens = std::move(step.tokens);
  result->sample_hash = HashSamples(result->tokens);
}

void Epoch::Start(const StepPlan& plan, Communicator& communicator, const PhaseListener& at) {
  last_step_ = plan.step;
  Release(plan);
  StepBuilder::Apply(plan, sequences_, pictures_);
  for (const NewSequence& fresh : plan.new_sequences) {
    model_.sampler().BeginSequence(fresh.slot, fresh.sampling, fresh.token_ids,
                                   fresh.num_prompt_tokens);
  }
  if (!plan.encode_items.empty()) {
    at(EnginePhase::kVision);
    EncodePictures(plan, communicator);
  }
  StartedStep step;
  if (!plan.scheduled_slots.empty()) Decode(plan, communicator, at, &step);
  started_.push_back(std::move(step));
}

void Epoch::Release(const StepPlan& plan) {
  for (const int32_t slot : plan.released_slots) {
    sequences_.Release(slot);
    model_.sampler().EndSequence(slot);
  }
  for (const uint32_t id : plan.released_pictures) pictures_.Release(id);
}

void Epoch::EncodePictures(const StepPlan& plan, Communicator& communicator) {
  jobs_.clear();
  for (const EncodeItem& item : plan.encode_items) {
    const Picture& picture = *pictures_.Find(item.picture_id);
    for (int32_t tile = item.tile_start; tile < item.tile_end; ++tile) {
      jobs_.push_back({pictures_.TilePixels(item.picture_id, tile),
                       picture.tile_slots[static_cast<size_t>(tile)]});
    }
  }
  model_.encoder()->Encode(jobs_, communicator);
  for (const EncodeItem& item : plan.encode_items) {
    for (int32_t tile = item.tile_start; tile < item.tile_end; ++tile) {
      pictures_.MarkEncoded(item.picture_id, tile);
    }
  }
}

void Epoch::Decode(const StepPlan& plan, Communicator& communicator, const PhaseListener& at,
                   StartedStep* step) {
  at(EnginePhase::kDecoder);
  Sampler& sampler = model_.sampler();
  Decoder& decoder = model_.decoder();
  // A recording holds for steps whose rows are all sampled.
  const bool samples_all = StepBuilder::SamplesEveryRow(plan, sequences_);
  const int32_t planned_bucket = samples_all ? plan.graph_bucket : 0;
  const StepMetadata metadata = builder_.Build(plan, planned_bucket, sequences_, pictures_);
  backend_.BeginStep(metadata);
  const auto rows = static_cast<int64_t>(metadata.token_ids.size());
  const auto place_pictures = [this](const Matrix& hidden) {
    if (builder_.picture_rows().empty()) return;
    backend_.ScatterRows(model_.encoder()->tile_cache(), builder_.tile_cache_rows(),
                         builder_.picture_rows(), hidden);
  };
  // Where picture rows go changes from step to step: such a step is not recorded.
  const int32_t bucket = builder_.picture_rows().empty() ? planned_bucket : 0;
  step->is_ahead =
      bucket != 0 && plan.masked_slots.empty() && sampler.CanSampleAhead(metadata.sample_slots);
  if (step->is_ahead) sampler.PrepareAhead(metadata.sample_slots, communicator.world_size());
  backend_.RunCaptured(bucket, [&] {
    decoder.Forward(rows, communicator, *cache_, place_pictures, bucket != 0);
    if (bucket != 0) {
      decoder.FinalLogits(rows);
    } else if (!metadata.sample_rows.empty()) {
      decoder.SampleLogits(metadata.sample_rows);
    }
  });
  at(EnginePhase::kSampling);
  const auto num_sampled = static_cast<int64_t>(metadata.sample_slots.size());
  if (step->is_ahead) {
    sampler.SampleAhead(decoder.logits(num_sampled), communicator);
  } else {
    if (num_sampled > 0) {
      MaskTokens(plan);
      sampler.Sample(decoder.logits(num_sampled), metadata.sample_slots, communicator,
                     &step->tokens);
    }
    backend_.FinishStep();
  }
  for (size_t i = 0; i < plan.scheduled_slots.size(); ++i) {
    sequences_.at(plan.scheduled_slots[i]).num_computed += plan.scheduled_tokens[i];
  }
  // What was sampled is known from here on, so the next plan need not carry it.
  for (const SampledToken& token : step->tokens) {
    sequences_.at(token.slot).token_ids.push_back(token.token_id);
  }
  if (!step->is_ahead) return;
  for (const int32_t slot : metadata.sample_slots) {
    std::vector<int32_t>& token_ids = sequences_.at(slot).token_ids;
    step->places.emplace_back(slot, token_ids.size());
    token_ids.push_back(kTokenOnDevice);
  }
}

void Epoch::MaskTokens(const StepPlan& plan) {
  const auto words = static_cast<size_t>(MaskWords(limits_.vocab_valid_rows));
  for (size_t i = 0; i < plan.masked_slots.size(); ++i) {
    model_.sampler().MaskNextToken(plan.masked_slots[i], {plan.masks.data() + i * words, words});
  }
}

uint64_t HashSamples(const std::vector<SampledToken>& tokens) {
  uint64_t hash = 0xcbf29ce484222325ull;
  const auto add = [&hash](uint32_t value) {
    for (int shift = 0; shift < 32; shift += 8) {
      hash = (hash ^ ((value >> shift) & 0xffu)) * 0x100000001b3ull;
    }
  };
  for (const SampledToken& token : tokens) {
    add(static_cast<uint32_t>(token.slot));
    add(static_cast<uint32_t>(token.token_id));
  }
  return hash;
}

}  // namespace skein
