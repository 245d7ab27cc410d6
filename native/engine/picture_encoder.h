// Runs tiles through tower and projector, in passes of bounded size, and keeps their rows in the
// tile cache. With the tower cut over the ranks every rank runs every tile; with a whole tower on
// each rank tiles are dealt out and the outputs gathered.
#pragma once

#include "model/activations.h"
#include "model/projector.h"
#include "model/vision_tower.h"

namespace skein {

struct TileJob {
  TilePixels pixels = nullptr;
  int32_t slot = 0;  // of the tile cache
};

class PictureEncoder {
 public:
  PictureEncoder(Backend& backend, const LoadPlan& plan, const ModelWeights& weights,
                 Activations& activations);

  void Encode(std::span<const TileJob> jobs, Communicator& communicator);
  // [tile slots * tokens per tile, text hidden size].
  const Matrix& tile_cache() const { return tile_cache_; }

 private:
  void EncodeCut(std::span<const TileJob> jobs, Communicator& communicator);
  void EncodeDealt(std::span<const TileJob> jobs, Communicator& communicator);
  // source row block `block` of tokens_per_tile rows goes to the job's slot.
  void Keep(const Matrix& source, std::span<const TileJob> jobs,
            const std::function<int64_t(int64_t)>& block_of);

  Backend& backend_;
  const RankLayout layout_;
  const int64_t max_tiles_, tokens_per_tile_;
  std::unique_ptr<Communicator> alone_;
  VisionTower tower_;
  Projector projector_;
  Matrix tile_cache_, gathered_;
  std::vector<TilePixels> pixels_;
  std::vector<int32_t> source_rows_, cache_rows_;
};

}  // namespace skein
