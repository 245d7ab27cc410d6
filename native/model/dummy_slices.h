// Slices for a plan that has none, since its weights are random: where each element of a rank's
// tensors would lie in the whole model's. They let random values be keyed by that place, so that
// every world size sees one and the same model.
#pragma once

#include "model/model_spec.h"

namespace skein {

// One slice per piece (q, k, v, gate, up, ...) of every tensor of the plan; source_name names role,
// part, layer and piece.
std::vector<Slice> MakeDummySlices(const LoadPlan& plan);

}  // namespace skein
