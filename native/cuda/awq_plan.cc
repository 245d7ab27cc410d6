// How a product with AWQ weights is spread over the GPU.
#include <algorithm>

#include "core/error.h"
#include "cuda/kernels/awq.h"

namespace skein::cuda {
namespace {

constexpr int kWholeTuning = kAwqWhole;
// Tunings of one tile and of two tiles at a time, for up to 8 rows and for up to 16.
constexpr int kFewTuning = 0, kFewPairTuning = 2;
constexpr int kMoreTuning = 1, kMorePairTuning = 3;
constexpr int64_t kMostFewRows = 16;
// More slices than this only to make x fit.
constexpr int kMostSlices = 16;

int CeilDiv(int64_t a, int64_t b) { return static_cast<int>((a + b - 1) / b); }

int UnitBytes(const AwqWeights& weights) {
  return kAwqWordBytes + weights.tables_per_unit * kAwqTableBytes;
}

int RingBytes(const AwqWeights& weights, int tuning) {
  const AwqTuning& tuned = kAwqTunings[tuning];
  return tuned.warps * tuned.stages * tuned.members * AwqRingUnitBytes(weights.tables_per_unit);
}

// Units whose part of x fits beside the ring.
int RoomForUnits(const AwqWeights& weights, int tuning, int64_t rows, const DeviceTraits& device) {
  // As awq_kernel.cuh lays them out: where x comes by a map it comes in eights of rows, with a
  // barrier behind it.
  constexpr int kXStep = 1024, kBarrierBytes = 8;
  const bool may_pair = tuning != kWholeTuning && rows >= kAwqFewestPaired;
  const int x_rows = may_pair ? CeilDiv(rows, 8) * 8 : static_cast<int>(rows);
  const int ring = CeilDiv(RingBytes(weights, tuning), kXStep) * kXStep;
  return std::max(0, device.shared_bytes - ring - kBarrierBytes) / (x_rows * kAwqXBytes);
}

AwqPlan Slice(const AwqWeights& weights, int tuning, bool swiglu, int slices,
              const DeviceTraits& device) {
  AwqPlan plan{};
  plan.tuning = tuning;
  if (swiglu) {  // a tile of gate and the one of up
    plan.groups = static_cast<int>(weights.out_features / 2 / kAwqTileColumns);
    plan.group_tiles = 1;
    plan.member_tiles = plan.groups;
  } else {
    const int members = kAwqTunings[tuning].members;
    plan.groups = CeilDiv(weights.out_features, kAwqTileColumns * members);
    plan.group_tiles = members;
    plan.member_tiles = 1;
  }
  plan.units_per_slice = CeilDiv(weights.units, slices);
  plan.slices = CeilDiv(weights.units, plan.units_per_slice);
  plan.blocks =
      std::clamp(device.multiprocessors / plan.slices, 1, std::min(plan.groups, kAwqMaxTickets));
  return plan;
}

// Bytes that the busiest multiprocessor moves, scaled to what they cost beside weights. The terms
// are fitted to the products of the 38 B model at world sizes 1 and 2, 1 to 16 rows, on an H100.
double Cost(const AwqWeights& weights, const AwqPlan& plan, int64_t rows) {
  // What a fence, a ticket and a first read cost, and what each slice adds to read.
  constexpr double kSecondPass = 60e3, kSlice = 8e3;
  // A tile alone shares no loads of x with a neighbour.
  const double alone = kAwqTunings[plan.tuning].members == 1 ? 1.08 : 1.0;
  const double members = kAwqTunings[plan.tuning].members;
  const double groups = CeilDiv(plan.groups, plan.blocks);
  const double words = alone * groups * plan.units_per_slice * members * UnitBytes(weights);
  // x comes from the L2 cache, some three times faster.
  const double x = static_cast<double>(rows) * kAwqXBytes * plan.units_per_slice / 3;
  if (plan.slices == 1) return words + x;
  const double sums =
      groups * members * kAwqTileColumns * static_cast<double>(rows) * sizeof(float);
  return words + x + kSecondPass + plan.slices * kSlice + (plan.slices + 1) * sums;
}

// The best number of slices; a plan without blocks where not even one unit's x fits.
AwqPlan BestSlices(const AwqWeights& weights, int tuning, int64_t rows, bool swiglu,
                   const DeviceTraits& device) {
  const int room = RoomForUnits(weights, tuning, rows, device);
  if (room == 0) return {};
  const int fewest = CeilDiv(weights.units, room);
  AwqPlan best = Slice(weights, tuning, swiglu, fewest, device);
  for (int slices = fewest + 1; slices <= kMostSlices; ++slices) {
    const AwqPlan plan = Slice(weights, tuning, swiglu, slices, device);
    if (Cost(weights, plan, rows) < Cost(weights, best, rows)) best = plan;
  }
  return best;
}

// Of a tile or two at a time: two read x once for both, one divides more evenly.
int BestTuning(const AwqWeights& weights, int64_t rows, bool swiglu, const DeviceTraits& device) {
  if (rows > kMostFewRows || weights.tables_per_unit != 1) return kWholeTuning;
  const int pair = rows > 8 ? kMorePairTuning : kFewPairTuning;
  const int single = rows > 8 ? kMoreTuning : kFewTuning;
  // A smaller GPU has no room for the larger rings.
  constexpr int kFewestUnits = 8;
  const auto has_room = [&](int tuning) {
    return RoomForUnits(weights, tuning, rows, device) >= kFewestUnits;
  };
  if (!has_room(pair)) return kWholeTuning;
  if (swiglu || !has_room(single)) return pair;
  const auto cost = [&](int tuning) {
    return Cost(weights, BestSlices(weights, tuning, rows, swiglu, device), rows);
  };
  return cost(single) < cost(pair) ? single : pair;
}

}  // namespace

bool AwqTakes(const AwqWeights& weights, int tuning, int64_t rows, bool swiglu) {
  if (rows < 1 || rows > kAwqMaxRows) return false;
  if (swiglu &&
      (kAwqTunings[tuning].members != 2 || weights.out_features % (2 * kAwqTileColumns) != 0)) {
    return false;
  }
  return tuning == kWholeTuning || (rows <= kMostFewRows && weights.tables_per_unit == 1);
}

AwqPlan PlanAwq(const AwqWeights& weights, int64_t rows, bool swiglu, const DeviceTraits& device,
                int tuning) {
  if (tuning < 0) tuning = BestTuning(weights, rows, swiglu, device);
  const AwqPlan plan = BestSlices(weights, tuning, rows, swiglu, device);
  SKEIN_CHECK(plan.blocks > 0, "tuning %d needs %d bytes of shared memory", tuning,
              RingBytes(weights, tuning));
  return plan;
}

AwqPlan PlanAwqDeterministic(const AwqWeights& weights, bool swiglu, const DeviceTraits& device) {
  const int room = RoomForUnits(weights, kWholeTuning, kAwqMaxRows, device);
  SKEIN_CHECK(room > 0, "%d bytes of shared memory", device.shared_bytes);
  return Slice(weights, kWholeTuning, swiglu, CeilDiv(weights.units, room), device);
}

size_t AwqPartialBytes(const AwqWeights& weights, const AwqPlan& plan, int64_t rows) {
  if (plan.slices == 1) return 0;
  return static_cast<size_t>(plan.slices * rows * weights.padded_out) * sizeof(float);
}

}  // namespace skein::cuda
