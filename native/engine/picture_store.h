// Resident pictures: pixels until every tile is encoded, and which slots of the tile cache hold
// their outputs.
//
// A slot is claimed when its tile is encoded, not when the pixels arrive: pixels travel on a call
// of their own and may overtake the plan that releases the slot's former picture.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace skein {

struct Picture {
  std::vector<int32_t> tile_slots;
  std::vector<uint8_t> pixels;  // [tiles, side, side, 3]; empty once all tiles are encoded
  std::vector<bool> is_encoded;
  int64_t num_encoded = 0;

  int64_t num_tiles() const { return static_cast<int64_t>(tile_slots.size()); }
};

class PictureStore {
 public:
  // tile_bytes: side * side * 3.
  PictureStore(int64_t num_tile_slots, int64_t tile_bytes);

  // Throws INVALID_REQUEST for an id that is resident, slots out of range or doubled, a wrong
  // number of bytes, too many tiles.
  void Put(uint32_t picture_id, const std::vector<int32_t>& tile_slots,
           std::vector<uint8_t> pixels);
  const Picture* Find(uint32_t picture_id) const;
  void Release(uint32_t picture_id);

  const uint8_t* TilePixels(uint32_t picture_id, int64_t tile) const;
  // Picture that owns the output in this slot, or -1.
  int64_t OwnerOf(int32_t slot) const { return owners_[static_cast<size_t>(slot)]; }
  // The tile's output is in its slot now.
  void MarkEncoded(uint32_t picture_id, int64_t tile);

 private:
  int64_t tile_bytes_;
  int64_t num_tiles_ = 0;
  std::map<uint32_t, Picture> pictures_;
  std::vector<int64_t> owners_;
};

}  // namespace skein
