// Where the cuts of wide rows are, pass by pass (kernels/sampling_cut.h), and what is chosen before
// them.
#include "cuda/device_cuts.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "cuda/cuda_check.h"
#include "sampling/sampler.h"

namespace skein::cuda {
namespace {

// Of kCutPasses: these find a cut unless other logits on its side equal it.
constexpr int kMostlyEnoughPasses = 3;

constexpr size_t Aligned(size_t bytes) { return (bytes + 15) / 16 * 16; }
size_t Size(int64_t count) { return static_cast<size_t>(count); }

Cut FirstCut(const TokenFilter& filter) {
  Cut cut{};
  cut.shift = kFirstCutShift;
  cut.is_by_mass = filter.top_k == 0;
  cut.is_found = filter.top_k == 0 && !(filter.top_p < 1);
  cut.wanted_mass = static_cast<double>(filter.top_p) * static_cast<double>(filter.total_mass);
  return cut;
}

}  // namespace

DeviceCuts::DeviceCuts(const SamplerShape& shape, Stream& stream) : shape_(shape), stream_(stream) {
  const size_t rows = Size(shape.max_sequences), world_size = Size(shape.world_size);
  rows_ = DeviceMemory(Aligned(rows * sizeof(CutRow)) + rows * sizeof(Cut));
  pinned_rows_ = PinnedMemory(rows_.bytes());
  histograms_ = DeviceMemory(rows * sizeof(CutHistogram));
  const size_t chunks = Size(NumChunks(shape.vocab_valid_rows, shape.vocab_start));
  parts_ = DeviceMemory(rows * chunks * sizeof(BestToken));
  chosen_ = DeviceMemory(rows * sizeof(BestToken));
  pinned_chosen_ = PinnedMemory(chosen_.bytes() * world_size);
  if (world_size == 1) return;
  rank_histograms_ = DeviceMemory(histograms_.bytes() * world_size);
  rank_chosen_ = DeviceMemory(chosen_.bytes() * world_size);
}

void DeviceCuts::NarrowCuts(const CutStep& step, int passes, Communicator& communicator) {
  // FindDigits leaves zeros, unless a call in front of it failed.
  if (!are_zero_) {
    SKEIN_CUDA(cudaMemsetAsync(histograms_.data(), 0, histograms_.bytes(), stream_.ForDriver()));
  }
  are_zero_ = false;
  for (int pass = 0; pass < passes; ++pass) {
    CountDigits(step, stream_);
    if (step.world_size > 1) {
      communicator.AllGather(histograms_.data(), rank_histograms_.data(),
                             Size(step.num_rows) * sizeof(CutHistogram), &stream_);
    }
    FindDigits(step, stream_);
  }
  are_zero_ = true;
}

// The ranks' choices, on the device.
const BestToken* DeviceCuts::GatherChosen(const CutStep& step, Communicator& communicator) {
  ChooseBeforeCuts(step, stream_);
  if (step.world_size == 1) return chosen_.As<BestToken>();
  communicator.AllGather(chosen_.data(), rank_chosen_.data(),
                         Size(step.num_rows) * sizeof(BestToken), &stream_);
  return rank_chosen_.As<BestToken>();
}

// The ranks' choices, to pinned_chosen_. Returns whether the cuts of all rows were found.
bool DeviceCuts::ReadChosen(const CutStep& step, Communicator& communicator) {
  const size_t num_rows = Size(step.num_rows), bytes = num_rows * sizeof(BestToken);
  const BestToken* const all = GatherChosen(step, communicator);
  auto* const cuts = reinterpret_cast<Cut*>(pinned_rows_.data());
  SKEIN_CUDA(cudaMemcpyAsync(pinned_chosen_.data(), all, bytes * Size(step.world_size),
                             cudaMemcpyDeviceToHost, stream_.ForDriver()));
  SKEIN_CUDA(cudaMemcpyAsync(cuts, step.cuts, num_rows * sizeof(Cut), cudaMemcpyDeviceToHost,
                             stream_.ForDriver()));
  stream_.Synchronize();
  return std::all_of(cuts, cuts + num_rows, [](const Cut& cut) { return cut.is_found; });
}

// How many cuts a row has is the same on all ranks, so that they make the same calls.
int DeviceCuts::Fill(std::span<const WideRow> rows, char* pinned) {
  num_rows_ = static_cast<int64_t>(rows.size());
  cut_offset_ = Aligned(rows.size() * sizeof(CutRow));
  SKEIN_CHECK(cut_offset_ + rows.size() * sizeof(Cut) <= rows_.bytes(), "%zu rows", rows.size());
  num_cuts_ = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const TokenFilter& filter = rows[i].filter;
    const NoiseKey& noise = rows[i].noise;
    const CutRow row{noise.seed,       noise.position,     rows[i].row,
                     filter.top_k,     noise.choice_index, filter.inverse_temperature,
                     filter.max_logit, filter.top_p,       filter.min_p};
    const Cut cut = FirstCut(filter);
    std::memcpy(pinned + i * sizeof(row), &row, sizeof(row));
    std::memcpy(pinned + cut_offset_ + i * sizeof(cut), &cut, sizeof(cut));
    num_cuts_ = std::max(num_cuts_, (filter.top_k > 0 ? 1 : 0) + (filter.top_p < 1 ? 1 : 0));
  }
  return num_cuts_;
}

