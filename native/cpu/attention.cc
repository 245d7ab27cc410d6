#include "cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "core/error.h"

namespace skein::cpu {
namespace {

// Pairs of query row and head that a thread takes at a time: they share each tile of keys and
// values that it brings in. Fewer where that leaves threads without work. How rows are dealt out
// does not touch their bits.
constexpr int64_t kRowsMin = 32;
constexpr int64_t kRowsMax = 256;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t RowsPerTask(int64_t total_rows, int num_threads) {
  return std::clamp(CeilDiv(total_rows, 4 * num_threads), kRowsMin, kRowsMax);
}

// What one thread needs for its rows; lives on its stack, of which only the part in use is touched.
struct Workspace {
  alignas(64) float q[kRowsMax * kMaxHeadDim];
  alignas(64) float keys[kAttentionTile * kMaxHeadDim];
  alignas(64) float values[kAttentionTile * kMaxHeadDim];
  alignas(64) float scores[kMaxTileRows * kAttentionTile];
  alignas(64) float out[kRowsMax * kMaxHeadDim];
  float row_max[kRowsMax];
  float row_sum[kRowsMax];
  int32_t valid[kRowsMax];
};

// Attention of up to kRowsMax rows over a context that `load_tile` brings in tile by tile.
class RowBlock {
 public:
  RowBlock(const KernelTable& kernels, int64_t head_dim, int64_t rows)
      : kernels_(kernels), head_dim_(head_dim), rows_(rows) {
    tile_rows_ = CeilDiv(rows, CeilDiv(rows, kernels.tile_rows));
    padded_ = CeilDiv(head_dim, kernels.panel_width) * kernels.panel_width;
    std::fill_n(w_.row_max, rows, -std::numeric_limits<float>::infinity());
    std::fill_n(w_.row_sum, rows, 0.0f);
    std::fill_n(w_.out, rows * padded_, 0.0f);
  }

  float* keys() { return w_.keys; }
  float* values() { return w_.values; }

  void SetQuery(int64_t row, const float* q) {
    const int64_t first = row / tile_rows_ * tile_rows_;
    const int64_t rows = std::min(tile_rows_, rows_ - first);
    float* tile = w_.q + first * head_dim_ + (row - first);
    for (int64_t k = 0; k < head_dim_; ++k) tile[k * rows] = q[k];
  }

  // visible(row): positions 0 .. visible - 1 of the context count for the row. load_tile(position,
  // count) fills keys() and values(), which are zero where it writes nothing.
  template <class Visible, class LoadTile>
  void Run(int64_t context, const Visible& visible, const LoadTile& load_tile) {
    AttentionTile tile;
    tile.q = w_.q;
    tile.rows = rows_;
    tile.tile_rows = tile_rows_;
    tile.head_dim = head_dim_;
    tile.keys = w_.keys;
    tile.values = w_.values;
    tile.valid = w_.valid;
    tile.scale = 1.0f / std::sqrt(static_cast<float>(head_dim_));
    tile.scores = w_.scores;
    tile.row_max = w_.row_max;
    tile.row_sum = w_.row_sum;
    tile.out = w_.out;
    tile.out_stride = padded_;
    // Columns beyond head_dim stay zero through all tiles.
    if (padded_ != head_dim_) std::fill_n(w_.values, kAttentionTile * padded_, 0.0f);
    for (int64_t position = 0; position < context; position += kAttentionTile) {
      const int64_t count = std::min(kAttentionTile, context - position);
      if (count < kAttentionTile) {
        std::fill_n(w_.keys, kAttentionTile * head_dim_, 0.0f);
        std::fill_n(w_.values, kAttentionTile * padded_, 0.0f);
      }
      for (int64_t row = 0; row < rows_; ++row) {
        w_.valid[row] =
            static_cast<int32_t>(std::clamp<int64_t>(visible(row) - position, 0, kAttentionTile));
      }
      load_tile(position, count);
      kernels_.attention_tile(tile);
    }
  }

  void Store(int64_t row, float* out) const {
    kernels_.multiply(w_.out + row * padded_, 1.0f / w_.row_sum[row], head_dim_, out);
  }

