// Steps that the host waits for, and those that it does not: both ask the same of the same kernels.
#include "cuda/device_logits.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "cuda/device_cuts.h"
#include "cuda/device_memory.h"
#include "cuda/kernels/sampling.h"
#include "cuda/kernels/sampling_choice.h"
#include "cuda/sampling_slots.h"
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

constexpr size_t Aligned(size_t bytes) { return (bytes + 15) / 16 * 16; }
size_t Size(int64_t count) { return static_cast<size_t>(count); }

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

  void BeginSequence(int32_t slot) override { slots_.Begin(slot); }
  void AppendToken(int32_t slot, int32_t token_id) override { slots_.SetLastToken(slot, token_id); }
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
  int64_t TakeNanoseconds() override { return std::exchange(taken_ns_, 0); }
  void DropStarted() override { num_started_ = 0; }

 private:
  struct Layout {
    size_t keys, block;
  };
  static Layout LayoutOf(size_t num_rows) {
    const size_t keys = Aligned(num_rows * sizeof(SamplingRow));
    return {keys, keys + Aligned(num_rows * sizeof(uint32_t))};
  }
  static PinnedMemory MakeCount() {
    PinnedMemory count(sizeof(uint64_t));
    std::memset(count.data(), 0, count.bytes());
    return count;
  }
  static uint64_t* WordOf(const PinnedMemory& count) {
    return reinterpret_cast<uint64_t*>(count.data());
  }
  // Of a step that has ended.
  void Count(const uint64_t* host_ns) { taken_ns_ += static_cast<int64_t>(*host_ns); }
  void WriteBlockHeader(char* block, size_t num_rows) const;
  // Fills the head of a step in pinned memory; returns its bytes.
  size_t FillHead(std::span<const RowRequest> requests, std::span<const WideRow> wide, char* head,
                  bool* needs_masses);
  SamplingStep StepOf(size_t num_rows, bool needs_masses, uint64_t* host_ns) const;
  // Examines the rows; returns the blocks of all ranks on the device.
  const char* Gather(SamplingStep& step, const Matrix& logits, size_t block_bytes,
                     Communicator& communicator);

  const SamplerShape shape_;
  Stream& stream_;
  SamplingSlots slots_;
  Matrix logits_;
  // Of a step: requests, maxima and the own block, in one piece, whose beginning comes from the
  // host.
  DeviceMemory step_, parts_, tile_keys_;
  PinnedMemory pinned_step_;
  // From all ranks.
  DeviceMemory rank_max_keys_, blocks_;
  PinnedMemory pinned_blocks_;
  DeviceCuts cuts_;
  // SamplingClock.
  DeviceMemory began_{sizeof(uint64_t)};
  PinnedMemory examined_ns_ = MakeCount();
  int64_t taken_ns_ = 0;

  // Of steps that are started: two, used in turn.
  const ChosenAhead ahead_;
  struct Turn {
    PinnedMemory head, blocks, kept, tokens, sampling_ns;
    cudaEvent_t found = nullptr;
  };
  Turn turns_[2];
  StartedStep started_;
  int next_turn_ = 0, num_started_ = 0;
};

DeviceLogits::DeviceLogits(const SamplerShape& shape, Stream& stream, const ChosenAhead& ahead)
    : shape_(shape), stream_(stream), slots_(shape, stream), cuts_(shape, stream), ahead_(ahead) {
  SKEIN_CHECK(shape.max_top_logprobs <= kMaxRowCandidates, "%lld top log-probabilities",
              static_cast<long long>(shape.max_top_logprobs));
  const size_t rows = Size(shape.max_sequences);
  const size_t world_size = Size(shape.world_size);
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
      turn.sampling_ns = MakeCount();
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
    SamplingRow row = slots_.RowOf(requests[i], static_cast<int64_t>(i));
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

SamplingStep DeviceLogits::StepOf(size_t num_rows, bool needs_masses, uint64_t* host_ns) const {
  const Layout layout = LayoutOf(num_rows);
  char* const device = step_.As<char>();
  SamplingStep step{};
  step.count = static_cast<int32_t>(shape_.vocab_valid_rows);
  step.first_id = static_cast<int32_t>(shape_.vocab_start);
  step.num_rows = static_cast<int32_t>(num_rows);
  step.rows = reinterpret_cast<const SamplingRow*>(device);
  slots_.Place(&step);
  step.last_tokens = ahead_.last_tokens;
  step.max_keys = reinterpret_cast<uint32_t*>(device + layout.keys);
  step.parts = parts_.As<BestToken>();
  step.tile_keys = tile_keys_.As<uint32_t>();
  step.block = device + layout.block;
  step.needs_masses = needs_masses;
  step.rank_max_keys = step.max_keys;
  step.world_size = 1;
  // A rank without tokens examines nothing.
  if (shape_.vocab_valid_rows > 0) step.clock = {began_.As<uint64_t>(), host_ns};
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
  slots_.Fill(requests);
  bool needs_masses = false;
  const size_t head_bytes = FillHead(requests, {}, pinned_step_.data(), &needs_masses);
  slots_.SendMasks();
  SKEIN_CUDA(cudaMemcpyAsync(step_.data(), pinned_step_.data(), head_bytes, cudaMemcpyHostToDevice,
                             stream_.ForDriver()));
  auto* const host_ns = WordOf(examined_ns_);
  SamplingStep step = StepOf(requests.size(), needs_masses, host_ns);
  const char* const found = Gather(step, logits, block_bytes, communicator);
  SKEIN_CUDA(cudaMemcpyAsync(pinned_blocks_.data(), found, block_bytes * Size(world_size),
                             cudaMemcpyDeviceToHost, stream_.ForDriver()));
  stream_.Synchronize();
  Count(host_ns);
  return reinterpret_cast<const std::byte*>(pinned_blocks_.data());
}

void DeviceLogits::Prepare(std::span<const RowRequest> requests, size_t block_bytes,
                           std::span<const WideRow> wide, int world_size) {
  SKEIN_CHECK(requests.size() <= slots_.size() && world_size <= shape_.world_size &&
                  block_bytes * Size(world_size) <= pinned_blocks_.bytes() && num_started_ < 2,
              "%zu rows at world size %d, %d steps started", requests.size(), world_size,
              num_started_);
  const auto is_stale = [&](const RowRequest& request) { return slots_.IsStale(request.slot); };
  if (std::any_of(requests.begin(), requests.end(), is_stale)) {
    // What a step in front sent may still be on its way.
    stream_.Synchronize();
    slots_.Fill(requests);
  }
  Turn& turn = turns_[next_turn_];
  bool needs_masses = false;
  const size_t bytes = FillHead(requests, wide, turn.head.data(), &needs_masses);
  ahead_.inputs->Add(step_.data(), turn.head.data(), bytes);
  if (!wide.empty()) cuts_.Prepare(wide, next_turn_, *ahead_.inputs);
  for (const RowRequest& request : requests) {
    slots_.SetLastToken(request.slot, kCountLastToken);
  }
  started_.num_rows = static_cast<int32_t>(requests.size());
  started_.num_wide = static_cast<int32_t>(wide.size());
  started_.block_bytes = block_bytes;
  started_.world_size = world_size;
  started_.examined = StepOf(requests.size(), needs_masses, WordOf(turn.sampling_ns));
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
  choice.clock = step.clock;
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
  Count(WordOf(turn.sampling_ns));
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
