#include "engine/picture_encoder.h"

#include <algorithm>

#include "model/plan_limits.h"

namespace skein {
namespace {

std::unique_ptr<Communicator> ConnectAlone() {
  const std::unique_ptr<CommunicatorBuilder> builder = MakeCommunicatorBuilder({});
  return builder->Connect({builder->LocalAddress()}, 0);
}

}  // namespace

PictureEncoder::PictureEncoder(Backend& backend, const LoadPlan& plan, const ModelWeights& weights,
                               Activations& activations)
    : backend_(backend),
      layout_(plan.layout),
      max_tiles_(plan.max_tiles_per_step),
      tokens_per_tile_(TokensPerTile(plan.vision)),
      alone_(ConnectAlone()),
      tower_(backend, plan.vision, plan.layout, weights.vision,
             TilesPerRank(plan.layout, plan.max_tiles_per_step), activations),
      projector_(backend, plan.vision, plan.layout, plan.text.hidden_size, weights.projector,
                 TilesPerRank(plan.layout, plan.max_tiles_per_step), activations) {
  const int64_t h = plan.text.hidden_size;
  tile_cache_ = activations.NewResidual(plan.num_tile_slots * tokens_per_tile_, h);
  if (layout_.vision_parallel == VisionParallel::kData) {
    const int64_t share = TilesPerRank(layout_, max_tiles_);
    gathered_ = activations.NewResidual(layout_.world_size * share * tokens_per_tile_, h);
  }
}

void PictureEncoder::Encode(std::span<const TileJob> jobs, Communicator& communicator) {
  for (size_t start = 0; start < jobs.size(); start += static_cast<size_t>(max_tiles_)) {
    const auto pass =
        jobs.subspan(start, std::min(jobs.size() - start, static_cast<size_t>(max_tiles_)));
    if (layout_.vision_parallel == VisionParallel::kData && layout_.world_size > 1) {
      EncodeDealt(pass, communicator);
    } else {
      EncodeCut(pass, communicator);
    }
  }
}

void PictureEncoder::EncodeCut(std::span<const TileJob> jobs, Communicator& communicator) {
  pixels_.clear();
  for (const TileJob& job : jobs) pixels_.push_back(job.pixels);
  const Matrix tokens = tower_.Forward(pixels_, communicator);
  const Matrix rows = projector_.Forward(tokens, static_cast<int64_t>(jobs.size()), communicator);
  Keep(rows, jobs, [](int64_t job) { return job; });
}

// Tile i of a pass is rank i mod world size's; each rank's block of the gathered rows holds
// ceil(tiles / world size) tiles, the last of which may be unused.
void PictureEncoder::EncodeDealt(std::span<const TileJob> jobs, Communicator& communicator) {
  const auto tiles = static_cast<int64_t>(jobs.size());
  const int64_t world = layout_.world_size, share = TilesPerRank(layout_, tiles);
  pixels_.clear();
  for (int64_t i = layout_.rank; i < tiles; i += world) {
    pixels_.push_back(jobs[static_cast<size_t>(i)].pixels);
  }
  const int64_t block_rows = share * tokens_per_tile_;
  const Matrix own_block = gathered_.Rows(layout_.rank * block_rows, block_rows);
  const void* own = own_block.data;
  if (!pixels_.empty()) {
    const Matrix tokens = tower_.Forward(pixels_, *alone_);
    own = projector_.Forward(tokens, static_cast<int64_t>(pixels_.size()), *alone_).data;
  }
  communicator.AllGather(own, gathered_.data,
                         static_cast<size_t>(block_rows) * gathered_.RowBytes(), backend_.stream());
  Keep(gathered_.Rows(0, world * block_rows), jobs,
       [world, share](int64_t job) { return job % world * share + job / world; });
}

void PictureEncoder::Keep(const Matrix& source, std::span<const TileJob> jobs,
                          const std::function<int64_t(int64_t)>& block_of) {
  source_rows_.clear();
  cache_rows_.clear();
  for (int64_t i = 0; i < static_cast<int64_t>(jobs.size()); ++i) {
    const int64_t from = block_of(i) * tokens_per_tile_;
    const int64_t to = jobs[static_cast<size_t>(i)].slot * tokens_per_tile_;
    for (int64_t t = 0; t < tokens_per_tile_; ++t) {
      source_rows_.push_back(static_cast<int32_t>(from + t));
      cache_rows_.push_back(static_cast<int32_t>(to + t));
    }
  }
  backend_.ScatterRows(source, source_rows_, cache_rows_, tile_cache_);
}

}  // namespace skein
