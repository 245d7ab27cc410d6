// Checks of a load plan's numbers, one by one and against each other, before anything is allocated
// or read.
#pragma once

#include "model/model_spec.h"

namespace skein {

// Throws INVALID_REQUEST naming the field.
void CheckPlanLimits(const LoadPlan& plan);

// Tokens that one tile becomes after pixel shuffle.
inline int64_t TokensPerTile(const VisionSpec& vision) {
  const int64_t side = vision.image_size / vision.patch_size / vision.shuffle_factor;
  return side * side;
}

// Tiles that this rank runs through the tower when a pass has `tiles` in all: all of them, or its
// share where they are dealt out.
inline int64_t TilesPerRank(const RankLayout& layout, int64_t tiles) {
  if (layout.vision_parallel == VisionParallel::kTensor) return tiles;
  return (tiles + layout.world_size - 1) / layout.world_size;
}

// What no step of this plan exceeds.
StepLimits StepLimitsOf(const LoadPlan& plan);

}  // namespace skein
