// Small tables that kernels read and no step changes, made on the device when first asked for.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "cuda/device_memory.h"
#include "cuda/kernels/attention.h"

namespace skein::cuda {

class DeviceTables {
 public:
  struct HeadMap {
    DeviceMemory q_to_kv, kv_q_start;
    int max_group = 0;  // most query heads of a KV head
  };
  struct TileList {
    DeviceMemory tiles;  // QueryTile
    int count = 0;
  };

  // float32 [head_dim / 2]: theta^(-2 i / head_dim).
  const float* InverseFrequencies(int64_t head_dim, double theta);
  const HeadMap& MapOf(std::span<const int32_t> q_to_kv, int64_t num_kv_heads);
  // Query tiles of `tiles` pictures' worth of `tokens` rows, those that are not full at the end.
  const TileList& VisionTiles(int64_t tiles, int64_t tokens, int tile_rows);

 private:
  std::map<std::pair<int64_t, double>, DeviceMemory> frequencies_;
  std::map<std::pair<int64_t, std::vector<int32_t>>, HeadMap> head_maps_;
  std::map<std::vector<int64_t>, TileList> vision_tiles_;
};

}  // namespace skein::cuda