CutStep DeviceCuts::StepOf(const Matrix& logits, int world_size) const {
  CutStep step{};
  step.logits = logits.As<float>();
  step.stride = logits.stride;
  step.count = static_cast<int32_t>(shape_.vocab_valid_rows);
  step.first_id = static_cast<int32_t>(shape_.vocab_start);
  step.num_rows = static_cast<int32_t>(num_rows_);
  step.world_size = world_size;
  step.rows = rows();
  step.cuts = cuts();
  step.histograms = histograms_.As<CutHistogram>();
  step.rank_histograms = world_size > 1 ? rank_histograms_.As<CutHistogram>() : step.histograms;
  step.parts = parts_.As<BestToken>();
  step.chosen = chosen_.As<BestToken>();
  return step;
}

void DeviceCuts::Prepare(std::span<const WideRow> rows, int turn, StepInputs& inputs) {
  PinnedMemory& pinned = started_rows_[turn];
  if (pinned.bytes() == 0) pinned = PinnedMemory(rows_.bytes());
  Fill(rows, pinned.data());
  inputs.Add(rows_.data(), pinned.data(), cut_offset_ + rows.size() * sizeof(Cut));
}

const BestToken* DeviceCuts::Start(const Matrix& logits, Communicator& communicator) {
  const CutStep step = StepOf(logits, communicator.world_size());
  // All of them: nobody looks whether the first were enough.
  NarrowCuts(step, num_cuts_ * kCutPasses, communicator);
  return GatherChosen(step, communicator);
}

void DeviceCuts::Choose(const Matrix& logits, std::span<const WideRow> rows,
                        Communicator& communicator, std::span<NoisyToken> chosen) {
  const auto world_size = Size(communicator.world_size());
  SKEIN_CHECK(chosen.size() == rows.size(), "%zu rows", rows.size());
  const int cuts = Fill(rows, pinned_rows_.data());
  SKEIN_CUDA(cudaMemcpyAsync(rows_.data(), pinned_rows_.data(),
                             cut_offset_ + rows.size() * sizeof(Cut), cudaMemcpyHostToDevice,
                             stream_.ForDriver()));
  const CutStep step = StepOf(logits, communicator.world_size());
  // Few rows need the last digits, which tell equal logits apart.
  NarrowCuts(step, cuts * kMostlyEnoughPasses, communicator);
  if (!ReadChosen(step, communicator)) {
    NarrowCuts(step, cuts * (kCutPasses - kMostlyEnoughPasses), communicator);
    ReadChosen(step, communicator);
  }
  std::fill(chosen.begin(), chosen.end(), NoisyToken());
  for (size_t r = 0; r < world_size; ++r) {
    for (size_t i = 0; i < rows.size(); ++i) {
      NoisyToken best;
      std::memcpy(&best, pinned_chosen_.data() + (r * rows.size() + i) * sizeof(best),
                  sizeof(best));
      TakeHigher(chosen[i], best);
    }
  }
}

}  // namespace skein::cuda
