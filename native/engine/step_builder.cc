#include "engine/step_builder.h"

#include <algorithm>

#include "kv/kv_layout.h"

namespace skein {

StepBuilder::StepBuilder(const Shape& shape) : shape_(shape) {
  const auto rows = static_cast<size_t>(shape.max_step_tokens);
  const auto sequences = static_cast<size_t>(shape.max_sequences);
  for (std::vector<int32_t>* rows_of :
       {&token_ids_, &slot_of_row_, &positions_, &tile_cache_rows_, &picture_rows_}) {
    rows_of->reserve(rows);
  }
  slot_mapping_.reserve(rows);
  spans_.reserve(sequences);
  sample_rows_.reserve(sequences);
  sample_slots_.reserve(sequences);
}

void StepBuilder::Apply(const StepPlan& plan, SequenceTable& sequences,
                        const PictureStore& pictures) {
  for (const NewSequence& fresh : plan.new_sequences) {
    Sequence& sequence = sequences.at(fresh.slot);
    sequence.is_live = true;
    sequence.token_ids = fresh.token_ids;
    sequence.num_computed = fresh.num_computed_tokens;
    for (const PicturePlacement& placement : fresh.pictures) {
      sequence.pictures.push_back({placement.picture_id, placement.first_position,
                                   pictures.Find(placement.picture_id)->num_tiles()});
    }
  }
  for (size_t i = 0; i < plan.new_blocks.size(); i += 2) {
    sequences.at(plan.new_blocks[i]).blocks.push_back(plan.new_blocks[i + 1]);
  }
}

bool StepBuilder::SamplesEveryRow(const StepPlan& plan, const SequenceTable& sequences) {
  for (size_t i = 0; i < plan.scheduled_slots.size(); ++i) {
    const Sequence& sequence = sequences.at(plan.scheduled_slots[i]);
    if (plan.scheduled_tokens[i] != 1 || sequence.num_computed + 1 != sequence.num_known()) {
      return false;
    }
  }
  return true;
}

StepMetadata StepBuilder::Build(const StepPlan& plan, int32_t graph_bucket,
                                const SequenceTable& sequences, const PictureStore& pictures) {
  token_ids_.clear();
  slot_of_row_.clear();
  positions_.clear();
  slot_mapping_.clear();
  spans_.clear();
  sample_rows_.clear();
  sample_slots_.clear();
  tile_cache_rows_.clear();
  picture_rows_.clear();
  table_stride_ = 1;
  for (const int32_t slot : plan.scheduled_slots) {
    table_stride_ = std::max(table_stride_, static_cast<int64_t>(sequences.at(slot).blocks.size()));
  }
  block_tables_.assign(plan.scheduled_slots.size() * static_cast<size_t>(table_stride_), 0);
  for (size_t i = 0; i < plan.scheduled_slots.size(); ++i) {
    const int32_t slot = plan.scheduled_slots[i];
    AddSequence(slot, plan.scheduled_tokens[i], sequences.at(slot), pictures);
  }
  if (graph_bucket != 0) Pad(static_cast<size_t>(graph_bucket));
  StepMetadata metadata;
  metadata.token_ids = token_ids_;
  metadata.slot_of_row = slot_of_row_;
  metadata.positions = positions_;
  metadata.slot_mapping = slot_mapping_;
  metadata.spans = spans_;
  metadata.block_tables = block_tables_;
  metadata.max_blocks_per_sequence = table_stride_;
  metadata.sample_rows = sample_rows_;
  metadata.sample_slots = sample_slots_;
  metadata.graph_bucket = graph_bucket;
  return metadata;
}

void StepBuilder::AddSequence(int32_t slot, int64_t tokens, const Sequence& sequence,
                              const PictureStore& pictures) {
  const auto first_row = static_cast<int64_t>(token_ids_.size());
  const int64_t start = sequence.num_computed, end = start + tokens;
  for (int64_t position = start; position < end; ++position) {
    token_ids_.push_back(sequence.token_ids[static_cast<size_t>(position)]);
    slot_of_row_.push_back(slot);
    positions_.push_back(static_cast<int32_t>(position));
    slot_mapping_.push_back(SlotOf(sequence.blocks, position, shape_.block_size));
  }
  const auto table_row = static_cast<int32_t>(spans_.size());
  std::copy(sequence.blocks.begin(), sequence.blocks.end(),
            block_tables_.begin() + table_row * table_stride_);
  spans_.push_back({static_cast<int32_t>(first_row), static_cast<int32_t>(tokens),
                    static_cast<int32_t>(end), table_row});
  AddPictureRows(first_row, start, end, sequence, pictures);
  if (end == sequence.num_known()) {
    sample_rows_.push_back(static_cast<int32_t>(first_row + tokens - 1));
    sample_slots_.push_back(slot);
  }
}

void StepBuilder::Pad(size_t rows) {
  token_ids_.resize(rows, 0);
  slot_of_row_.resize(rows, 0);
  positions_.resize(rows, 0);
  slot_mapping_.resize(rows, -1);
  sample_rows_.resize(rows, 0);
}

void StepBuilder::AddPictureRows(int64_t first_row, int64_t start, int64_t end,
                                 const Sequence& sequence, const PictureStore& pictures) {
  for (const PlacedPicture& placed : sequence.pictures) {
    const int64_t from = std::max(start, placed.first_position);
    const int64_t to =
        std::min(end, placed.first_position + placed.num_tiles * shape_.tokens_per_tile);
    if (from >= to) continue;
    const Picture& picture = *pictures.Find(placed.picture_id);
    for (int64_t position = from; position < to; ++position) {
      const int64_t offset = position - placed.first_position;
      const int64_t tile_slot =
          picture.tile_slots[static_cast<size_t>(offset / shape_.tokens_per_tile)];
      tile_cache_rows_.push_back(static_cast<int32_t>(tile_slot * shape_.tokens_per_tile +
                                                      offset % shape_.tokens_per_tile));
      picture_rows_.push_back(static_cast<int32_t>(first_row + position - start));
    }
  }
}

}  // namespace skein
