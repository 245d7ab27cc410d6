#include "cuda/step_metadata.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace skein::cuda {
namespace {

constexpr size_t kAlignment = 16;
constexpr size_t kInitialBytes = size_t{1} << 20;

}  // namespace

DeviceMetadata::~DeviceMetadata() {
  for (const cudaEvent_t event : copied_) {
    if (event != nullptr) cudaEventDestroy(event);
  }
}

template <typename T>
size_t DeviceMetadata::Append(const T* values, size_t count) {
  const size_t offset = (host_.size() + kAlignment - 1) / kAlignment * kAlignment;
  host_.resize(offset + count * sizeof(T));
  if (count > 0) std::memcpy(host_.data() + offset, values, count * sizeof(T));
  return offset;
}

void DeviceMetadata::Update(const StepMetadata& metadata) {
  host_.clear();
  rows_ = static_cast<int64_t>(metadata.token_ids.size());
  max_blocks_ = static_cast<int32_t>(metadata.max_blocks_per_sequence);
  token_ids_ = Append(metadata.token_ids.data(), metadata.token_ids.size());
  slot_of_row_ = Append(metadata.slot_of_row.data(), metadata.slot_of_row.size());
  positions_ = Append(metadata.positions.data(), metadata.positions.size());
  slot_mapping_ = Append(metadata.slot_mapping.data(), metadata.slot_mapping.size());
  block_tables_ = Append(metadata.block_tables.data(), metadata.block_tables.size());
  sample_rows_ = Append(metadata.sample_rows.data(), metadata.sample_rows.size());
  host_sample_rows_ = metadata.sample_rows;

  std::vector<QueryTile> decode, prefill;
  max_decode_splits_ = 1;
  for (const SequenceSpan& span : metadata.spans) {
    const int32_t first_position = span.context_length - span.num_queries;
    if (span.num_queries == 1) {
      decode.push_back({span.query_start, 1, first_position, span.context_length, span.table_row});
      max_decode_splits_ =
          std::max(max_decode_splits_, (span.context_length + kDecodeSplit - 1) / kDecodeSplit);
      continue;
    }
    for (int32_t done = 0; done < span.num_queries; done += kQueryTileRows) {
      prefill.push_back({span.query_start + done, std::min(kQueryTileRows, span.num_queries - done),
                         first_position + done, span.context_length, span.table_row});
    }
  }
  if (metadata.graph_bucket != 0) {
    for (auto row = static_cast<int32_t>(decode.size()); row < metadata.graph_bucket; ++row) {
      decode.push_back({row, 0, 0, 0, 0});
    }
    // A grid of its own for every length would be a recording for every length.
    max_decode_splits_ = static_cast<int>(std::bit_ceil(static_cast<unsigned>(max_decode_splits_)));
  }
  num_decode_tiles_ = static_cast<int>(decode.size());
  num_prefill_tiles_ = static_cast<int>(prefill.size());
  decode_tiles_ = Append(decode.data(), decode.size());
  prefill_tiles_ = Append(prefill.data(), prefill.size());

  current_ ^= 1;
  if (copied_[current_] == nullptr) {
    SKEIN_CUDA(cudaEventCreateWithFlags(&copied_[current_], cudaEventDisableTiming));
  } else {
    SKEIN_CUDA(cudaEventSynchronize(copied_[current_]));
  }
  PinnedMemory& staging = staging_[current_];
  if (staging.bytes() < host_.size()) staging = PinnedMemory(host_.size() * 2);
  if (device_.bytes() < host_.size()) {
    SKEIN_CUDA(cudaStreamSynchronize(stream_));
    device_ = DeviceMemory(std::max(host_.size() * 2, kInitialBytes));
    ++generation_;
  }
  std::memcpy(staging.data(), host_.data(), host_.size());
  SKEIN_CUDA(cudaMemcpyAsync(device_.data(), staging.data(), host_.size(), cudaMemcpyHostToDevice,
                             stream_));
  SKEIN_CUDA(cudaEventRecord(copied_[current_], stream_));
}

}  // namespace skein::cuda
