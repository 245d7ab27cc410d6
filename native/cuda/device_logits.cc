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
#include "cuda/kernels/sampling_choice.h"
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
  // As SamplingRow has it.
  int32_t counted_token = kNoneToCount;
};

// Of the last step that was prepared.
struct StartedStep {
  int32_t num_rows = 0, num_wide = 0;
  size_t block_bytes = 0;
  SamplingStep examined{};
  int world_size = 1;
};

class DeviceLogits final : public LogitsSource {
 public:
  DeviceLogits(const SamplerShape& shape, Stream& stream, const ChosenAhead& ahead);
  ~DeviceLogits() override;

  void BeginSequence(int32_t slot) override { slots_[Size(slot)] = Slot(); }
  void AppendToken(int32_t slot, int32_t token_id) override {
    slots_[Size(slot)].counted_token = token_id;
  }
  const std::byte* Examine(const Matrix& logits, std::span<const RowRequest> requests,
                           size_t block_bytes, Communicator& communicator) override;
  void ChooseKept(std::span<const WideRow> rows, Communicator& communicator,
                  std::span<NoisyToken> chosen) override {
    cuts_.Choose(logits_, rows, communicator, chosen);
  }
  bool chooses() const override { return ahead_.inputs != nullptr; }
  void Prepare(std::span<const RowRequest> requests, size_t block_bytes,
               std::span<const WideRow> wide, int world_size) override;
  void Start(const Matrix& logits, Communicator& communicator) override;
  bool IsFound() const override;
  Found Await() override;
  void DropStarted() override { num_started_ = 0; }

