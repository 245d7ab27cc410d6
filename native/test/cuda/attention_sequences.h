// What attention tests attend over: head groups, and sequences in a paged cache with the metadata
// of their steps.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "ops/backend.h"

namespace skein {

struct AttentionCase {
  int64_t head_dim;
  std::vector<int32_t> q_to_kv;
  int64_t num_heads() const { return static_cast<int64_t>(q_to_kv.size()); }
  int64_t num_kv_heads() const { return q_to_kv.back() + 1; }
  int64_t width() const { return (num_heads() + 2 * num_kv_heads()) * head_dim; }
};

inline AttentionCase Grouped(int64_t head_dim, int64_t kv_heads, int64_t group) {
  AttentionCase c{head_dim, {}};
  for (int64_t head = 0; head < kv_heads * group; ++head) {
    c.q_to_kv.push_back(static_cast<int32_t>(head / group));
  }
  return c;
}

inline constexpr int64_t kBlockSize = 16;

// Sequences over one cache whose blocks lie in a shuffled order; makes the metadata of steps.
class Sequences {
 public:
  Sequences(int64_t count, int64_t max_length, uint32_t seed)
      : table_width_((max_length + kBlockSize - 1) / kBlockSize + 1),
        blocks_(static_cast<size_t>(count * table_width_ + 3)) {
    std::iota(blocks_.begin(), blocks_.end(), 0);
    std::shuffle(blocks_.begin(), blocks_.end(), std::mt19937(seed));
  }
  int64_t num_blocks() const { return static_cast<int64_t>(blocks_.size()); }
  int64_t table_width() const { return table_width_; }

  // One part of a step: rows of `sequence` up to `context` positions.
  struct Part {
    int32_t sequence, context, rows;
  };
  // Tables have what the longest sequence of the step has. The metadata refers to this object and
  // stands until the next call.
  const StepMetadata& Step(const std::vector<Part>& parts, int32_t bucket = 0) {
    ids_.clear(), slots_.clear(), positions_.clear(), mapping_.clear(), spans_.clear(),
        tables_.clear();
    int32_t longest = 1;
    for (const Part& part : parts) longest = std::max(longest, part.context);
    const int64_t width = (longest + kBlockSize - 1) / kBlockSize;
    for (const Part& part : parts) {
      const int32_t* table = blocks_.data() + part.sequence * table_width_;
      spans_.push_back({static_cast<int32_t>(ids_.size()), part.rows, part.context,
                        static_cast<int32_t>(spans_.size())});
      tables_.insert(tables_.end(), table, table + width);
      for (int32_t position = part.context - part.rows; position < part.context; ++position) {
        ids_.push_back(1), slots_.push_back(part.sequence), positions_.push_back(position);
        mapping_.push_back(int64_t{table[position / kBlockSize]} * kBlockSize +
                           position % kBlockSize);
      }
    }
    if (bucket != 0) {
      const auto rows = static_cast<size_t>(bucket);
      ids_.resize(rows, 0), slots_.resize(rows, 0), positions_.resize(rows, 0);
      mapping_.resize(rows, -1);
    }
    metadata_ = {};
    metadata_.token_ids = ids_, metadata_.slot_of_row = slots_, metadata_.positions = positions_;
    metadata_.slot_mapping = mapping_, metadata_.spans = spans_, metadata_.block_tables = tables_;
    metadata_.max_blocks_per_sequence = width;
    metadata_.graph_bucket = bucket;
    return metadata_;
  }

 private:
  int64_t table_width_;
  std::vector<int32_t> blocks_, ids_, slots_, positions_, tables_;
  std::vector<int64_t> mapping_;
  std::vector<SequenceSpan> spans_;
  StepMetadata metadata_;
};

}  // namespace skein