 private:
  const KernelTable& kernels_;
  int64_t head_dim_, rows_, tile_rows_, padded_;
  Workspace w_;
};

// Query heads of each KV head, ascending: heads[start[kv] .. start[kv + 1]).
struct HeadGroups {
  std::vector<int32_t> heads;
  std::vector<int64_t> start;
};

HeadGroups GroupHeads(std::span<const int32_t> q_to_kv, int64_t num_kv_heads) {
  HeadGroups groups;
  groups.start.push_back(0);
  for (int64_t kv = 0; kv < num_kv_heads; ++kv) {
    for (size_t head = 0; head < q_to_kv.size(); ++head) {
      if (q_to_kv[head] == kv) groups.heads.push_back(static_cast<int32_t>(head));
    }
    groups.start.push_back(static_cast<int64_t>(groups.heads.size()));
  }
  SKEIN_CHECK(groups.heads.size() == q_to_kv.size(), "a query head without a KV head");
  return groups;
}

// Rows [first, last) of the list of (query row, head of the group) pairs of one sequence and KV
// head, query row major.
struct PagedTask {
  const SequenceSpan* span;
  int64_t kv_head, first, last;
};

class PagedRunner {
 public:
  PagedRunner(const PagedAttentionCall& call, const KernelTable& kernels, int num_threads)
      : call_(call),
        kernels_(kernels),
        shape_(call.cache->shape()),
        groups_(GroupHeads(call.q_to_kv, shape_.num_kv_heads)) {
    int64_t total_rows = 0;
    for (const SequenceSpan& span : call.spans) {
      CheckBlocks(span);
      total_rows += span.num_queries * static_cast<int64_t>(call.q_to_kv.size());
    }
    const int64_t rows = RowsPerTask(total_rows, num_threads);
    for (const SequenceSpan& span : call.spans) {
      for (int64_t kv = 0; kv < shape_.num_kv_heads; ++kv) {
        const int64_t pairs = span.num_queries * (groups_.start[kv + 1] - groups_.start[kv]);
        for (int64_t first = 0; first < pairs; first += rows) {
          tasks_.push_back({&span, kv, first, std::min(first + rows, pairs)});
        }
      }
    }
  }

  int64_t num_tasks() const { return static_cast<int64_t>(tasks_.size()); }

  void Run(int64_t index) const {
    const PagedTask& task = tasks_[static_cast<size_t>(index)];
    const int64_t group = groups_.start[task.kv_head + 1] - groups_.start[task.kv_head];
    const int64_t d = shape_.head_dim;
    const int64_t rows = task.last - task.first;
    const int64_t first_position = task.span->context_length - task.span->num_queries;
    RowBlock block(kernels_, d, rows);
    const auto query_of = [&](int64_t row) { return (task.first + row) / group; };
    const auto element = [&](const Matrix& m, int64_t row) {
      const int64_t head = groups_.heads[groups_.start[task.kv_head] + (task.first + row) % group];
      return m.As<float>() + (task.span->query_start + query_of(row)) * m.stride + head * d;
    };
    for (int64_t row = 0; row < rows; ++row) block.SetQuery(row, element(call_.q, row));
    block.Run(
        first_position + query_of(rows - 1) + 1,
        [&](int64_t row) { return first_position + query_of(row) + 1; },
        [&](int64_t position, int64_t count) { LoadTile(task, position, count, block); });
    for (int64_t row = 0; row < rows; ++row) block.Store(row, element(call_.out, row));
  }

 private:
  void CheckBlocks(const SequenceSpan& span) const {
    const int64_t blocks = CeilDiv(span.context_length, shape_.block_size);
    SKEIN_CHECK(blocks <= call_.table_stride, "context of %d", span.context_length);
    const int32_t* table = call_.block_tables.data() + span.table_row * call_.table_stride;
    for (int64_t i = 0; i < blocks; ++i) {
      SKEIN_CHECK(table[i] >= 0 && table[i] < shape_.num_blocks, "block %d of %ld", table[i],
                  static_cast<long>(shape_.num_blocks));
    }
  }

  // Copies `count` positions from the cache, in runs that lie in one block and one key panel.
  void LoadTile(const PagedTask& task, int64_t position, int64_t count, RowBlock& block) const {
    const int64_t d = shape_.head_dim;
    const int64_t width = kernels_.panel_width;
    const int64_t size = shape_.block_size;
    const int32_t* table = call_.block_tables.data() + task.span->table_row * call_.table_stride;
    for (int64_t i = 0; i < count;) {
      const int64_t offset = (position + i) % size;
      const int64_t run = std::min({size - offset, width - i % width, count - i});
      const int64_t id = table[(position + i) / size];
      CopyKeys(id, task.kv_head, offset, run, block.keys() + i / width * width * d + i % width);
      CopyValues(id, task.kv_head, offset, run, block.values() + i * width);
      i += run;
    }
  }

  // `count` positions from `offset` on of one block to a panel of keys.
  void CopyKeys(int64_t id, int64_t kv_head, int64_t offset, int64_t count, float* out) const {
    const int64_t size = shape_.block_size;
    void* keys = call_.cache->Keys(call_.layer, id, kv_head);
    Copy(keys, offset, size, shape_.head_dim, count,
         {.column_scales = call_.cache->Scales(keys) + offset}, out);
  }

