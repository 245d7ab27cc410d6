// Attention of tiles of queries over keys and values in bfloat16: which kernel takes it.
#include "cuda/kernels/attention.h"
#include "cuda/kernels/attention_tiled.cuh"
#include "cuda/kernels/attention_warpgroup.h"

namespace skein::cuda {
namespace {

// Key `position` of the tile's sequence lies at Keys() + Place() * Stride().
struct PagedSource {
  static constexpr bool kIsFloat8 = false;
  PagedKeys k;
  int head_dim;
  __device__ int Place(const QueryTile& tile, int kv_head, int position) const {
    return tiled::PlaceInBlocks(k, tile, kv_head, position);
  }
  __device__ int64_t Stride() const { return head_dim; }
  __device__ const __nv_bfloat16* Keys(int /*kv_head*/) const { return k.keys; }
  __device__ const __nv_bfloat16* Values(int /*kv_head*/) const { return k.values; }
};

struct ContiguousSource {
  static constexpr bool kIsFloat8 = false;
  ContiguousKeys k;
  int head_dim;
  __device__ int Place(const QueryTile& tile, int /*kv_head*/, int position) const {
    return tile.table_row + position;
  }
  __device__ int64_t Stride() const { return k.row_stride; }
  __device__ const __nv_bfloat16* Keys(int kv_head) const {
    return k.keys + static_cast<int64_t>(kv_head) * head_dim;
  }
  __device__ const __nv_bfloat16* Values(int kv_head) const {
    return k.values + static_cast<int64_t>(kv_head) * head_dim;
  }
};

}  // namespace

void PagedPrefillAttention(const AttentionArguments& arguments, const PagedKeys& keys,
                           const HeadGroups& groups, const QueryTile* tiles, int num_tiles,
                           int tile_rows, Stream& stream, AttentionKernel kernel,
                           const FixedRuns& runs) {
  if (num_tiles == 0) return;
  if (kernel == AttentionKernel::kBest && warpgroup::Takes(arguments, keys)) {
    warpgroup::Attend(arguments, keys, groups, tiles, num_tiles, tile_rows, runs, stream);
    return;
  }
  tiled::LaunchForHeadDim<true>(arguments, PagedSource{keys, arguments.head_dim}, tiles, num_tiles,
                                tile_rows, stream);
}

void ContiguousAttention(const AttentionArguments& arguments, const ContiguousKeys& keys,
                         const QueryTile* tiles, int num_tiles, int tile_rows, Stream& stream,
                         AttentionKernel kernel) {
  if (num_tiles == 0) return;
  if (kernel == AttentionKernel::kBest && warpgroup::Takes(arguments, keys)) {
    warpgroup::Attend(arguments, keys, tiles, num_tiles, tile_rows, stream);
    return;
  }
  tiled::LaunchForHeadDim<false>(arguments, ContiguousSource{keys, arguments.head_dim}, tiles,
                                 num_tiles, tile_rows, stream);
}

}  // namespace skein::cuda
