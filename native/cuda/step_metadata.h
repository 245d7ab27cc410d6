// A step's metadata on the device: gathered in one pinned staging buffer, sent in one piece. Block
// tables follow in a second one, where they are not those of the step before: a decode's change
// once a block and sequence. Only what the step's longest sequence has of them is sent.
#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "cuda/device_memory.h"
#include "cuda/kernels/attention.h"
#include "cuda/step_inputs.h"
#include "cuda/stream.h"
#include "ops/backend.h"

namespace skein::cuda {

class DeviceMetadata {
 public:
  // `uniform_rows`: the prefill kernel takes decode rows too, so that a row's bits do not depend on
  // how its sequence was cut into chunks. `before_move` runs before the arrays move, which recorded
  // graphs would not survive; after Reserve they move only for a step beyond the limits.
  DeviceMetadata(Stream& stream, int num_processors, bool uniform_rows,
                 std::function<void()> before_move)
      : stream_(stream), uniform_rows_(uniform_rows), before_move_(std::move(before_move)) {
    decode_shape_.num_processors = num_processors;
  }
  ~DeviceMetadata();
  DeviceMetadata(const DeviceMetadata&) = delete;
  DeviceMetadata& operator=(const DeviceMetadata&) = delete;

  void Reserve(const StepLimits& limits);
  // Copies. Steps of one graph bucket have their arrays at the same places, which it checks, and
  // send them with the step's other inputs.
  void Update(const StepMetadata& metadata, StepInputs& inputs);
  // The inputs that Update added to are placed on the stream.
  void Sent();
  // The next step of each bucket may have another layout: no recording refers to the last one.
  void ForgetBuckets() { bucket_layouts_.clear(); }

  int64_t rows() const { return rows_; }
  const int32_t* token_ids() const { return Device<int32_t>(token_ids_); }
  const int32_t* slot_of_row() const { return Device<int32_t>(slot_of_row_); }
  const int32_t* positions() const { return Device<int32_t>(positions_); }
  const int64_t* slot_mapping() const { return Device<int64_t>(slot_mapping_); }
  const int32_t* block_tables() const { return tables_.As<int32_t>(); }
  // From one sequence's table to the next: in steps of a graph bucket as Reserve said.
  int32_t max_blocks() const { return max_blocks_; }
  const int32_t* sample_rows() const { return Device<int32_t>(sample_rows_); }
  // Whether these are the sample rows that Update was given: then they are on the device already.
  bool AreSampleRows(std::span<const int32_t> rows) const {
    return rows.data() == host_sample_rows_.data() && rows.size() == host_sample_rows_.size();
  }
  // Sequences with one row go to the decode kernel, which has a list of shares of them, the others,
  // cut in tiles, to the prefill kernel.
  const DecodeShare* decode_shares() const { return Device<DecodeShare>(decode_shares_); }
  int num_decode_shares() const { return num_decode_shares_; }
  int num_decode_tiles() const { return num_decode_tiles_; }
  const QueryTile* prefill_tiles() const { return Device<QueryTile>(prefill_tiles_); }
  int num_prefill_tiles() const { return num_prefill_tiles_; }
  // At most, of each tile; the same for every step of a graph bucket.
  int prefill_tile_rows() const { return prefill_tile_rows_; }

 private:
  struct BucketLayout {
    size_t bytes;
    int32_t max_blocks;
    bool operator==(const BucketLayout&) const = default;
  };

  template <typename T>
  const T* Device(size_t offset) const {
    return reinterpret_cast<const T*>(static_cast<const char*>(device_.data()) + offset);
  }
  // Adds `count` elements to what will be sent; returns their offset.
  template <typename T>
  size_t Append(const T* values, size_t count);
  void FillTiles(const StepMetadata& metadata);
  // The list that decode_ is dealt to.
  void FillShares(bool is_recorded);
  // Room for so many bytes of arrays and, beside them, of block tables.
  void GrowTo(size_t array_bytes, size_t table_bytes);
  void Send(const StepMetadata& metadata, StepInputs& inputs);

  Stream& stream_;
  const bool uniform_rows_;
  const std::function<void()> before_move_;
  // Two staging buffers: one may still be on its way when the next step is prepared.
  PinnedMemory staging_[2];
  cudaEvent_t copied_[2] = {nullptr, nullptr};
  int current_ = 0;
  std::vector<char> host_;
  std::vector<DecodeTile> decode_;
  std::vector<DecodeShare> shares_;
  std::vector<QueryTile> prefill_;
  // As Reserve said; before, lists are dealt for another model, which costs time and nothing else.
  DecodeShape decode_shape_;
  DeviceMemory device_, tables_;
  // The tables that lie there, rows of `sent_width_` blocks that begin `sent_stride_` apart.
  std::vector<int32_t> sent_tables_;
  int64_t sent_width_ = 0, sent_stride_ = 0;
  int32_t reserved_blocks_ = 0;
  std::map<int32_t, BucketLayout> bucket_layouts_;
  int64_t rows_ = 0;
  int32_t max_blocks_ = 0;
  int num_decode_tiles_ = 0, num_decode_shares_ = 0, num_prefill_tiles_ = 0, prefill_tile_rows_ = 1;
  size_t token_ids_ = 0, slot_of_row_ = 0, positions_ = 0, slot_mapping_ = 0, sample_rows_ = 0,
         decode_shares_ = 0, prefill_tiles_ = 0;
  std::span<const int32_t> host_sample_rows_;
};

}  // namespace skein::cuda
