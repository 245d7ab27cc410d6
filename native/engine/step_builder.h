// Applies a checked plan to the sequences and lays out the step's rows: token ids, positions, KV
// slots, spans, and where picture rows go. Buffers are kept from step to step.
#pragma once

#include "engine/engine.h"
#include "engine/picture_store.h"
#include "engine/sequence_table.h"

namespace skein {

class StepBuilder {
 public:
  struct Shape {
    int64_t block_size = 0, max_step_tokens = 0, max_sequences = 0;
    int64_t tokens_per_tile = 0;
  };

  explicit StepBuilder(const Shape& shape);

  // Starts the new sequences and appends the new blocks.
  static void Apply(const StepPlan& plan, SequenceTable& sequences, const PictureStore& pictures);
  // Whether each of the plan's sequences has one row, which is sampled: the rows are then the
  // sample rows. The same on every rank.
  static bool SamplesEveryRow(const StepPlan& plan, const SequenceTable& sequences);
  // Lays out the rows, padded to the graph bucket. The result is valid until the next call.
  StepMetadata Build(const StepPlan& plan, int32_t graph_bucket, const SequenceTable& sequences,
                     const PictureStore& pictures);

  // Row i of the step numbered picture_rows()[i] takes row tile_cache_rows()[i] of the tile cache.
  std::span<const int32_t> tile_cache_rows() const { return tile_cache_rows_; }
  std::span<const int32_t> picture_rows() const { return picture_rows_; }

 private:
  void AddSequence(int32_t slot, int64_t tokens, const Sequence& sequence,
                   const PictureStore& pictures);
  void AddPictureRows(int64_t first_row, int64_t start, int64_t end, const Sequence& sequence,
                      const PictureStore& pictures);

  // Padding rows up to a graph bucket's number.
  void Pad(size_t rows);

  const Shape shape_;
  int64_t table_stride_ = 0;
  std::vector<int32_t> token_ids_, slot_of_row_, positions_, block_tables_, sample_rows_,
      sample_slots_, tile_cache_rows_, picture_rows_;
  std::vector<int64_t> slot_mapping_;
  std::vector<SequenceSpan> spans_;
};

}  // namespace skein
