#include "cuda/device_tables.h"

#include <algorithm>
#include <cmath>

#include "cuda/device_copy.h"

namespace skein::cuda {
namespace {

template <typename T>
DeviceMemory Copy(const std::vector<T>& values) {
  DeviceMemory memory(values.size() * sizeof(T));
  CopyAndWait(memory.data(), values.data(), memory.bytes());
  return memory;
}

}  // namespace

const float* DeviceTables::InverseFrequencies(int64_t head_dim, double theta) {
  DeviceMemory& table = frequencies_[{head_dim, theta}];
  if (table.data() == nullptr) {
    std::vector<float> values(static_cast<size_t>(head_dim / 2));
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<float>(
          std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim)));
    }
    table = Copy(values);
  }
  return table.As<float>();
}

const DeviceTables::HeadMap& DeviceTables::MapOf(std::span<const int32_t> q_to_kv,
                                                 int64_t num_kv_heads) {
  HeadMap& map = head_maps_[{num_kv_heads, {q_to_kv.begin(), q_to_kv.end()}}];
  if (map.q_to_kv.data() == nullptr) {
    std::vector<int32_t> start(static_cast<size_t>(num_kv_heads) + 1,
                               static_cast<int32_t>(q_to_kv.size()));
    for (size_t head = q_to_kv.size(); head-- > 0;) {
      start[static_cast<size_t>(q_to_kv[head])] = static_cast<int32_t>(head);
    }
    // A KV head that no query head uses has an empty range.
    for (size_t kv = start.size() - 1; kv-- > 0;) {
      start[kv] = std::min(start[kv], start[kv + 1]);
      map.max_group = std::max(map.max_group, start[kv + 1] - start[kv]);
    }
    map.q_to_kv = Copy(std::vector<int32_t>(q_to_kv.begin(), q_to_kv.end()));
    map.kv_q_start = Copy(start);
  }
  return map;
}

const DeviceTables::TileList& DeviceTables::VisionTiles(int64_t tiles, int64_t tokens,
                                                        int tile_rows) {
  TileList& list = vision_tiles_[{tiles, tokens, tile_rows}];
  if (list.count == 0) {
    std::vector<QueryTile> values;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      for (int64_t row = 0; row < tokens; row += tile_rows) {
        values.push_back({static_cast<int32_t>(tile * tokens + row),
                          static_cast<int32_t>(std::min<int64_t>(tile_rows, tokens - row)),
                          static_cast<int32_t>(row), static_cast<int32_t>(tokens),
                          static_cast<int32_t>(tile * tokens)});
      }
    }
    std::stable_partition(values.begin(), values.end(),
                          [&](const QueryTile& tile) { return tile.num_rows == tile_rows; });
    list.tiles = Copy(values);
    list.count = static_cast<int>(values.size());
  }
  return list;
}

}  // namespace skein::cuda
