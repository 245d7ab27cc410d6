// Launchers of the kernels in which the ranks of a host exchange through each other's memory
// (peer_words.cuh says how). Collective: every rank launches the same ones in the same order, on a
// stream of its own. Sums are taken in rank order in float32 and rounded once.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "cuda/kernels/elementwise.h"
#include "cuda/kernels/peer_view.h"
#include "cuda/stream.h"

namespace skein::cuda {

// The most blocks that the current device holds of any of these kernels at once.
int PeerBlockLimit();

// data [count] float or __nv_bfloat16, begins at a multiple of 16 bytes; the sum replaces it. Every
// rank sends all to all, (world_size - 1) * count elements must fit a slot, each rank's beginning
// at a multiple of 16 bytes.
template <typename T>
void PeerSum(const PeerView& view, T* data, int64_t count, int max_blocks, Stream& stream);
// The same in two steps: each rank sums a part and hands the sum on. Twice (world_size - 1) parts
// of 16 * ceil(count / (elements of 16 bytes) / world_size) bytes must fit a slot.
template <typename T>
void PeerSumInParts(const PeerView& view, T* data, int64_t count, int max_blocks, Stream& stream);

// receive: block r, `stride` words (4 bytes) after block r - 1, gets the `words` words that rank r
// sends. (world_size - 1) * words * 8 bytes, each rank's rounded up to 16, must fit a slot.
void PeerGather(const PeerView& view, const uint32_t* send, uint32_t* receive, int64_t words,
                int64_t stride, int max_blocks, Stream& stream);

// Columns that the fused kernel takes at most.
inline constexpr int64_t kMostPeerNormColumns = 6144;

// residual += scale * (sum over the ranks of partial + bias); normed = Norm(residual) where given:
// the bits of PeerSum and AddResidualNorm. cols and the strides are multiples of 8; partial [rows,
// cols] is contiguous and stays as it is. (world_size - 1) * rows * cols elements must fit a slot.
template <typename T>
struct PeerNormRows {
  const T* partial;
  int64_t rows, cols;
  const float* bias;   // [cols] or null
  const float* scale;  // [cols] or null
  float* residual;
  int64_t residual_stride;
  bool has_norm;
  NormArguments norm;
  __nv_bfloat16* normed;
  int64_t normed_stride;
};
template <typename T>
void PeerSumResidualNorm(const PeerView& view, const PeerNormRows<T>& rows, int max_blocks,
                         Stream& stream);

}  // namespace skein::cuda
