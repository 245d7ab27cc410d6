// What a rank would hold of a model, by kinds: the code that loads one, run over a back end that
// only counts. Touches no file and no device.
#pragma once

#include <cstdint>
#include <string>

#include "model/model_spec.h"

namespace skein {

// Bytes. The first three as LoadResult has them.
struct MemoryEstimate {
  int64_t weights = 0, activations = 0, kv_per_block = 0;
  // Of weights at most at once while loading: those that are staged and repacked beside the others.
  int64_t peak_weights = 0;
  // Of the activations, what is there for pictures.
  int64_t pictures = 0;
  // A GPU's: buffers beside activations, and room for what cannot be counted.
  int64_t workspaces = 0, reserve = 0;
};

// kind: "cpu" or "cuda", whatever this build can run. Throws what Engine::Load would for a plan
// that contradicts itself; weights are taken for random ones, so that files need not exist.
MemoryEstimate EstimateMemory(LoadPlan plan, const std::string& kind);

}  // namespace skein
