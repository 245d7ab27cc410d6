#include "engine/memory_estimate.h"

#include "engine/loaded_model.h"
#include "ops/counting_backend.h"

namespace skein {

MemoryEstimate EstimateMemory(LoadPlan plan, const std::string& kind) {
  plan.dummy_weights = true;
  plan.expected_checksums.clear();
  plan.memory_share = 0;
  CountingBackend backend(MakeMemoryRules(kind));
  const std::atomic<bool> not_cancelled = false;
  const LoadedModel model(backend, plan, nullptr, not_cancelled);
  MemoryEstimate estimate;
  estimate.weights = model.result().weight_bytes;
  estimate.activations = model.result().activation_bytes;
  estimate.kv_per_block = model.result().kv_bytes_per_block;
  estimate.peak_weights = backend.peak_weight_bytes();
  estimate.pictures = model.picture_bytes();
  estimate.workspaces = backend.workspace_bytes();
  if (kind != "cpu") estimate.reserve = DeviceReserveBytes(plan.layout.world_size);
  return estimate;
}

}  // namespace skein
