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
  for (int pass = 0; pass < passes; ++pass) {
    CountDigits(step, stream_);
    if (step.world_size > 1) {
      communicator.AllGather(histograms_.data(), rank_histograms_.data(),
                             Size(step.num_rows) * sizeof(CutHistogram), &stream_);
    }
    FindDigits(step, stream_);
  }
}

// The ranks' choices, to pinned_chosen_. Returns whether the cuts of all rows were found.
bool DeviceCuts::ReadChosen(const CutStep& step, Communicator& communicator) {
  ChooseBeforeCuts(step, stream_);
  const size_t num_rows = Size(step.num_rows), bytes = num_rows * sizeof(BestToken);
  const DeviceMemory& all = step.world_size > 1 ? rank_chosen_ : chosen_;
  if (step.world_size > 1) communicator.AllGather(chosen_.data(), all.data(), bytes, &stream_);
  auto* const cuts = reinterpret_cast<Cut*>(pinned_rows_.data());
  SKEIN_CUDA(cudaMemcpyAsync(pinned_chosen_.data(), all.data(), bytes * Size(step.world_size),
                             cudaMemcpyDeviceToHost, stream_.ForDriver()));
  SKEIN_CUDA(cudaMemcpyAsync(cuts, step.cuts, num_rows * sizeof(Cut), cudaMemcpyDeviceToHost,
                             stream_.ForDriver()));
  stream_.Synchronize();
  return std::all_of(cuts, cuts + num_rows, [](const Cut& cut) { return cut.is_found; });
}

void DeviceCuts::Choose(const Matrix& logits, std::span<const WideRow> rows,
                        Communicator& communicator, std::span<NoisyToken> chosen) {
  const auto world_size = Size(communicator.world_size());
  const size_t cut_offset = Aligned(rows.size() * sizeof(CutRow));
  const size_t bytes = cut_offset + rows.size() * sizeof(Cut);
  SKEIN_CHECK(bytes <= rows_.bytes() && chosen.size() == rows.size(), "%zu rows", rows.size());
  // The same on all ranks, so that they make the same calls.
  int cuts = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const TokenFilter& filter = rows[i].filter;
    const NoiseKey& noise = rows[i].noise;
    const CutRow row{noise.seed,       noise.position,     rows[i].row,
                     filter.top_k,     noise.choice_index, filter.inverse_temperature,
                     filter.max_logit, filter.top_p,       filter.min_p};
    const Cut cut = FirstCut(filter);
    std::memcpy(pinned_rows_.data() + i * sizeof(row), &row, sizeof(row));
    std::memcpy(pinned_rows_.data() + cut_offset + i * sizeof(cut), &cut, sizeof(cut));
    cuts = std::max(cuts, (filter.top_k > 0 ? 1 : 0) + (filter.top_p < 1 ? 1 : 0));
  }
  SKEIN_CUDA(cudaMemcpyAsync(rows_.data(), pinned_rows_.data(), bytes, cudaMemcpyHostToDevice,
                             stream_.ForDriver()));
  const size_t histogram_bytes = rows.size() * sizeof(CutHistogram);
  SKEIN_CUDA(cudaMemsetAsync(histograms_.data(), 0, histogram_bytes, stream_.ForDriver()));

  CutStep step{};
  step.logits = logits.As<float>();
  step.stride = logits.stride;
  step.count = static_cast<int32_t>(shape_.vocab_valid_rows);
  step.first_id = static_cast<int32_t>(shape_.vocab_start);
  step.num_rows = static_cast<int32_t>(rows.size());
  step.world_size = static_cast<int32_t>(world_size);
  step.rows = rows_.As<CutRow>();
  step.cuts = reinterpret_cast<Cut*>(rows_.As<char>() + cut_offset);
  step.histograms = histograms_.As<CutHistogram>();
  step.rank_histograms = world_size > 1 ? rank_histograms_.As<CutHistogram>() : step.histograms;
  step.parts = parts_.As<BestToken>();
  step.chosen = chosen_.As<BestToken>();
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
