// Rows of logits on the device whose candidates do not hold what their filter keeps.
#pragma once

#include <span>

#include "cuda/device_memory.h"
#include "cuda/kernels/sampling_cut.h"
#include "cuda/step_inputs.h"
#include "cuda/stream.h"
#include "sampling/logits_source.h"

namespace skein::cuda {

class DeviceCuts {
 public:
  // All its memory is taken here. Throws DEVICE_OUT_OF_MEMORY.
  DeviceCuts(const SamplerShape& shape, Stream& stream);

  // What the rows of a started step ask, to the device: the place of the rows' cuts there. `turn`
  // is 0 or 1; another step of the same turn has ended.
  void Prepare(std::span<const WideRow> rows, int turn, StepInputs& inputs);
  CutRow* rows() const { return rows_.As<CutRow>(); }
  Cut* cuts() const { return reinterpret_cast<Cut*>(rows_.As<char>() + cut_offset_); }
  // What the ranks chose of these logits before the cuts of the rows prepared last, rank by rank,
  // on the device. PrepareCuts has run.
  const BestToken* Start(const Matrix& logits, Communicator& communicator);

  // LogitsSource::ChooseKept of these logits.
  void Choose(const Matrix& logits, std::span<const WideRow> rows, Communicator& communicator,
              std::span<NoisyToken> chosen);

 private:
  // Fills `pinned`; returns how many cuts a row has at most.
  int Fill(std::span<const WideRow> rows, char* pinned);
  CutStep StepOf(const Matrix& logits, int world_size) const;
  const BestToken* GatherChosen(const CutStep& step, Communicator& communicator);
  void NarrowCuts(const CutStep& step, int passes, Communicator& communicator);
  bool ReadChosen(const CutStep& step, Communicator& communicator);

  const SamplerShape shape_;
  Stream& stream_;
  // What is asked of the rows, then where their cuts are.
  DeviceMemory rows_;
  PinnedMemory pinned_rows_, started_rows_[2];
  // Of the rows that are there.
  int64_t num_rows_ = 0;
  size_t cut_offset_ = 0;
  int num_cuts_ = 0;
  DeviceMemory histograms_, rank_histograms_;
  // The histograms hold nothing.
  bool are_zero_ = false;
  // The highest under noise: of parts of a row, of the rank, of all ranks.
  DeviceMemory parts_, chosen_, rank_chosen_;
  PinnedMemory pinned_chosen_;
};

}  // namespace skein::cuda
