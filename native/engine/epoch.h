// Everything that dies with a group epoch: KV cache, sequences, pictures. Runs checked plans over a
// loaded model.
#pragma once

#include <functional>
#include <memory>

#include "engine/loaded_model.h"
#include "engine/plan_check.h"
#include "engine/step_builder.h"

namespace skein {

class Epoch {
 public:
  Epoch(Backend& backend, LoadedModel& model, int64_t num_kv_blocks);
  ~Epoch();
  Epoch(const Epoch&) = delete;
  Epoch& operator=(const Epoch&) = delete;

  int64_t kv_bytes() const { return static_cast<int64_t>(cache_->bytes()); }
  uint64_t last_step() const { return last_step_; }
  void PutPixels(uint32_t picture_id, const std::vector<int32_t>& tile_slots,
                 std::vector<uint8_t> pixels) {
    pictures_.Put(picture_id, tile_slots, std::move(pixels));
  }
  // Before the first step, on every rank of the group at once: leaves no sequence, picture or step
  // behind. Nothing to do on a CPU that records no steps.
  void WarmUp(Communicator& communicator);
  // Throws without a change when the plan may not run. After any other failure the epoch's state is
  // undefined.
  void Check(const StepPlan& plan) const;
  // `at` is told of each phase as it begins.
  using PhaseListener = std::function<void(EnginePhase)>;
  void Run(const StepPlan& plan, Communicator& communicator, const PhaseListener& at,
           StepResult* result);

 private:
  void Release(const StepPlan& plan);
  void EncodePictures(const StepPlan& plan, Communicator& communicator);
  void MaskTokens(const StepPlan& plan);
  void Decode(const StepPlan& plan, Communicator& communicator, const PhaseListener& at,
              StepResult* result);

  Backend& backend_;
  LoadedModel& model_;
  EngineLimits limits_;
  std::unique_ptr<KvCache> cache_;
  SequenceTable sequences_;
  PictureStore pictures_;
  StepBuilder builder_;
  std::vector<TileJob> jobs_;
  uint64_t last_step_ = 0;
};

// FNV-1a 64 over the (slot, token id) pairs, each a little-endian u32.
uint64_t HashSamples(const std::vector<SampledToken>& tokens);

}  // namespace skein
