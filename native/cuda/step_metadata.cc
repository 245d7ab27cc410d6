#include "cuda/step_metadata.h"

#include <algorithm>
#include <cstring>

namespace skein::cuda {
namespace {

constexpr size_t kAlignment = 16;
constexpr size_t kInitialBytes = size_t{1} << 20;

size_t Aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

DecodeCut CutOf(const DecodeShape& shape, int num_tiles) {
  return CutFor(shape, num_tiles, shape.ChooseVariant(num_tiles));
}

// Most query heads of a KV head.
int MaxGroup(std::span<const int32_t> q_to_kv) {
  int most = 1;
  for (size_t i = 0, first = 0; i < q_to_kv.size(); ++i) {
    if (q_to_kv[i] != q_to_kv[first]) first = i;
    most = std::max(most, static_cast<int>(i - first) + 1);
  }
  return most;
}

}  // namespace

DeviceMetadata::~DeviceMetadata() {
  for (const cudaEvent_t event : copied_) {
    if (event != nullptr) cudaEventDestroy(event);
  }
}

void DeviceMetadata::Reserve(const StepLimits& limits) {
  int64_t rows = limits.max_rows, sequences = limits.max_sequences;
  for (const int32_t bucket : limits.graph_buckets) {
    rows = std::max<int64_t>(rows, bucket);
    sequences = std::max<int64_t>(sequences, bucket);
  }
  // Every sequence may end in a tile that is not full.
  const int64_t tiles = sequences + rows / kSmallTileRows;
  const auto row_count = static_cast<size_t>(rows), sequence_count = static_cast<size_t>(sequences);
  reserved_blocks_ = static_cast<int32_t>(limits.max_blocks_per_sequence);
  const size_t num_blocks = sequence_count * static_cast<size_t>(limits.max_blocks_per_sequence);
  size_t shares = 0;
  if (!uniform_rows_ && limits.num_kv_heads > 0) {
    decode_shape_.num_kv_heads = static_cast<int>(limits.num_kv_heads);
    decode_shape_.max_group = MaxGroup(limits.q_to_kv);
    decode_shape_.head_dim = static_cast<int>(limits.head_dim);
    decode_shape_.max_keys = static_cast<int>(limits.max_blocks_per_sequence * limits.block_size);
    decode_shape_.has_float8_cache = limits.has_float8_cache;
    // Not always most for most sequences: fewer may have shorter runs.
    for (int count = 1; count <= static_cast<int>(sequences); ++count) {
      shares = std::max(shares, static_cast<size_t>(CutOf(decode_shape_, count).num_shares));
    }
  }
  GrowTo(3 * Aligned(row_count * sizeof(int32_t)) + Aligned(row_count * sizeof(int64_t)) +
             Aligned(sequence_count * sizeof(int32_t)) + Aligned(shares * sizeof(DecodeShare)) +
             Aligned(static_cast<size_t>(tiles) * sizeof(QueryTile)),
         num_blocks * sizeof(int32_t));
  sent_tables_.reserve(num_blocks);
  decode_.reserve(sequence_count);
  shares_.reserve(shares);
  prefill_.reserve(static_cast<size_t>(tiles));
}

void DeviceMetadata::GrowTo(size_t array_bytes, size_t table_bytes) {
  array_bytes = std::max(array_bytes, device_.bytes());
  table_bytes = std::max(table_bytes, tables_.bytes());
  if (array_bytes == device_.bytes() && table_bytes == tables_.bytes()) return;
  before_move_();
  stream_.Synchronize();
  device_ = DeviceMemory(array_bytes);
  tables_ = DeviceMemory(table_bytes);
  sent_tables_.clear();
  for (PinnedMemory& staging : staging_) staging = PinnedMemory(Aligned(array_bytes) + table_bytes);
  host_.reserve(array_bytes);
}

template <typename T>
size_t DeviceMetadata::Append(const T* values, size_t count) {
  const size_t offset = Aligned(host_.size());
  host_.resize(offset + count * sizeof(T));
  if (count > 0) std::memcpy(host_.data() + offset, values, count * sizeof(T));
  return offset;
}

void DeviceMetadata::Update(const StepMetadata& metadata, StepInputs& inputs) {
  host_.clear();
  rows_ = static_cast<int64_t>(metadata.token_ids.size());
  max_blocks_ = static_cast<int32_t>(metadata.max_blocks_per_sequence);
  // A recorded step has a fixed stride.
  if (metadata.graph_bucket != 0) max_blocks_ = std::max(max_blocks_, reserved_blocks_);
  token_ids_ = Append(metadata.token_ids.data(), metadata.token_ids.size());
  slot_of_row_ = Append(metadata.slot_of_row.data(), metadata.slot_of_row.size());
  positions_ = Append(metadata.positions.data(), metadata.positions.size());
  slot_mapping_ = Append(metadata.slot_mapping.data(), metadata.slot_mapping.size());
  sample_rows_ = Append(metadata.sample_rows.data(), metadata.sample_rows.size());
  host_sample_rows_ = metadata.sample_rows;
  FillTiles(metadata);
  FillShares(metadata.graph_bucket != 0);
  num_decode_tiles_ = static_cast<int>(decode_.size());
  num_decode_shares_ = static_cast<int>(shares_.size());
  num_prefill_tiles_ = static_cast<int>(prefill_.size());
  decode_shares_ = Append(shares_.data(), shares_.size());
  prefill_tiles_ = Append(prefill_.data(), prefill_.size());
  if (metadata.graph_bucket != 0) {
    const BucketLayout layout{host_.size(), max_blocks_};
    const auto [found, is_new] = bucket_layouts_.emplace(metadata.graph_bucket, layout);
    SKEIN_CHECK(is_new || found->second == layout,
                "a step of bucket %d has %zu bytes and %d blocks a sequence, not %zu and %d",
                metadata.graph_bucket, layout.bytes, layout.max_blocks, found->second.bytes,
                found->second.max_blocks);
  }
  Send(metadata, inputs);
}

void DeviceMetadata::FillTiles(const StepMetadata& metadata) {
  int32_t most = 1;
  for (const SequenceSpan& span : metadata.spans) most = std::max(most, span.num_queries);
  // Beside decodes, which fill no tile, the larger pays only where there are long prompts.
  const int32_t tile_rows = most == 1                ? 1
                            : most <= kSmallTileRows ? kSmallTileRows
                                                     : kLargeTileRows;
  prefill_tile_rows_ = tile_rows;
  decode_.clear();
  prefill_.clear();
  for (const SequenceSpan& span : metadata.spans) {
    const int32_t first_position = span.context_length - span.num_queries;
    if (span.num_queries == 1 && !uniform_rows_) {
      decode_.push_back({span.query_start, span.context_length, span.table_row});
      continue;
    }
    for (int32_t done = 0; done < span.num_queries; done += tile_rows) {
      prefill_.push_back({span.query_start + done, std::min(tile_rows, span.num_queries - done),
                          first_position + done, span.context_length, span.table_row});
    }
  }
  // Those of most keys begin first: what is left at the end is short.
  std::stable_sort(prefill_.begin(), prefill_.end(), [](const QueryTile& a, const QueryTile& b) {
    return a.first_position + a.num_rows > b.first_position + b.num_rows;
  });
  // One tile for every row of the bucket; those of padded rows are empty.
  const size_t filled = uniform_rows_ ? prefill_.size() : decode_.size();
  for (auto row = static_cast<int32_t>(filled); row < metadata.graph_bucket; ++row) {
    uniform_rows_ ? prefill_.push_back({row, 0, 0, 0, 0}) : decode_.push_back({row, 0, 0});
  }
}

void DeviceMetadata::FillShares(bool is_recorded) {
  shares_.clear();
  if (decode_.empty()) return;
  const DecodeCut cut = CutOf(decode_shape_, static_cast<int>(decode_.size()));
  shares_.resize(static_cast<size_t>(cut.num_shares));
  const int used = DealDecodes(decode_, cut, shares_);
  // A recording has a fixed number of blocks, idle ones among them; other steps need none.
  if (!is_recorded) shares_.resize(static_cast<size_t>(used));
}

void DeviceMetadata::Send(const StepMetadata& metadata, StepInputs& inputs) {
  const std::span<const int32_t> tables = metadata.block_tables;
  const int64_t width = metadata.max_blocks_per_sequence;
  const auto num_tables = width == 0 ? size_t{0} : tables.size() / static_cast<size_t>(width);
  const size_t stride_bytes = static_cast<size_t>(max_blocks_) * sizeof(int32_t);
  if (device_.bytes() < host_.size() || tables_.bytes() < num_tables * stride_bytes) {
    GrowTo(std::max(host_.size() * 2, kInitialBytes), num_tables * stride_bytes * 2);
  }
  current_ ^= 1;
  if (copied_[current_] == nullptr) {
    SKEIN_CUDA(cudaEventCreateWithFlags(&copied_[current_], cudaEventDisableTiming));
  } else {
    SKEIN_CUDA(cudaEventSynchronize(copied_[current_]));
  }
  char* const staging = staging_[current_].data();
  std::memcpy(staging, host_.data(), host_.size());
  const bool is_input = metadata.graph_bucket != 0;
  if (is_input) {
    inputs.Add(device_.data(), staging, host_.size());
  } else {
    SKEIN_CUDA(cudaMemcpyAsync(device_.data(), staging, host_.size(), cudaMemcpyHostToDevice,
                               stream_.ForDriver()));
  }
  const bool are_there =
      width == sent_width_ && max_blocks_ == sent_stride_ &&
      std::equal(tables.begin(), tables.end(), sent_tables_.begin(), sent_tables_.end());
  if (num_tables > 0 && !are_there) {
    char* const staged = staging + Aligned(device_.bytes());
    const size_t row_bytes = static_cast<size_t>(width) * sizeof(int32_t);
    std::memcpy(staged, tables.data(), tables.size_bytes());
    SKEIN_CUDA(cudaMemcpy2DAsync(tables_.data(), stride_bytes, staged, row_bytes, row_bytes,
                                 num_tables, cudaMemcpyHostToDevice, stream_.ForDriver()));
    sent_tables_.assign(tables.begin(), tables.end());
    sent_width_ = width;
    sent_stride_ = max_blocks_;
  }
  if (!is_input) Sent();
}

void DeviceMetadata::Sent() { SKEIN_CUDA(cudaEventRecord(copied_[current_], stream_.ForDriver())); }

}  // namespace skein::cuda
