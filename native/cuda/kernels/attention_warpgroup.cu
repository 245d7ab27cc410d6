// The launches of Hopper's attention kernel and its tensor maps.
#include <algorithm>

#include "cuda/cuda_check.h"
#include "cuda/kernels/attention_warpgroup.cuh"
#include "cuda/kernels/attention_warpgroup.h"
#include "cuda/kernels/device_traits.h"
#include "cuda/kernels/tensor_map.h"

namespace skein::cuda::warpgroup {
namespace {

// Copies of sixteen bytes.
bool AreAligned(const AttentionArguments& a, const void* keys, const void* values) {
  const auto is_aligned = [](const void* place) {
    return reinterpret_cast<uint64_t>(place) % 16 == 0;
  };
  return a.head_dim % 8 == 0 && a.head_dim <= 128 && a.q_stride % 8 == 0 && a.out_stride % 2 == 0 &&
         is_aligned(a.q) && is_aligned(keys) && is_aligned(values) &&
         reinterpret_cast<uint64_t>(a.out) % 4 == 0;
}

template <int kD, bool kPaged, bool kInRuns = false>
void Launch(const KeyMaps& maps, const Operands& p, Stream& stream) {
  using Kernel = Attention<kD, kPaged, kInRuns>;
  const auto kernel = AttentionKernel<kD, kPaged, kInRuns>;
  static const bool raised = [&] {
    SKEIN_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    Kernel::kSharedBytes));
    return true;
  }();
  static_cast<void>(raised);
  const int64_t pieces = int64_t{p.num_tiles} * p.num_kv_heads * p.pieces_per_head *
                         (p.runs.is_split() ? p.runs.max_runs : 1);
  const int64_t blocks = std::min<int64_t>(pieces, CurrentDeviceTraits().multiprocessors);
  LaunchOverlapped(kernel, dim3(static_cast<unsigned>(blocks)), dim3(Kernel::kThreads),
                   Kernel::kSharedBytes, stream, maps, p);
}

int PiecesOf(int group, int tile_rows) { return (group * tile_rows + kPieceRows - 1) / kPieceRows; }

}  // namespace

bool Takes(const AttentionArguments& arguments, const PagedKeys& keys) {
  return AreAligned(arguments, keys.keys, keys.values) && keys.block_size % kBoxKeys == 0 &&
         CurrentDeviceTraits().has_warpgroups;
}

bool Takes(const AttentionArguments& arguments, const ContiguousKeys& keys) {
  return AreAligned(arguments, keys.keys, keys.values) && keys.row_stride % 8 == 0 &&
         CurrentDeviceTraits().has_warpgroups;
}

void Attend(const AttentionArguments& arguments, const PagedKeys& keys, const HeadGroups& groups,
            const QueryTile* tiles, int num_tiles, int tile_rows, const FixedRuns& runs,
            Stream& stream) {
  const int64_t row_bytes = int64_t{arguments.head_dim} * 2;
  const auto map = [&](const __nv_bfloat16* rows) {
    return MakeTensorMap<2>(
        rows, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
        {arguments.head_dim, int64_t{keys.num_blocks} * keys.num_kv_heads * keys.block_size},
        {row_bytes}, {64, kBoxKeys}, CU_TENSOR_MAP_SWIZZLE_128B);
  };
  Operands p{};
  p.a = arguments;
  p.kv_q_start = groups.kv_q_start;
  p.num_kv_heads = keys.num_kv_heads;
  p.tiles = tiles;
  p.num_tiles = num_tiles;
  p.pieces_per_head = PiecesOf(groups.max_group, tile_rows);
  p.block_tables = keys.block_tables;
  p.max_blocks = keys.max_blocks;
  p.block_size = keys.block_size;
  p.values = keys.values;
  p.runs = runs;
  // The heads of a group are rows of one warpgroup there.
  SKEIN_CHECK(!runs.is_split() || (tile_rows == 1 && groups.max_group <= kMostSplitHeads),
              "%d rows, groups of %d", tile_rows, groups.max_group);
  const bool is_small = arguments.head_dim <= 64;
  const auto launch = runs.kept != nullptr
                          ? (is_small ? Launch<64, true, true> : Launch<128, true, true>)
                          : (is_small ? Launch<64, true> : Launch<128, true>);
  launch({map(keys.keys), map(keys.values)}, p, stream);
}

void Attend(const AttentionArguments& arguments, const ContiguousKeys& keys, const QueryTile* tiles,
            int num_tiles, int tile_rows, Stream& stream) {
  const auto map = [&](const __nv_bfloat16* rows) {
    const int64_t row_bytes = keys.row_stride * 2;
    return MakeTensorMap<4>(
        rows, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
        {arguments.head_dim, arguments.num_heads, keys.sequence_rows, keys.num_sequences},
        {int64_t{arguments.head_dim} * 2, row_bytes, row_bytes * keys.sequence_rows},
        {64, 1, Shape<128, false>::kKeys, 1}, CU_TENSOR_MAP_SWIZZLE_128B);
  };
  Operands p{};
  p.a = arguments;
  p.num_kv_heads = arguments.num_heads;
  p.tiles = tiles;
  p.num_tiles = num_tiles;
  p.pieces_per_head = PiecesOf(1, tile_rows);
  p.sequence_rows = keys.sequence_rows;
  p.num_full_tiles = std::min(num_tiles, keys.sequence_rows / tile_rows * keys.num_sequences);
  (arguments.head_dim <= 64 ? Launch<64, false>
                            : Launch<128, false>)({map(keys.keys), map(keys.values)}, p, stream);
}

}  // namespace skein::cuda::warpgroup
