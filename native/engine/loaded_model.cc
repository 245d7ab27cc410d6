#include "engine/loaded_model.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <tuple>

#include "core/error.h"
#include "kv/kv_layout.h"
#include "model/dummy_slices.h"
#include "model/plan_limits.h"
#include "model/slice_loader.h"

namespace skein {
namespace {

// Peak resident set of the process since ResetPeakResident, in bytes; 0 where the system does not
// tell.
int64_t PeakResidentBytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word) {
    int64_t kib = 0;
    if (word == "VmHWM:" && status >> kib) return kib * 1024;
  }
  return 0;
}

// The files have changed since somebody else read them, or are others by the same names.
void CheckUnchanged(const LoadPlan& plan, const TensorCatalogue& catalogue,
                    const std::vector<uint64_t>& checksums) {
  const std::vector<uint64_t>& expected = plan.expected_checksums;
  if (expected.empty() || expected == checksums) return;
  if (expected.size() != checksums.size()) {
    throw Error("INVALID_REQUEST", Format("expected_checksums: %zu, for %zu tensors",
                                          expected.size(), checksums.size()));
  }
  int64_t num_changed = 0, first = -1;
  for (size_t i = 0; i < checksums.size(); ++i) {
    if (expected[i] == checksums[i]) continue;
    if (num_changed++ == 0) first = static_cast<int64_t>(i);
  }
  const std::vector<int64_t>& slices = catalogue.slices_of(first);
  const Slice& slice = plan.slices[static_cast<size_t>(slices.at(0))];
  throw Error(
      "CORRUPT_WEIGHTS",
      Format("%s: not the bytes that were read before, in the %s (tensor %s); they differ in %lld "
             "of %zu tensors",
             plan.files[static_cast<size_t>(slice.file_index)].path.c_str(),
             Describe(plan.tensors[static_cast<size_t>(first)]).c_str(), slice.source_name.c_str(),
             static_cast<long long>(num_changed), checksums.size()));
}

void ResetPeakResident() { std::ofstream("/proc/self/clear_refs") << "5"; }

}  // namespace

int64_t DeviceReserveBytes(int64_t world_size) {
  constexpr int64_t kDevice = int64_t{1} << 30, kCommunicator = int64_t{512} << 20;
  return kDevice + (world_size > 1 ? kCommunicator : 0);
}

