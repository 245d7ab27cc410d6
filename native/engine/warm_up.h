// The steps that a rank runs before its first real one, so that no request pays for what happens
// once: libraries that set themselves up, buffers that grow, graphs that are recorded. Ordinary
// plans over made-up sequences; the last of them releases everything.
#pragma once

#include <vector>

#include "engine/engine.h"

namespace skein {

// Picture 0, resident before the first of the plans, has so many tiles, in tile slots from 0 on; 0:
// the model takes none.
int64_t WarmUpTiles(const LoadPlan& plan);

// Numbered from 1. Every rank of a group makes the same ones: they are collective.
std::vector<StepPlan> MakeWarmUpPlans(const LoadPlan& plan, int64_t num_kv_blocks);

}  // namespace skein
