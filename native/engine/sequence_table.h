// What the engine knows of each running sequence, by slot: its tokens, how far they are computed,
// its blocks and pictures. Plain state; the plan check decides what may be done to it, the step
// builder reads it.
#pragma once

#include <cstdint>
#include <vector>

namespace skein {

// A picture's rows in a sequence: positions first_position .. first_position + num_tiles * tokens
// per tile - 1.
struct PlacedPicture {
  uint32_t picture_id = 0;
  int64_t first_position = 0, num_tiles = 0;
};

// A token that the back end has sampled and the host has not seen yet.
constexpr int32_t kTokenOnDevice = -1;

struct Sequence {
  bool is_live = false;
  std::vector<int32_t> token_ids;  // known: prompt, and what was sampled, if only on the device
  int64_t num_computed = 0;        // positions whose keys and values are in the cache
  std::vector<int32_t> blocks;
  std::vector<PlacedPicture> pictures;

  int64_t num_known() const { return static_cast<int64_t>(token_ids.size()); }
};

class SequenceTable {
 public:
  explicit SequenceTable(int64_t max_sequences) : slots_(static_cast<size_t>(max_sequences)) {}

  int64_t size() const { return static_cast<int64_t>(slots_.size()); }
  Sequence& at(int64_t slot) { return slots_[static_cast<size_t>(slot)]; }
  const Sequence& at(int64_t slot) const { return slots_[static_cast<size_t>(slot)]; }

  void Release(int64_t slot) { at(slot) = Sequence(); }

 private:
  std::vector<Sequence> slots_;
};

}  // namespace skein
