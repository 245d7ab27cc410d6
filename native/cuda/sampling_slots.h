// What the device remembers of the sequence in each slot: a word a token (kernels/sampling.h) and
// biases, written when the slot's next sequence is first sampled for and then token by token, with
// the step's requests. The host's SequenceState stays the truth.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cuda/device_memory.h"
#include "cuda/kernels/sampling.h"
#include "cuda/stream.h"
#include "ops/backend.h"
#include "sampling/logits_source.h"

namespace skein::cuda {

class SamplingSlots {
 public:
  // All its memory is taken here. Throws DEVICE_OUT_OF_MEMORY.
  SamplingSlots(const SamplerShape& shape, Stream& stream);

  size_t size() const { return slots_.size(); }
  // Another sequence: what is there of the last one is stale.
  void Begin(int32_t slot) { slots_[static_cast<size_t>(slot)] = Slot(); }
  // The slot's last token, or kCountLastToken, which its word does not count yet.
  void SetLastToken(int32_t slot, int32_t token) {
    slots_[static_cast<size_t>(slot)].counted_token = token;
  }
  bool IsStale(int32_t slot) const { return slots_[static_cast<size_t>(slot)].is_stale; }
  // Of those that are stale, to the device. What was sent before has arrived.
  void Fill(std::span<const RowRequest> requests);
  // What is asked of row `row` of the logits; takes the slot's last token, and keeps the mask.
  SamplingRow RowOf(const RowRequest& request, int64_t row);
  // The masks of the rows since the last call.
  void SendMasks();
  // Into `step`: where all this lies.
  void Place(SamplingStep* step) const;

 private:
  struct Slot {
    // Its words and biases are another sequence's.
    bool is_stale = true;
    bool has_words = false;
    int32_t num_biases = 0;
    // As SamplingRow has it.
    int32_t counted_token = kNoneToCount;
  };

  static uint32_t WordOf(const SequenceState::Occurrences& occurrences) {
    return (occurrences.in_prompt ? kInPrompt : 0) | static_cast<uint32_t>(occurrences.generated);
  }
  void FillSlot(int32_t slot, const SequenceState& state);
  void FillBiases(int32_t slot, const SequenceState& state);
  void AddUpdate(int64_t position, uint32_t word);
  void SendUpdates();
  int32_t AddMask(std::span<const uint32_t> mask);

  const SamplerShape shape_;
  Stream& stream_;
  std::vector<Slot> slots_;
  int64_t num_updates_ = 0;
  int32_t num_masks_ = 0;
  // By slot: words [valid rows], biases [kMaxTokenBiases].
  DeviceMemory words_, biases_, updates_;
  PinnedMemory pinned_biases_, pinned_updates_;
  // Of a step: [its masks, words].
  DeviceMemory masks_;
  PinnedMemory pinned_masks_;
};

}  // namespace skein::cuda
