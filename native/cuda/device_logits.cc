// Every slot has a word a token on the device (kernels/sampling.h), written when the slot's next
// sequence is first sampled for and then token by token, with the step's requests. The host's
// SequenceState stays the truth.
#include "cuda/device_logits.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <unordered_map>
#include <vector>

#include "core/error.h"
#include "cuda/device_cuts.h"
#include "cuda/device_memory.h"
#include "cuda/kernels/sampling.h"
#include "sampling/sampler.h"

namespace skein::cuda {
namespace {

static_assert(kMaxRowCandidates >= kMaxTopKCandidates);
static_assert(sizeof(BlockHeader) == sizeof(RankHeader) && sizeof(Finding) == sizeof(RowFinding) &&
              sizeof(BestToken) == sizeof(NoisyToken) && sizeof(TokenLogit) == sizeof(Candidate));
static_assert(offsetof(Finding, max_logit) == offsetof(RowFinding, max_logit) &&
              offsetof(Finding, model_mass) == offsetof(RowFinding, model_mass) &&
              offsetof(Finding, scaled_mass) == offsetof(RowFinding, scaled_mass) &&
              offsetof(BestToken, logit) == offsetof(NoisyToken, logit) &&
              offsetof(BestToken, id) == offsetof(NoisyToken, id) &&
              offsetof(TokenLogit, id) == offsetof(Candidate, id));

// Word updates that travel at once.
constexpr int64_t kMaxUpdates = 1 << 16;

constexpr size_t Aligned(size_t bytes) { return (bytes + 15) / 16 * 16; }
size_t Size(int64_t count) { return static_cast<size_t>(count); }

struct Slot {
  // Its words and biases are another sequence's.
  bool is_stale = true;
  bool has_words = false;
  int32_t num_biases = 0;
  int64_t updated_index = -1;
};

class DeviceLogits final : public LogitsSource {
 public:
  DeviceLogits(const SamplerShape& shape, Stream& stream);

  void BeginSequence(int32_t slot) override { slots_[Size(slot)] = Slot(); }
  void AppendToken(int32_t slot, int32_t token_id) override {
    slots_[Size(slot)].updated_index = LocalIndex(token_id);
  }
  const std::byte* Examine(const Matrix& logits, std::span<const RowRequest> requests,
                           size_t block_bytes, Communicator& communicator) override;
  void ChooseKept(std::span<const WideRow> rows, Communicator& communicator,
                  std::span<NoisyToken> chosen) override {
    cuts_.Choose(logits_, rows, communicator, chosen);
  }

 private:
  int64_t LocalIndex(int32_t token_id) const {
    const int64_t index = token_id - shape_.vocab_start;
    return index >= 0 && index < shape_.vocab_valid_rows ? index : -1;
  }
  static uint32_t WordOf(const SequenceState::Occurrences& occurrences) {
    return (occurrences.in_prompt ? kInPrompt : 0) | static_cast<uint32_t>(occurrences.generated);
  }
  void FillSlot(int32_t slot, const SequenceState& state);
  void FillBiases(int32_t slot, const SequenceState& state);
  void AddUpdate(int64_t position, uint32_t word);
  void SendUpdates();
  int32_t AddMask(std::span<const uint32_t> mask);
  void SendMasks();
  uint32_t UpdatedWord(const SequenceState& state, int32_t index) const;
  SamplingRow RowOf(const RowRequest& request, int64_t row);
  void WriteBlockHeader(char* block, size_t num_rows) const;

  const SamplerShape shape_;
  Stream& stream_;
  std::vector<Slot> slots_;
  Matrix logits_;
  int64_t num_updates_ = 0;
  int32_t num_masks_ = 0;

