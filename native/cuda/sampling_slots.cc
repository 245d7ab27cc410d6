#include "cuda/sampling_slots.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "core/error.h"
#include "cuda/cuda_check.h"

namespace skein::cuda {
namespace {

// Word updates that travel at once.
constexpr int64_t kMaxUpdates = 1 << 16;

size_t Size(int64_t count) { return static_cast<size_t>(count); }

}  // namespace

SamplingSlots::SamplingSlots(const SamplerShape& shape, Stream& stream)
    : shape_(shape), stream_(stream), slots_(Size(shape.max_sequences)) {
  const size_t rows = slots_.size(), count = Size(shape.vocab_valid_rows);
  words_ = DeviceMemory(rows * count * sizeof(uint32_t));
  biases_ = DeviceMemory(rows * kMaxTokenBiases * sizeof(TokenBias));
  pinned_biases_ = PinnedMemory(biases_.bytes());
  updates_ = DeviceMemory(std::min(count, Size(kMaxUpdates)) * sizeof(WordUpdate));
  pinned_updates_ = PinnedMemory(updates_.bytes());
  masks_ = DeviceMemory(rows * Size(MaskWords(shape.vocab_valid_rows)) * sizeof(uint32_t));
  pinned_masks_ = PinnedMemory(masks_.bytes());
}

void SamplingSlots::Fill(std::span<const RowRequest> requests) {
  for (const RowRequest& request : requests) {
    if (IsStale(request.slot)) FillSlot(request.slot, *request.state);
  }
  SendUpdates();
}

void SamplingSlots::Place(SamplingStep* step) const {
  step->words = words_.As<uint32_t>();
  step->biases = biases_.As<TokenBias>();
  step->masks = masks_.As<uint32_t>();
}

void SamplingSlots::AddUpdate(int64_t position, uint32_t word) {
  if (num_updates_ == static_cast<int64_t>(updates_.bytes() / sizeof(WordUpdate))) {
    SendUpdates();
    // What travels must not be overwritten.
    stream_.Synchronize();
  }
  reinterpret_cast<WordUpdate*>(pinned_updates_.data())[num_updates_++] = {position, word, 0};
}

void SamplingSlots::SendUpdates() {
  if (num_updates_ == 0) return;
  SKEIN_CUDA(cudaMemcpyAsync(updates_.data(), pinned_updates_.data(),
                             Size(num_updates_) * sizeof(WordUpdate), cudaMemcpyHostToDevice,
                             stream_.ForDriver()));
  UpdateWords(updates_.As<WordUpdate>(), num_updates_, words_.As<uint32_t>(), stream_);
  num_updates_ = 0;
}

void SamplingSlots::FillBiases(int32_t slot, const SequenceState& state) {
  const SamplingParams& params = state.params();
  const size_t first = Size(slot) * kMaxTokenBiases;
  auto* biases = reinterpret_cast<TokenBias*>(pinned_biases_.data()) + first;
  int32_t& count = slots_[Size(slot)].num_biases;
  for (size_t i = 0; i < params.logit_bias_ids.size(); ++i) {
    const int64_t index = state.LocalIndex(params.logit_bias_ids[i]);
    if (index < 0) continue;
    if (count == kMaxTokenBiases) {
      throw Error("INVALID_REQUEST", Format("sampling parameter logit_bias_ids holds %zu tokens: "
                                            "the CUDA back end takes %d",
                                            params.logit_bias_ids.size(), kMaxTokenBiases));
    }
    biases[count++] = {static_cast<int32_t>(index), params.logit_bias_values[i]};
  }
  if (count == 0) return;
  std::stable_sort(biases, biases + count,
                   [](const TokenBias& a, const TokenBias& b) { return a.index < b.index; });
  SKEIN_CUDA(cudaMemcpyAsync(biases_.As<TokenBias>() + first, biases,
                             Size(count) * sizeof(TokenBias), cudaMemcpyHostToDevice,
                             stream_.ForDriver()));
}

// A slot's first step: what bans its stop tokens and counts its tokens may only become less.
void SamplingSlots::FillSlot(int32_t slot, const SequenceState& state) {
  Slot& filled = slots_[Size(slot)];
  filled = Slot();
  filled.is_stale = false;
  filled.has_words = state.adjusts_logits();
  if (!filled.has_words || shape_.vocab_valid_rows == 0) return;
  FillBiases(slot, state);
  std::unordered_map<int64_t, uint32_t> words;
  for (const auto& [index, occurrences] : state.occurrences()) words[index] = WordOf(occurrences);
  for (const int32_t id : state.params().logit_bias_ids) {
    const int64_t index = state.LocalIndex(id);
    if (index >= 0) words[index] |= kIsBiased;
  }
  for (const int32_t id : state.params().stop_token_ids) {
    const int64_t index = state.LocalIndex(id);
    if (index >= 0) words[index] |= kIsStopToken;
  }
  const int64_t first = slot * shape_.vocab_valid_rows;
  SKEIN_CUDA(cudaMemsetAsync(words_.As<uint32_t>() + first, 0,
                             Size(shape_.vocab_valid_rows) * sizeof(uint32_t),
                             stream_.ForDriver()));
  for (const auto& [index, word] : words) AddUpdate(first + index, word);
}

// Its place among the step's; -1: the row has none.
int32_t SamplingSlots::AddMask(std::span<const uint32_t> mask) {
  if (mask.empty()) return -1;
  std::memcpy(pinned_masks_.data() + Size(num_masks_) * mask.size_bytes(), mask.data(),
              mask.size_bytes());
  return num_masks_++;
}

void SamplingSlots::SendMasks() {
  if (num_masks_ == 0) return;
  const size_t bytes =
      Size(num_masks_) * Size(MaskWords(shape_.vocab_valid_rows)) * sizeof(uint32_t);
  SKEIN_CUDA(cudaMemcpyAsync(masks_.data(), pinned_masks_.data(), bytes, cudaMemcpyHostToDevice,
                             stream_.ForDriver()));
  num_masks_ = 0;
}

SamplingRow SamplingSlots::RowOf(const RowRequest& request, int64_t row) {
  const SequenceState& state = *request.state;
  const SamplingParams& params = state.params();
  const NoiseKey key = state.noise_key();
  Slot& slot = slots_[Size(request.slot)];
  SamplingRow out{};
  out.seed = key.seed;
  out.position = key.position;
  out.row = row;
  out.candidates_offset = static_cast<int64_t>(request.candidates_offset);
  out.choice_index = key.choice_index;
  out.inverse_temperature = request.inverse_temperature;
  out.repetition_penalty = params.repetition_penalty;
  out.presence_penalty = params.presence_penalty;
  out.frequency_penalty = params.frequency_penalty;
  out.slot = request.slot;
  out.num_biases = slot.num_biases;
  out.mask = AddMask(request.mask);
  out.counted_token = kNoneToCount;
  out.cut = -1;
  out.best = request.best == BestKind::kNone      ? kNoBest
             : request.best == BestKind::kHighest ? kHighestLogit
                                                  : kHighestNoisy;
  out.num_candidates = static_cast<int32_t>(request.num_candidates);
  out.adjusts = slot.has_words && state.adjusts_logits();
  out.bans_stop_tokens = state.bans_stop_tokens();
  out.needs_model_mass = request.needs_model_mass;
  out.needs_scaled_mass = request.needs_scaled_mass;
  if (out.adjusts) out.counted_token = slot.counted_token;
  slot.counted_token = kNoneToCount;
  return out;
}

}  // namespace skein::cuda
