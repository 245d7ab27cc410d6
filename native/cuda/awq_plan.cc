// How a product with AWQ weights is spread over the GPU.
#include <algorithm>
#include <span>

#include "core/error.h"
#include "cuda/kernels/awq.h"

namespace skein::cuda {
namespace {

constexpr int kWholeTuning = kAwqWhole;
// Tunings of one tile and of two tiles at a time, for up to 8 rows and for up to 16.
constexpr int kFewTuning = 0, kFewPairTuning = 2;
constexpr int kMoreTuning = 1, kMorePairTuning = 3;
constexpr int64_t kMostFewRows = 16;
// Whole tunings: of a tile, for few jobs a block and for many, up to 8 rows and up to 16; of two.
constexpr int kWholeFew = 7, kWholeMany = 8, kWholeManyRows = 9;
constexpr int kWholePairFew = 10, kWholePairFewRows = 11;
constexpr int kWholePairMany = 12, kWholePairManyRows = 13;
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
  plan.slices = static_cast<int>(std::min<int64_t>(slices, weights.units));
  plan.units_per_slice = CeilDiv(weights.units, plan.slices);
  plan.chunks = plan.parts = 1;
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
  return rows <= kAwqTunings[tuning].most_rows &&
         (tuning == kWholeTuning || weights.tables_per_unit == 1);
}

AwqPlan PlanAwq(const AwqWeights& weights, int64_t rows, bool swiglu, const DeviceTraits& device,
                int tuning) {
  if (tuning < 0) tuning = BestTuning(weights, rows, swiglu, device);
  const AwqPlan plan = BestSlices(weights, tuning, rows, swiglu, device);
  SKEIN_CHECK(plan.blocks > 0, "tuning %d needs %d bytes of shared memory", tuning,
              RingBytes(weights, tuning));
  return plan;
}

bool AwqHasExactWide(const AwqWeights& weights, const DeviceTraits& device) {
  return device.has_warpgroups && weights.tables_per_unit == 1 && weights.group_offset % 8 == 0 &&
         weights.out_features % 8 == 0;
}

// Chosen for an H100 or H200, whatever runs: a multiprocessor should have enough jobs (a chunk of a
// tile) for its warps where rows are few, and where they are more, clusters of the wide kernel
// pieces that come out even.
int AwqChunks(const AwqWeights& weights) {
  constexpr int kMultiprocessors = 132, kClusters = 66, kPieceColumns = 256;
  // x of 16 rows has room for as many; shorter chunks are not worth their ends.
  constexpr int kMostUnits = 36, kFewestUnits = 5, kMostChunks = 16;
  // All inputs of 16 rows have room: warps of a block share a tile's chunks, a job each.
  constexpr int kAllUnits = 40, kFewestJobs = 8, kMostJobs = 16;
  constexpr double kChunkEnd = 0.03;
  const auto units = static_cast<int>(weights.units);
  const int tiles = CeilDiv(CeilDiv(weights.out_features, kAwqTileColumns), kMultiprocessors);
  const int pieces = CeilDiv(weights.out_features, kPieceColumns);
  const int fewest = CeilDiv(units, kMostUnits);
  int best = fewest;
  double best_cost = 0;
  for (int chunks = fewest; chunks <= std::max(fewest, std::min(units / kFewestUnits, kMostChunks));
       ++chunks) {
    const int rest = CeilDiv(static_cast<int64_t>(pieces % kClusters) * chunks, kClusters);
    double cost =
        (pieces / kClusters + static_cast<double>(rest) / chunks) * (1 + kChunkEnd * chunks);
    if (units <= kAllUnits && tiles < kMostJobs) {
      if (tiles * chunks < kFewestJobs) cost *= 1.25;
      if (tiles * chunks > kMostJobs) cost *= 2;
    }
    if (chunks != fewest && cost >= best_cost) continue;
    best = chunks;
    best_cost = cost;
  }
  return best;
}

AwqPlan PlanAwqDeterministic(const AwqWeights& weights, int64_t rows, bool swiglu,
                             const DeviceTraits& device) {
  if (!AwqHasExactWide(weights, device)) {
    const int room = RoomForUnits(weights, kWholeTuning, kAwqMaxRows, device);
    SKEIN_CHECK(room > 0, "%d bytes of shared memory", device.shared_bytes);
    return Slice(weights, kWholeTuning, swiglu, CeilDiv(weights.units, room), device);
  }
  // A block has so many groups that warps have enough to do with whole ones.
  constexpr int kEnoughGroups = 7, kEnoughPairs = 6;
  const int chunks = AwqChunks(weights);
  const auto plan_for = [&](int tuning, int slices) {
    AwqPlan plan = Slice(weights, tuning, swiglu, slices, device);
    const bool fits = rows <= kAwqTunings[tuning].most_rows &&
                      RoomForUnits(weights, tuning, rows, device) >= plan.units_per_slice;
    if (!fits) plan.blocks = 0;
    return plan;
  };
  // One slice: warps have whole groups, or a chunk each.
  const auto whole_plan = [&](int tuning) {
    AwqPlan plan = plan_for(tuning, 1);
    if (plan.blocks == 0) return plan;
    const int groups = CeilDiv(plan.groups, plan.blocks);
    plan.chunks = chunks;
    if (groups < (swiglu ? kEnoughPairs : kEnoughGroups)) plan.parts = chunks;
    if (chunks > 1 && rows > kAwqMostChunkRows) plan.blocks = 0;
    if (plan.parts > 1 && groups * chunks > kAwqTunings[tuning].warps) plan.blocks = 0;
    return plan;
  };
  const auto jobs = [](const AwqPlan& plan) {
    return plan.blocks == 0 ? 0 : CeilDiv(plan.groups, plan.blocks) * plan.parts;
  };
  constexpr int kSingles[] = {kWholeFew, kWholeMany, kWholeManyRows, kWholeTuning};
  constexpr int kPairs[] = {kWholePairFew, kWholePairMany, kWholePairFewRows, kWholePairManyRows,
                            kWholeTuning};
  const std::span<const int> tunings =
      swiglu ? std::span<const int>(kPairs) : std::span<const int>(kSingles);
  for (const bool in_slices : {false, true}) {
    AwqPlan best{};
    for (const int tuning : tunings) {
      const AwqPlan plan = in_slices ? plan_for(tuning, chunks) : whole_plan(tuning);
      if (plan.blocks == 0) continue;
      // Turns of the busiest warp; of as many, the first tuning has the deepest rings.
      const auto turns = [&](const AwqPlan& each) {
        return CeilDiv(jobs(each), kAwqTunings[each.tuning].warps) *
               kAwqTunings[each.tuning].members;
      };
      if (best.blocks == 0 || turns(plan) < turns(best)) best = plan;
    }
    if (best.blocks != 0) return best;
  }
  return {};
}

size_t AwqPartialBytes(const AwqWeights& weights, const AwqPlan& plan, int64_t rows) {
  if (plan.slices == 1) return 0;
  return static_cast<size_t>(plan.slices * rows * weights.padded_out) * sizeof(float);
}

}  // namespace skein::cuda