  // The same to the panels of values, of which each has other columns.
  void CopyValues(int64_t id, int64_t kv_head, int64_t offset, int64_t count, float* out) const {
    const int64_t d = shape_.head_dim;
    const int64_t width = kernels_.panel_width;
    void* values = call_.cache->Values(call_.layer, id, kv_head);
    for (int64_t c = 0; c < d; c += width) {
      Copy(values, offset * d + c, d, count, std::min(width, d - c),
           {.row_scales = call_.cache->Scales(values) + offset}, out + c * kAttentionTile);
    }
  }

  // To panels. `float8` has the scales, where there are any.
  void Copy(const void* source, int64_t start, int64_t stride, int64_t rows, int64_t cols,
            Float8Rows float8, float* out) const {
    const int64_t width = kernels_.panel_width;
    switch (call_.cache->type()) {
      case DType::kFloat8E4M3:
        float8.codes = static_cast<const uint8_t*>(source) + start;
        float8.stride = stride;
        return kernels_.copy_float8(float8, rows, cols, out, width);
      case DType::kBFloat16:
        return kernels_.copy_bf16(static_cast<const uint16_t*>(source) + start, stride, rows, cols,
                                  out, width);
      default:
        return kernels_.copy_float(static_cast<const float*>(source) + start, stride, rows, cols,
                                   out, width);
    }
  }

  const PagedAttentionCall& call_;
  const KernelTable& kernels_;
  const KvCacheShape& shape_;
  HeadGroups groups_;
  std::vector<PagedTask> tasks_;
};

}  // namespace

void RunPagedAttention(const PagedAttentionCall& call, const KernelTable& kernels,
                       ThreadPool& pool) {
  const PagedRunner runner(call, kernels, pool.num_threads());
  pool.ParallelFor(runner.num_tasks(), [&](int64_t index) { runner.Run(index); });
}

namespace {

// One head of one tile of pictures: q, k and v of its tokens lie `stride` apart.
struct VisionHead {
  const float* q;
  const float* k;
  const float* v;
  int64_t stride;
  int64_t head_dim;

  // Positions position .. position + count - 1 to the panels of `block`.
  void LoadTile(const KernelTable& kernels, int64_t position, int64_t count,
                RowBlock& block) const {
    const int64_t d = head_dim;
    const int64_t width = kernels.panel_width;
    for (int64_t i = 0; i < count; i += width) {
      const int64_t keys = std::min(width, count - i);
      const float* from = k + (position + i) * stride;
      float* to = block.keys() + i * d;
      for (int64_t c = 0; c < d; ++c) {
        for (int64_t j = 0; j < keys; ++j) to[c * width + j] = from[j * stride + c];
      }
    }
    for (int64_t c = 0; c < d; c += width) {
      kernels.copy_float(v + position * stride + c, stride, count, std::min(width, d - c),
                         block.values() + c * kAttentionTile, width);
    }
  }
};

}  // namespace

void RunVisionAttention(const VisionAttentionCall& call, const KernelTable& kernels,
                        ThreadPool& pool) {
  const int64_t d = call.head_dim;
  const int64_t per_task =
      RowsPerTask(call.tiles * call.num_heads * call.tokens, pool.num_threads());
  const int64_t chunks = CeilDiv(call.tokens, per_task);
  pool.ParallelFor(call.tiles * call.num_heads * chunks, [&](int64_t index) {
    // Equal chunks, rather than a last one of a few rows that has to bring in all keys for itself.
    const int64_t chunk = index % chunks;
    const int64_t first = call.tokens * chunk / chunks;
    const int64_t rows = call.tokens * (chunk + 1) / chunks - first;
    const int64_t head = index / chunks % call.num_heads;
    const int64_t first_token = index / chunks / call.num_heads * call.tokens;
    const int64_t stride = call.qkv.stride;
    const float* q = call.qkv.As<float>() + first_token * stride + head * d;
    const int64_t width = call.num_heads * d;
    const VisionHead source{q, q + width, q + 2 * width, stride, d};
    RowBlock block(kernels, d, rows);
    for (int64_t row = 0; row < rows; ++row) block.SetQuery(row, q + (first + row) * stride);
    block.Run(
        call.tokens, [&](int64_t) { return call.tokens; },
        [&](int64_t position, int64_t count) { source.LoadTile(kernels, position, count, block); });
    float* out = call.out.As<float>() + (first_token + first) * call.out.stride + head * d;
    for (int64_t row = 0; row < rows; ++row) block.Store(row, out + row * call.out.stride);
  });
}

}  // namespace skein::cpu