 private:
  struct Layout {
    size_t keys, block;
  };
  static Layout LayoutOf(size_t num_rows) {
    const size_t keys = Aligned(num_rows * sizeof(SamplingRow));
    return {keys, keys + Aligned(num_rows * sizeof(uint32_t))};
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
  SamplingRow RowOf(const RowRequest& request, int64_t row);
  void WriteBlockHeader(char* block, size_t num_rows) const;
  // Fills the head of a step in pinned memory; returns its bytes.
  size_t FillHead(std::span<const RowRequest> requests, std::span<const WideRow> wide, char* head,
                  bool* needs_masses);
  SamplingStep StepOf(size_t num_rows, bool needs_masses) const;
  // Examines the rows; returns the blocks of all ranks on the device.
  const char* Gather(SamplingStep& step, const Matrix& logits, size_t block_bytes,
                     Communicator& communicator);

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

  // Of steps that are started: two, used in turn.
  const ChosenAhead ahead_;
  struct Turn {
    PinnedMemory head, blocks, kept, tokens;
    cudaEvent_t found = nullptr;
  };
  Turn turns_[2];
  StartedStep started_;
  int next_turn_ = 0, num_started_ = 0;
};

DeviceLogits::DeviceLogits(const SamplerShape& shape, Stream& stream, const ChosenAhead& ahead)
    : shape_(shape),
      stream_(stream),
      slots_(Size(shape.max_sequences)),
      cuts_(shape, stream),
      ahead_(ahead) {
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
  if (chooses()) {
    for (Turn& turn : turns_) {
      turn.head = PinnedMemory(head_bytes);
      turn.blocks = PinnedMemory(pinned_blocks_.bytes());
      turn.kept = PinnedMemory(rows * world_size * sizeof(BestToken));
      turn.tokens = PinnedMemory(rows * sizeof(int32_t));
      SKEIN_CUDA(cudaEventCreateWithFlags(&turn.found, cudaEventDisableTiming));
    }
  }
  if (world_size == 1) return;
  rank_max_keys_ = DeviceMemory(world_size * rows * sizeof(uint32_t));
  blocks_ = DeviceMemory(block_bytes * world_size);
}

DeviceLogits::~DeviceLogits() {
  for (const Turn& turn : turns_) {
    if (turn.found != nullptr) cudaEventDestroy(turn.found);
  }
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

void DeviceLogits::WriteBlockHeader(char* block, size_t num_rows) const {
  const RankHeader header{shape_.vocab_start, shape_.vocab_valid_rows};
  std::memcpy(block, &header, sizeof(header));
  for (size_t i = 0; i < num_rows; ++i) {
    const RowFinding nothing;
    std::memcpy(block + FindingOffset(i), &nothing, sizeof(nothing));
  }
}

size_t DeviceLogits::FillHead(std::span<const RowRequest> requests, std::span<const WideRow> wide,
                              char* head, bool* needs_masses) {
  const size_t num_rows = requests.size();
  const Layout layout = LayoutOf(num_rows);
  size_t next_wide = 0;
  *needs_masses = false;
  for (size_t i = 0; i < num_rows; ++i) {
    SamplingRow row = RowOf(requests[i], static_cast<int64_t>(i));
    if (next_wide < wide.size() && wide[next_wide].row == row.row) {
      row.cut = static_cast<int32_t>(next_wide++);
    }
    std::memcpy(head + i * sizeof(row), &row, sizeof(row));
    *needs_masses |= row.needs_model_mass || row.needs_scaled_mass;
  }
  std::memset(head + layout.keys, 0, layout.block - layout.keys);
  WriteBlockHeader(head + layout.block, num_rows);
  return layout.block + FindingOffset(num_rows);
}

SamplingStep DeviceLogits::StepOf(size_t num_rows, bool needs_masses) const {
  const Layout layout = LayoutOf(num_rows);
  char* const device = step_.As<char>();
  SamplingStep step{};
  step.count = static_cast<int32_t>(shape_.vocab_valid_rows);
  step.first_id = static_cast<int32_t>(shape_.vocab_start);
  step.num_rows = static_cast<int32_t>(num_rows);
  step.rows = reinterpret_cast<const SamplingRow*>(device);
  step.words = words_.As<uint32_t>();
  step.biases = biases_.As<TokenBias>();
  step.last_tokens = ahead_.last_tokens;
  step.masks = masks_.As<uint32_t>();
  step.max_keys = reinterpret_cast<uint32_t*>(device + layout.keys);
  step.parts = parts_.As<BestToken>();
  step.tile_keys = tile_keys_.As<uint32_t>();
  step.block = device + layout.block;
  step.needs_masses = needs_masses;
  step.rank_max_keys = step.max_keys;
  step.world_size = 1;
  return step;
}

const char* DeviceLogits::Gather(SamplingStep& step, const Matrix& logits, size_t block_bytes,
                                 Communicator& communicator) {
  step.logits = logits.As<float>();
  step.stride = logits.stride;
  const int world_size = communicator.world_size();
  ExamineRows(step, stream_);
  // Whether any row needs masses is the same on all ranks.
  if (step.needs_masses && world_size > 1) {
    communicator.AllGather(step.max_keys, rank_max_keys_.data(),
                           Size(step.num_rows) * sizeof(uint32_t), &stream_);
    step.rank_max_keys = rank_max_keys_.As<uint32_t>();
    step.world_size = world_size;
  }
  FinishRows(step, stream_);
  if (world_size == 1) return step.block;
  communicator.AllGather(step.block, blocks_.data(), block_bytes, &stream_);
  return blocks_.As<char>();
}

const std::byte* DeviceLogits::Examine(const Matrix& logits, std::span<const RowRequest> requests,
                                       size_t block_bytes, Communicator& communicator) {
  const int world_size = communicator.world_size();
  SKEIN_CHECK(requests.size() <= slots_.size() && world_size <= shape_.world_size &&
                  block_bytes * Size(world_size) <= pinned_blocks_.bytes() && num_started_ == 0,
              "%zu rows at world size %d", requests.size(), world_size);
  logits_ = logits;
  for (const RowRequest& request : requests) {
    if (slots_[Size(request.slot)].is_stale) FillSlot(request.slot, *request.state);
  }
  SendUpdates();
  bool needs_masses = false;
  const size_t head_bytes = FillHead(requests, {}, pinned_step_.data(), &needs_masses);
  SendMasks();
  SKEIN_CUDA(cudaMemcpyAsync(step_.data(), pinned_step_.data(), head_bytes, cudaMemcpyHostToDevice,
                             stream_.ForDriver()));
  SamplingStep step = StepOf(requests.size(), needs_masses);
  const char* const found = Gather(step, logits, block_bytes, communicator);
  SKEIN_CUDA(cudaMemcpyAsync(pinned_blocks_.data(), found, block_bytes * Size(world_size),
                             cudaMemcpyDeviceToHost, stream_.ForDriver()));
  stream_.Synchronize();
  return reinterpret_cast<const std::byte*>(pinned_blocks_.data());
}

void DeviceLogits::Prepare(std::span<const RowRequest> requests, size_t block_bytes,
                           std::span<const WideRow> wide, int world_size) {
  SKEIN_CHECK(requests.size() <= slots_.size() && world_size <= shape_.world_size &&
                  block_bytes * Size(world_size) <= pinned_blocks_.bytes() && num_started_ < 2,
              "%zu rows at world size %d, %d steps started", requests.size(), world_size,
              num_started_);
  const auto is_stale = [&](const RowRequest& request) {
    return slots_[Size(request.slot)].is_stale;
  };
  if (std::any_of(requests.begin(), requests.end(), is_stale)) {
    // What a step in front sent may still be on its way.
    stream_.Synchronize();
    for (const RowRequest& request : requests) {
      if (is_stale(request)) FillSlot(request.slot, *request.state);
    }
    SendUpdates();
  }
  Turn& turn = turns_[next_turn_];
  bool needs_masses = false;
  const size_t bytes = FillHead(requests, wide, turn.head.data(), &needs_masses);
  ahead_.inputs->Add(step_.data(), turn.head.data(), bytes);
  if (!wide.empty()) cuts_.Prepare(wide, next_turn_, *ahead_.inputs);
  for (const RowRequest& request : requests) {
    slots_[Size(request.slot)].counted_token = kCountLastToken;
  }
  started_.num_rows = static_cast<int32_t>(requests.size());
  started_.num_wide = static_cast<int32_t>(wide.size());
  started_.block_bytes = block_bytes;
  started_.world_size = world_size;
  started_.examined = StepOf(requests.size(), needs_masses);
}

void DeviceLogits::Start(const Matrix& logits, Communicator& communicator) {
  Turn& turn = turns_[next_turn_];
  SamplingStep step = started_.examined;
  ChoiceStep choice{};
  choice.num_rows = started_.num_rows;
  choice.world_size = started_.world_size;
  choice.rows = step.rows;
  choice.blocks = Gather(step, logits, started_.block_bytes, communicator);
  choice.block_bytes = started_.block_bytes;
  choice.last_tokens = ahead_.last_tokens;
  choice.host_blocks = turn.blocks.data();
  choice.host_kept = reinterpret_cast<BestToken*>(turn.kept.data());
  choice.host_tokens = reinterpret_cast<int32_t*>(turn.tokens.data());
  if (started_.num_wide > 0) {
    PrepareCuts(choice, cuts_.rows(), cuts_.cuts(), stream_);
    choice.kept = cuts_.Start(logits, communicator);
    choice.num_kept = started_.num_wide;
  }
  ChooseTokens(choice, stream_);
  SKEIN_CUDA(cudaEventRecord(turn.found, stream_.ForDriver()));
  next_turn_ ^= 1;
  ++num_started_;
}

bool DeviceLogits::IsFound() const {
  if (num_started_ == 0) return true;
  const cudaError_t status = cudaEventQuery(turns_[next_turn_ ^ (num_started_ & 1)].found);
  // A device that failed is told of by Await.
  return status != cudaErrorNotReady;
}

LogitsSource::Found DeviceLogits::Await() {
  SKEIN_CHECK(num_started_ > 0, "no step was started");
  // The older of two has the turn that comes next.
  const Turn& turn = turns_[next_turn_ ^ (num_started_ & 1)];
  --num_started_;
  SKEIN_CUDA(cudaEventSynchronize(turn.found));
  return {reinterpret_cast<const std::byte*>(turn.blocks.data()),
          reinterpret_cast<const NoisyToken*>(turn.kept.data()),
          reinterpret_cast<const int32_t*>(turn.tokens.data())};
}

}  // namespace

std::unique_ptr<LogitsSource> MakeDeviceLogits(const SamplerShape& shape, Stream& stream,
                                               const ChosenAhead& ahead) {
  return std::make_unique<DeviceLogits>(shape, stream, ahead);
}

}  // namespace skein::cuda
