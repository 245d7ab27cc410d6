// Hopper's attention kernel (attention_warpgroup.cuh) for the launchers of attention.h.
#pragma once

#include "cuda/kernels/attention.h"

namespace skein::cuda::warpgroup {

// Whether this device has the kernel, and the kernel takes these.
bool Takes(const AttentionArguments& arguments, const PagedKeys& keys);
bool Takes(const AttentionArguments& arguments, const ContiguousKeys& keys);

void Attend(const AttentionArguments& arguments, const PagedKeys& keys, const HeadGroups& groups,
            const QueryTile* tiles, int num_tiles, int tile_rows, const FixedRuns& runs,
            Stream& stream);
void Attend(const AttentionArguments& arguments, const ContiguousKeys& keys, const QueryTile* tiles,
            int num_tiles, int tile_rows, Stream& stream);

}  // namespace skein::cuda::warpgroup