  // By slot: words [valid rows], biases [kMaxTokenBiases].
  DeviceMemory words_, biases_, updates_;
  PinnedMemory pinned_biases_, pinned_updates_;
  // Of a step: [its masks, words].
  DeviceMemory masks_;
  PinnedMemory pinned_masks_;
  // Of a step: requests, maxima and the own block, in one piece, whose beginning comes from the
  // host.
  DeviceMemory step_, parts_, tile_keys_;
  PinnedMemory pinned_step_;
  // From all ranks.
  DeviceMemory rank_max_keys_, blocks_;
  PinnedMemory pinned_blocks_;
  DeviceCuts cuts_;
};

DeviceLogits::DeviceLogits(const SamplerShape& shape, Stream& stream)
    : shape_(shape), stream_(stream), slots_(Size(shape.max_sequences)), cuts_(shape, stream) {
  SKEIN_CHECK(shape.max_top_logprobs <= kMaxRowCandidates, "%lld top log-probabilities",
              static_cast<long long>(shape.max_top_logprobs));
  const size_t rows = Size(shape.max_sequences), count = Size(shape.vocab_valid_rows);
  const size_t world_size = Size(shape.world_size);
  words_ = DeviceMemory(rows * count * sizeof(uint32_t));
  biases_ = DeviceMemory(rows * kMaxTokenBiases * sizeof(TokenBias));
  pinned_biases_ = PinnedMemory(biases_.bytes());
  updates_ = DeviceMemory(std::min(count, Size(kMaxUpdates)) * sizeof(WordUpdate));
  pinned_updates_ = PinnedMemory(updates_.bytes());
  masks_ = DeviceMemory(rows * Size(MaskWords(shape.vocab_valid_rows)) * sizeof(uint32_t));
  pinned_masks_ = PinnedMemory(masks_.bytes());

  const size_t key_bytes = Aligned(rows * sizeof(uint32_t));
  const size_t head_bytes = Aligned(rows * sizeof(SamplingRow)) + key_bytes + FindingOffset(rows);
  const size_t block_bytes =
      Aligned(FindingOffset(rows) + rows * kMaxRowCandidates * sizeof(TokenLogit));
  step_ = DeviceMemory(head_bytes + block_bytes);
  pinned_step_ = PinnedMemory(head_bytes);
  const size_t chunks = Size(NumChunks(shape.vocab_valid_rows, shape.vocab_start));
  const size_t tiles = Size(NumTiles(shape.vocab_valid_rows, shape.vocab_start));
  parts_ = DeviceMemory(rows * chunks * sizeof(BestToken));
  tile_keys_ = DeviceMemory(rows * tiles * sizeof(uint32_t));
  pinned_blocks_ = PinnedMemory(block_bytes * world_size);
  if (world_size == 1) return;
  rank_max_keys_ = DeviceMemory(world_size * rows * sizeof(uint32_t));
  blocks_ = DeviceMemory(block_bytes * world_size);
}

void DeviceLogits::AddUpdate(int64_t position, uint32_t word) {
  if (num_updates_ == static_cast<int64_t>(updates_.bytes() / sizeof(WordUpdate))) {
    SendUpdates();
    // What travels must not be overwritten.
    stream_.Synchronize();
  }
  reinterpret_cast<WordUpdate*>(pinned_updates_.data())[num_updates_++] = {position, word, 0};
}

void DeviceLogits::SendUpdates() {
  if (num_updates_ == 0) return;
  SKEIN_CUDA(cudaMemcpyAsync(updates_.data(), pinned_updates_.data(),
                             Size(num_updates_) * sizeof(WordUpdate), cudaMemcpyHostToDevice,
                             stream_.ForDriver()));
  UpdateWords(updates_.As<WordUpdate>(), num_updates_, words_.As<uint32_t>(), stream_);
  num_updates_ = 0;
}

void DeviceLogits::FillBiases(int32_t slot, const SequenceState& state) {
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
void DeviceLogits::FillSlot(int32_t slot, const SequenceState& state) {
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
int32_t DeviceLogits::AddMask(std::span<const uint32_t> mask) {
  if (mask.empty()) return -1;
  std::memcpy(pinned_masks_.data() + Size(num_masks_) * mask.size_bytes(), mask.data(),
              mask.size_bytes());
  return num_masks_++;
}

void DeviceLogits::SendMasks() {
  if (num_masks_ == 0) return;
  const size_t bytes =
      Size(num_masks_) * Size(MaskWords(shape_.vocab_valid_rows)) * sizeof(uint32_t);
  SKEIN_CUDA(cudaMemcpyAsync(masks_.data(), pinned_masks_.data(), bytes, cudaMemcpyHostToDevice,
                             stream_.ForDriver()));
  num_masks_ = 0;
}

uint32_t DeviceLogits::UpdatedWord(const SequenceState& state, int32_t index) const {
  const auto holds = [&](const std::vector<int32_t>& ids) {
    return std::find(ids.begin(), ids.end(), static_cast<int32_t>(shape_.vocab_start + index)) !=
           ids.end();
  };
  const auto found = state.occurrences().find(index);
  uint32_t word = found == state.occurrences().end() ? 0 : WordOf(found->second);
  if (holds(state.params().logit_bias_ids)) word |= kIsBiased;
  if (holds(state.params().stop_token_ids)) word |= kIsStopToken;
  return word;
}

SamplingRow DeviceLogits::RowOf(const RowRequest& request, int64_t row) {
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
  out.updated_index = -1;
  out.best = request.best == BestKind::kNone      ? kNoBest
             : request.best == BestKind::kHighest ? kHighestLogit
                                                  : kHighestNoisy;
  out.num_candidates = static_cast<int32_t>(request.num_candidates);
  out.adjusts = slot.has_words && state.adjusts_logits();
  out.bans_stop_tokens = state.bans_stop_tokens();
  out.needs_model_mass = request.needs_model_mass;
  out.needs_scaled_mass = request.needs_scaled_mass;
  if (out.adjusts && slot.updated_index >= 0) {
    out.updated_index = static_cast<int32_t>(slot.updated_index);
    out.updated_word = UpdatedWord(state, out.updated_index);
  }
  slot.updated_index = -1;
  return out;
}

void DeviceLogits::WriteBlockHeader(char* block, size_t num_rows) const {
  const RankHeader header{shape_.vocab_start, shape_.vocab_valid_rows};
  std::memcpy(block, &header, sizeof(header));
  for (size_t i = 0; i < num_rows; ++i) {
    const RowFinding nothing;
    std::memcpy(block + FindingOffset(i), &nothing, sizeof(nothing));
  }
}

const std::byte* DeviceLogits::Examine(const Matrix& logits, std::span<const RowRequest> requests,
                                       size_t block_bytes, Communicator& communicator) {
  const int world_size = communicator.world_size();
  SKEIN_CHECK(requests.size() <= slots_.size() && world_size <= shape_.world_size &&
                  block_bytes * Size(world_size) <= pinned_blocks_.bytes(),
              "%zu rows at world size %d", requests.size(), world_size);
  logits_ = logits;
  for (const RowRequest& request : requests) {
    if (slots_[Size(request.slot)].is_stale) FillSlot(request.slot, *request.state);
  }
  SendUpdates();

  const size_t num_rows = requests.size();
  const size_t key_offset = Aligned(num_rows * sizeof(SamplingRow));
  const size_t block_offset = key_offset + Aligned(num_rows * sizeof(uint32_t));
  SamplingStep step{};
  for (size_t i = 0; i < num_rows; ++i) {
    const SamplingRow row = RowOf(requests[i], static_cast<int64_t>(i));
    std::memcpy(pinned_step_.data() + i * sizeof(row), &row, sizeof(row));
    step.needs_masses |= row.needs_model_mass || row.needs_scaled_mass;
  }
  SendMasks();
  std::memset(pinned_step_.data() + key_offset, 0, block_offset - key_offset);
  WriteBlockHeader(pinned_step_.data() + block_offset, num_rows);
  SKEIN_CUDA(cudaMemcpyAsync(step_.data(), pinned_step_.data(),
                             block_offset + FindingOffset(num_rows), cudaMemcpyHostToDevice,
                             stream_.ForDriver()));

  char* device = step_.As<char>();
  step.logits = logits.As<float>();
  step.stride = logits.stride;
  step.count = static_cast<int32_t>(shape_.vocab_valid_rows);
  step.first_id = static_cast<int32_t>(shape_.vocab_start);
  step.num_rows = static_cast<int32_t>(num_rows);
  step.rows = reinterpret_cast<const SamplingRow*>(device);
  step.words = words_.As<uint32_t>();
  step.biases = biases_.As<TokenBias>();
  step.masks = masks_.As<uint32_t>();
  step.max_keys = reinterpret_cast<uint32_t*>(device + key_offset);
  step.parts = parts_.As<BestToken>();
  step.tile_keys = tile_keys_.As<uint32_t>();
  step.block = device + block_offset;
  step.rank_max_keys = step.max_keys;
  step.world_size = 1;
  ExamineRows(step, stream_);
  // Whether any row needs masses is the same on all ranks.
  if (step.needs_masses && world_size > 1) {
    communicator.AllGather(step.max_keys, rank_max_keys_.data(), num_rows * sizeof(uint32_t),
                           &stream_);
    step.rank_max_keys = rank_max_keys_.As<uint32_t>();
    step.world_size = world_size;
  }
  FinishRows(step, stream_);
  const void* found = step.block;
  if (world_size > 1) {
    communicator.AllGather(step.block, blocks_.data(), block_bytes, &stream_);
    found = blocks_.data();
  }
  SKEIN_CUDA(cudaMemcpyAsync(pinned_blocks_.data(), found, block_bytes * Size(world_size),
                             cudaMemcpyDeviceToHost, stream_.ForDriver()));
  stream_.Synchronize();
  return reinterpret_cast<const std::byte*>(pinned_blocks_.data());
}

}  // namespace

std::unique_ptr<LogitsSource> MakeDeviceLogits(const SamplerShape& shape, Stream& stream) {
  return std::make_unique<DeviceLogits>(shape, stream);
}

}  // namespace skein::cuda
