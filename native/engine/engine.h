// One rank's engine: weights, KV cache, sequences, and the execution of step plans. Knows nothing
// of Node.
//
// Threads: Load, PrepareGroup, JoinGroup, steps, PutPixels, memory_use, Inspect and EndEpoch are
// called one at a time (by the engine thread). Abort and progress() may be called at any time, from
// any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "collective/communicator.h"
#include "core/load_times.h"
#include "model/model_spec.h"
#include "ops/backend.h"

namespace skein {

// Mirrors of worker.proto; see there for meanings. The load plan itself is in model/model_spec.h.
struct LoadResult {
  int64_t weight_bytes = 0, read_bytes = 0, peak_resident_bytes = 0, activation_bytes = 0,
          kv_bytes_per_block = 0, available_bytes = 0, workspace_bytes = 0, reserve_bytes = 0;
  double load_ms = 0;
  LoadTimes times;
  // Of what the files gave for each tensor of the plan; empty for random weights.
  std::vector<uint64_t> tensor_checksums;
};

struct PicturePlacement {
  uint32_t picture_id = 0;
  int64_t first_position = 0;
};

struct NewSequence {
  int32_t slot = 0;
  std::vector<int32_t> token_ids;
  int64_t num_prompt_tokens = 0, num_computed_tokens = 0;
  SamplingParams sampling;
  std::vector<PicturePlacement> pictures;
};

struct EncodeItem {
  uint32_t picture_id = 0;
  int32_t tile_start = 0, tile_end = 0;
};

struct StepPlan {
  uint64_t group_epoch = 0, step = 0;
  std::vector<int32_t> released_slots;
  std::vector<uint32_t> released_pictures;
  std::vector<NewSequence> new_sequences;
  std::vector<int32_t> new_blocks;  // pairs (slot, block)
  std::vector<EncodeItem> encode_items;
  std::vector<int32_t> scheduled_slots, scheduled_tokens;
  // Slots whose tokens are masked, and their masks (Sampler::MaskNextToken), one after the other.
  std::vector<int32_t> masked_slots;
  std::vector<uint32_t> masks;
  int32_t graph_bucket = 0;
};

struct StepResult {
  uint64_t group_epoch = 0, step = 0;
  std::vector<SampledToken> tokens;
  uint64_t sample_hash = 0;
  // See worker.proto.
  int64_t step_ns = 0, collective_ns = 0, plan_wait_ns = 0, sampling_ns = 0;
};

struct GroupOptions {
  uint64_t group_epoch = 0;
  int rank = 0, world_size = 1;
  CollectiveKind collective = CollectiveKind::kNone;
  std::string bind_host;
  bool deterministic = true;  // the engine fills in its back end's
};

// What Inspect shows: the decoder's rows of the last step (the residual behind the last layer,
// before the final norm), or the first rows of the cache of pictures' outputs.
enum class InspectTarget : uint8_t { kHidden, kTiles };

// What the engine's thread is at.
enum class EnginePhase : uint8_t { kIdle, kLoad, kJoin, kVision, kDecoder, kSampling };

struct Progress {
  uint64_t group_epoch = 0;
  uint64_t last_step = 0;     // last completed
  uint64_t collectives = 0;   // calls begun in the epoch, by the host
  std::string collective;     // Communicator::Describe; empty while no group is joined
  uint64_t device_calls = 0;  // and those that the device has begun (Communicator::device_calls)
  EnginePhase phase = EnginePhase::kIdle;
  // The thread is inside a collective: on a CPU it exchanges, or waits for the others.
  bool in_collective = false;
  int64_t last_progress_ns = 0;  // steady clock; of counters and phases
};

class Engine {
 public:
  explicit Engine(const BackendOptions& options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  Backend& backend();

  // Executes the slice list. Weights that are resident (same weights_hash, and what is expected of
  // their checksums) are not read again;
  // other limits end the epoch, and what they decide is laid out anew. Progress: (loaded, total)
  // bytes.
  LoadResult Load(const LoadPlan& plan, const std::function<void(int64_t, int64_t)>& progress);
  const std::string& resident_weights_hash() const;
  // With what the engine itself knows where the back end does not count.
  MemoryUse memory_use() const;

  // Throws STALE_EPOCH for an epoch not above the highest seen.
  std::string PrepareGroup(const GroupOptions& options);
  // Connects, allocates the KV cache, and warms up with every other rank (see engine/warm_up.h).
  // Returns the bytes of the cache.
  int64_t JoinGroup(uint64_t group_epoch, const std::vector<std::string>& addresses,
                    int64_t num_kv_blocks, int timeout_ms);
  void PutPixels(uint64_t group_epoch, uint32_t picture_id, const std::vector<int32_t>& tile_slots,
                 std::vector<uint8_t> pixels);
  // Validates the whole plan before touching any state: a bad plan throws and changes nothing.
  StepResult RunStep(const StepPlan& plan) {
    StartStep(plan);
    return FinishStep();
  }
  // Its two halves, so that a device need not wait for its host between two steps: where MayFollow,
  // the next step is started before the one in front is finished. Steps finish in their order.
  void StartStep(const StepPlan& plan);
  StepResult FinishStep();
  // Steps that were started and not finished: at most two.
  int num_started() const;
  bool MayFollow(const StepPlan& plan) const;
  // Whether FinishStep would not wait.
  bool IsStepDone() const;
  // Gives up what was started, once a step has failed.
  void DropSteps();
  // [rows, hidden size], for tests. Throws INVALID_REQUEST for rows that there are not.
  std::vector<float> Inspect(InspectTarget target, int64_t rows);
  // Drops the communicator, the KV cache, all sequences and pictures; weights stay.
  void EndEpoch();

  // Any thread. Ends waiting collectives of `group_epoch` (0: whatever runs).
  void Abort(uint64_t group_epoch);
  Progress progress() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skein
