// Rows of logits on the device whose candidates do not hold what their filter keeps.
#pragma once

#include <span>

#include "cuda/device_memory.h"
#include "cuda/kernels/sampling_cut.h"
#include "cuda/stream.h"
#include "sampling/logits_source.h"

namespace skein::cuda {

class DeviceCuts {
 public:
  // All its memory is taken here. Throws DEVICE_OUT_OF_MEMORY.
  DeviceCuts(const SamplerShape& shape, Stream& stream);

  // LogitsSource::ChooseKept of these logits.
  void Choose(const Matrix& logits, std::span<const WideRow> rows, Communicator& communicator,
              std::span<NoisyToken> chosen);

 private:
  void NarrowCuts(const CutStep& step, int passes, Communicator& communicator);
  bool ReadChosen(const CutStep& step, Communicator& communicator);

  const SamplerShape shape_;
  Stream& stream_;
  // What is asked of the rows, then where their cuts are.
  DeviceMemory rows_;
  PinnedMemory pinned_rows_;
  DeviceMemory histograms_, rank_histograms_;
  // The highest under noise: of parts of a row, of the rank, of all ranks.
  DeviceMemory parts_, chosen_, rank_chosen_;
  PinnedMemory pinned_chosen_;
};

}  // namespace skein::cuda
