// Attention of tiles of queries over a cache in float8, read as it lies there: by the tiled kernel
// everywhere. Hopper's own takes its tiles from memory as they are to be multiplied, so that it
// would need a copy in bfloat16 of all keys that a step reads, and memory for one. In deterministic
// mode, where this kernel takes decodes too, that is every sequence's whole context in every step.
#include "cuda/kernels/attention.h"
#include "cuda/kernels/attention_tiled.cuh"

namespace skein::cuda {
namespace {

struct PagedFloat8Source {
  static constexpr bool kIsFloat8 = true;
  PagedFloat8Keys k;
  int head_dim;
  __device__ int Place(const QueryTile& tile, int kv_head, int position) const {
    return tiled::PlaceInBlocks(k, tile, kv_head, position);
  }
};

}  // namespace

void PagedPrefillAttention(const AttentionArguments& arguments, const PagedFloat8Keys& keys,
                           const QueryTile* tiles, int num_tiles, int tile_rows, Stream& stream) {
  if (num_tiles == 0) return;
  SKEIN_CHECK(arguments.head_dim % 4 == 0, "head_dim %d", arguments.head_dim);
  tiled::LaunchForHeadDim<true>(arguments, PagedFloat8Source{keys, arguments.head_dim}, tiles,
                                num_tiles, tile_rows, stream);
}

}  // namespace skein::cuda
