#include "engine/picture_store.h"

#include "core/error.h"

namespace skein {

PictureStore::PictureStore(int64_t num_tile_slots, int64_t tile_bytes)
    : tile_bytes_(tile_bytes), owners_(static_cast<size_t>(num_tile_slots), -1) {}

void PictureStore::Put(uint32_t picture_id, const std::vector<int32_t>& tile_slots,
                       std::vector<uint8_t> pixels) {
  const auto num_slots = static_cast<int64_t>(owners_.size());
  const auto tiles = static_cast<int64_t>(tile_slots.size());
  if (num_slots == 0) throw Error("INVALID_REQUEST", "pictureId: the model takes no pictures");
  if (pictures_.contains(picture_id)) {
    throw Error("INVALID_REQUEST", Format("pictureId: %u is resident already", picture_id));
  }
  // Twice the slots: every slot's present picture, and the one that follows it.
  if (tiles < 1 || tiles > num_slots || num_tiles_ + tiles > 2 * num_slots) {
    throw Error("INVALID_REQUEST",
                Format("tileSlots: %lld tiles beside %lld resident ones; there are %lld tile slots",
                       static_cast<long long>(tiles), static_cast<long long>(num_tiles_),
                       static_cast<long long>(num_slots)));
  }
  std::vector<bool> is_used(owners_.size(), false);
  for (size_t i = 0; i < tile_slots.size(); ++i) {
    const int32_t slot = tile_slots[i];
    if (slot < 0 || slot >= num_slots || is_used[static_cast<size_t>(slot)]) {
      throw Error("INVALID_REQUEST", Format("tileSlots[%zu]: %d is given twice or not below %lld",
                                            i, slot, static_cast<long long>(num_slots)));
    }
    is_used[static_cast<size_t>(slot)] = true;
  }
  if (static_cast<int64_t>(pixels.size()) != tiles * tile_bytes_) {
    throw Error("INVALID_REQUEST",
                Format("pixels: %zu bytes, %lld tiles need %lld", pixels.size(),
                       static_cast<long long>(tiles), static_cast<long long>(tiles * tile_bytes_)));
  }
  Picture& picture = pictures_[picture_id];
  picture.tile_slots = tile_slots;
  picture.pixels = std::move(pixels);
  picture.is_encoded.assign(tile_slots.size(), false);
  num_tiles_ += tiles;
}

const Picture* PictureStore::Find(uint32_t picture_id) const {
  const auto found = pictures_.find(picture_id);
  return found == pictures_.end() ? nullptr : &found->second;
}

void PictureStore::Release(uint32_t picture_id) {
  const auto found = pictures_.find(picture_id);
  if (found == pictures_.end()) return;
  for (const int32_t slot : found->second.tile_slots) {
    int64_t& owner = owners_[static_cast<size_t>(slot)];
    if (owner == picture_id) owner = -1;
  }
  num_tiles_ -= found->second.num_tiles();
  pictures_.erase(found);
}

const uint8_t* PictureStore::TilePixels(uint32_t picture_id, int64_t tile) const {
  return pictures_.at(picture_id).pixels.data() + tile * tile_bytes_;
}

void PictureStore::MarkEncoded(uint32_t picture_id, int64_t tile) {
  Picture& picture = pictures_.at(picture_id);
  picture.is_encoded[static_cast<size_t>(tile)] = true;
  owners_[static_cast<size_t>(picture.tile_slots[static_cast<size_t>(tile)])] = picture_id;
  if (++picture.num_encoded == picture.num_tiles()) {
    picture.pixels.clear();
    picture.pixels.shrink_to_fit();
  }
}

}  // namespace skein
