// A step's metadata on the device: gathered in one pinned staging buffer, sent in one copy.
#pragma once

#include <cuda_runtime.h>

#include <span>
#include <vector>

#include "cuda/device_memory.h"
#include "cuda/kernels/attention.h"
#include "ops/backend.h"

namespace skein::cuda {

class DeviceMetadata {
 public:
  explicit DeviceMetadata(cudaStream_t stream) : stream_(stream) {}
  ~DeviceMetadata();

  // Copies; grows its buffers when a step is larger than any before (outside graphs only).
  void Update(const StepMetadata& metadata);

  int64_t rows() const { return rows_; }
  const int32_t* token_ids() const { return Device<int32_t>(token_ids_); }
  const int32_t* slot_of_row() const { return Device<int32_t>(slot_of_row_); }
  const int32_t* positions() const { return Device<int32_t>(positions_); }
  const int64_t* slot_mapping() const { return Device<int64_t>(slot_mapping_); }
  const int32_t* block_tables() const { return Device<int32_t>(block_tables_); }
  int32_t max_blocks() const { return max_blocks_; }
  const int32_t* sample_rows() const { return Device<int32_t>(sample_rows_); }
  // Whether these are the sample rows that Update was given: then they are on the device already.
  bool AreSampleRows(std::span<const int32_t> rows) const {
    return rows.data() == host_sample_rows_.data() && rows.size() == host_sample_rows_.size();
  }
  // Changes when the arrays move; steps of one graph bucket and one number of splits have them at
  // the same places otherwise.
  int generation() const { return generation_; }
  // Sequences with one row go to the decode kernel, the others, cut in tiles, to the prefill
  // kernel.
  const QueryTile* decode_tiles() const { return Device<QueryTile>(decode_tiles_); }
  int num_decode_tiles() const { return num_decode_tiles_; }
  int max_decode_splits() const { return max_decode_splits_; }
  const QueryTile* prefill_tiles() const { return Device<QueryTile>(prefill_tiles_); }
  int num_prefill_tiles() const { return num_prefill_tiles_; }

 private:
  template <typename T>
  const T* Device(size_t offset) const {
    return reinterpret_cast<const T*>(static_cast<const char*>(device_.data()) + offset);
  }
  // Reserves `count` elements in the staging buffer and copies them there; returns the offset.
  template <typename T>
  size_t Append(const T* values, size_t count);

  cudaStream_t stream_;
  // Two staging buffers: one may still be on its way when the next step is prepared.
  PinnedMemory staging_[2];
  cudaEvent_t copied_[2] = {nullptr, nullptr};
  int current_ = 0;
  std::vector<char> host_;
  DeviceMemory device_;
  int64_t rows_ = 0;
  int32_t max_blocks_ = 0;
  int num_decode_tiles_ = 0, max_decode_splits_ = 0, num_prefill_tiles_ = 0;
  size_t token_ids_ = 0, slot_of_row_ = 0, positions_ = 0, slot_mapping_ = 0, block_tables_ = 0,
         sample_rows_ = 0, decode_tiles_ = 0, prefill_tiles_ = 0;
  std::span<const int32_t> host_sample_rows_;
  int generation_ = 0;
};

}  // namespace skein::cuda
