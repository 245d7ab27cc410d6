// Attention of the decoder (causal, over the paged cache) and of the vision tower (bidirectional).
// Both walk the context in tiles at absolute positions with an online softmax, so a row's bits
// depend on nothing but the row and what it may see.
#pragma once

#include <cstdint>
#include <span>

#include "core/thread_pool.h"
#include "cpu/cpu_kv_cache.h"
#include "cpu/kernels.h"
#include "ops/backend.h"

namespace skein::cpu {

// As Backend::PagedAttention. `block_tables` has `table_stride` entries a row.
struct PagedAttentionCall {
  Matrix q;    // [n, heads * d]
  Matrix out;  // [n, heads * d]
  const CpuKvCache* cache = nullptr;
  int64_t layer = 0;
  std::span<const int32_t> q_to_kv;
  std::span<const SequenceSpan> spans;
  std::span<const int32_t> block_tables;
  int64_t table_stride = 0;
};
void RunPagedAttention(const PagedAttentionCall& call, const KernelTable& kernels,
                       ThreadPool& pool);

// As Backend::VisionAttention.
struct VisionAttentionCall {
  Matrix qkv;  // [tiles * tokens, 3 * heads * d]
  Matrix out;  // [tiles * tokens, heads * d]
  int64_t tiles = 0;
  int64_t tokens = 0;
  int64_t num_heads = 0;
  int64_t head_dim = 0;
};
void RunVisionAttention(const VisionAttentionCall& call, const KernelTable& kernels,
                        ThreadPool& pool);

}  // namespace skein::cpu