LoadedModel::LoadedModel(Backend& backend, const LoadPlan& plan,
                         const std::function<void(int64_t, int64_t)>& progress,
                         const std::atomic<bool>& cancelled)
    : plan_(plan) {
  const auto start = std::chrono::steady_clock::now();
  CheckPlanLimits(plan_);
  LoadWeights(backend, progress, cancelled);
  LayOut(backend);
  result_.load_ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

void LoadedModel::LoadWeights(Backend& backend,
                              const std::function<void(int64_t, int64_t)>& progress,
                              const std::atomic<bool>& cancelled) {
  if (plan_.dummy_weights && plan_.slices.empty()) plan_.slices = MakeDummySlices(plan_);
  const TensorCatalogue catalogue(plan_);
  WeightSourceOptions options;
  options.plan = &plan_;
  options.catalogue = &catalogue;
  options.progress = progress;
  options.cancelled = &cancelled;
  if (backend.holds_memory()) ResetPeakResident();
  {
    const std::unique_ptr<WeightSource> source =
        plan_.dummy_weights ? MakeDummyWeightSource(options) : MakeFileWeightSource(options);
    SliceLoader loader(backend, plan_, catalogue, *source);
    weights_ = loader.Load();
    result_.read_bytes = source->read_bytes();
    result_.times = source->times();
    result_.times.prepare_ms = loader.prepare_ms();
    result_.tensor_checksums = source->checksums();
    CheckUnchanged(plan_, catalogue, result_.tensor_checksums);
  }
  backend.EndLoad();
  if (backend.holds_memory()) result_.peak_resident_bytes = PeakResidentBytes();
  plan_.files.clear();
  plan_.tensors.clear();
  plan_.slices.clear();
  result_.weight_bytes = weights_.weight_bytes;
}

bool LoadedModel::HasLimitsOf(const LoadPlan& plan) const {
  const auto limits = [](const LoadPlan& of) {
    return std::tie(of.kv_cache_type, of.max_num_sequences, of.max_step_tokens, of.block_size,
                    of.max_model_length, of.num_tile_slots, of.max_tiles_per_step,
                    of.max_top_logprobs, of.graph_buckets);
  };
  return limits(plan_) == limits(plan);
}

void LoadedModel::SetLimits(Backend& backend, const LoadPlan& plan) {
  CheckPlanLimits(plan);
  sampler_.reset();
  encoder_.reset();
  decoder_.reset();
  activations_.reset();
  backend.ReleaseActivations();
  plan_.kv_cache_type = plan.kv_cache_type;
  plan_.max_num_sequences = plan.max_num_sequences;
  plan_.max_step_tokens = plan.max_step_tokens;
  plan_.block_size = plan.block_size;
  plan_.max_model_length = plan.max_model_length;
  plan_.num_tile_slots = plan.num_tile_slots;
  plan_.max_tiles_per_step = plan.max_tiles_per_step;
  plan_.max_top_logprobs = plan.max_top_logprobs;
  plan_.graph_buckets = plan.graph_buckets;
  plan_.memory_share = plan.memory_share;
  LayOut(backend);
}

void LoadedModel::LayOut(Backend& backend) {
  const LoadPlan& plan = plan_;
  activations_.emplace(backend);
  const int64_t free_before = backend.memory_free_bytes();
  const int64_t max_samples = std::min(plan.max_num_sequences, plan.max_step_tokens);
  decoder_.emplace(backend, DecoderShape{plan.text, plan.layout, plan.max_step_tokens, max_samples},
                   weights_.decoder, *activations_);
  const int64_t before_pictures = activations_->bytes();
  if (plan.has_vision) encoder_.emplace(backend, plan_, weights_, *activations_);
  picture_bytes_ = activations_->bytes() - before_pictures;
  sampler_ = backend.MakeSampler({plan.max_num_sequences, plan.text.vocab_size,
                                  plan.layout.vocab_start, plan.layout.vocab_valid_rows,
                                  plan.max_top_logprobs, plan.layout.world_size});
  backend.ReserveSteps(StepLimitsOf(plan_));
  result_.activation_bytes = activations_->bytes();
  result_.kv_bytes_per_block = KvBytesPerBlock(kv_shape(1), plan.kv_cache_type);
  // The CPU takes pages when they are first written, so what is free now may not count the
  // activations yet.
  result_.available_bytes = std::max<int64_t>(
      0, std::min(backend.memory_free_bytes(), free_before - activations_->bytes()));
  CountAvailable(backend, plan.memory_share);
}

void LoadedModel::CountAvailable(const Backend& backend, double memory_share) {
  if (memory_share == 0) return;
  const MemoryUse use = backend.memory_use();
  result_.workspace_bytes = use.workspaces;
  result_.reserve_bytes = DeviceReserveBytes(plan_.layout.world_size);
  // The cache and the graphs of an epoch that is ending make room.
  const int64_t shared = static_cast<int64_t>(memory_share * static_cast<double>(use.total)) -
                         use.weights - use.activations - use.workspaces;
  const int64_t free = use.free + use.kv_cache + use.graphs;
  result_.available_bytes = std::max<int64_t>(0, std::min(shared, free) - result_.reserve_bytes);
}

KvCacheShape LoadedModel::kv_shape(int64_t num_blocks) const {
  KvCacheShape shape;
  shape.num_layers = plan_.text.num_layers;
  shape.num_blocks = num_blocks;
  shape.block_size = plan_.block_size;
  shape.num_kv_heads = plan_.layout.num_kv_heads;
  shape.head_dim = plan_.text.head_dim;
  return shape;
}

}  // namespace skein
