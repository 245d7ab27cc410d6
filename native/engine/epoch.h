// Everything that dies with a group epoch: KV cache, sequences, pictures. Runs checked plans over a
// loaded model.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <utility>

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
  // A step is started, and finished when its tokens are wanted: in the order of the steps. Where
  // MayFollow, the next one may be started before.
  void Start(const StepPlan& plan, Communicator& communicator, const PhaseListener& at);
  void Finish(StepResult* result);
  // Whether Finish would not wait.
  bool IsDone() const;
  // Whether this plan, which may be bad, can be started behind the step that is. It takes nothing
  // away from that one's sequences and adds none, and both sample on the device.
  bool MayFollow(const StepPlan& plan) const;
  void Run(const StepPlan& plan, Communicator& communicator, const PhaseListener& at,
           StepResult* result) {
    Start(plan, communicator, at);
    Finish(result);
  }

 private:
  struct StartedStep {
    bool is_ahead = false;
    std::vector<SampledToken> tokens;
    // Where the tokens of a step that is ahead belong: slots, and places in their sequences.
    std::vector<std::pair<int32_t, size_t>> places;
  };

  void Release(const StepPlan& plan);
  void EncodePictures(const StepPlan& plan, Communicator& communicator);
  void MaskTokens(const StepPlan& plan);
  void Decode(const StepPlan& plan, Communicator& communicator, const PhaseListener& at,
              StartedStep* step);

  Backend& backend_;
  LoadedModel& model_;
  EngineLimits limits_;
  std::unique_ptr<KvCache> cache_;
  SequenceTable sequences_;
  PictureStore pictures_;
  StepBuilder builder_;
  std::vector<TileJob> jobs_;
  std::deque<StartedStep> started_;
  uint64_t last_step_ = 0;
};

// FNV-1a 64 over the (slot, token id) pairs, each a little-endian u32.
uint64_t HashSamples(const std::vector<SampledToken>& tokens);

}  // namespace skein
