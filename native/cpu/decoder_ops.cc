// The ops of the decoder: checks of shapes and loops over rows around the kernels.
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "cpu/attention.h"
#include "cpu/cpu_backend.h"
#include "cpu/cpu_kv_cache.h"
#include "cpu/cpu_linear.h"
#include "cpu/matrix_rows.h"
#include "cpu/parallel_rows.h"

namespace skein::cpu {
namespace {

void CopyRow(const Matrix& from, int64_t from_row, const Matrix& to, int64_t to_row) {
  SKEIN_CHECK(from_row >= 0 && from_row < from.rows && to_row >= 0 && to_row < to.rows,
              "row %ld of %ld to row %ld of %ld", static_cast<long>(from_row),
              static_cast<long>(from.rows), static_cast<long>(to_row), static_cast<long>(to.rows));
  std::memcpy(to.Rows(to_row, 1).data, from.Rows(from_row, 1).data, from.RowBytes());
}

}  // namespace

void CpuBackend::EmbedTokens(const Matrix& table, int64_t vocab_start, int64_t valid_rows,
                             const Matrix& out) {
  CheckFloat(out, static_cast<int64_t>(step_.token_ids.size()), table.cols, "embedded tokens");
  SKEIN_CHECK(valid_rows <= table.rows, "%ld valid rows of %ld", static_cast<long>(valid_rows),
              static_cast<long>(table.rows));
  for (int64_t i = 0; i < out.rows; ++i) {
    const int64_t row = step_.token_ids[static_cast<size_t>(i)] - vocab_start;
    if (row < 0 || row >= valid_rows) {
      std::memset(Row(out, i), 0, out.RowBytes());
    } else if (table.type == DType::kBFloat16) {
      kernels_.bf16_to_float(table.As<uint16_t>() + row * table.stride, table.cols, Row(out, i));
    } else {
      std::memcpy(Row(out, i), Row(table, row), out.RowBytes());
    }
  }
}

void CpuBackend::ScatterRows(const Matrix& source, std::span<const int32_t> source_rows,
                             std::span<const int32_t> rows, const Matrix& out) {
  SKEIN_CHECK(
      source_rows.size() == rows.size() && source.type == out.type && source.cols == out.cols,
      "%zu source rows, %zu rows", source_rows.size(), rows.size());
  for (size_t i = 0; i < rows.size(); ++i) CopyRow(source, source_rows[i], out, rows[i]);
}

void CpuBackend::GatherRows(const Matrix& source, std::span<const int32_t> rows,
                            const Matrix& out) {
  SKEIN_CHECK(source.type == out.type && source.cols == out.cols &&
                  out.rows == static_cast<int64_t>(rows.size()),
              "%zu rows into %ld", rows.size(), static_cast<long>(out.rows));
  for (size_t i = 0; i < rows.size(); ++i) {
    CopyRow(source, rows[i], out, static_cast<int64_t>(i));
  }
}

void CpuBackend::NormRow(const float* x, const NormWeights& norm, int64_t cols, float* out) const {
  if (norm.kind == NormKind::kRms) {
    kernels_.rms_norm(x, norm.weight, norm.eps, cols, out);
  } else {
    kernels_.layer_norm(x, norm.weight, norm.bias, norm.eps, cols, out);
  }
}

void CpuBackend::Norm(const Matrix& x, const NormWeights& norm, const Matrix& out) {
  CheckFloat(x, out.rows, out.cols, "norm input");
  CheckFloat(out, x.rows, x.cols, "norm output");
  ForEachRow(pool_, x.rows, x.cols,
             [&](int64_t row) { NormRow(Row(x, row), norm, x.cols, Row(out, row)); });
}

void CpuBackend::Linear(const PreparedLinear& linear, const Matrix& x, Activation activation,
                        const Matrix& out) {
  const auto& own = static_cast<const CpuLinear&>(linear);
  SKEIN_CHECK(scratch_.bytes() >= own.ScratchBytes(), "a linear of another back end");
  own.Multiply(x, activation, out, pool_, scratch_.data());
}

void CpuBackend::AllReduceResidualNorm(Communicator& communicator, const Matrix& partial,
                                       const float* bias, const float* scale,
                                       const Matrix& residual, const NormWeights* norm,
                                       const Matrix* normed) {
  CheckFloat(partial, residual.rows, residual.cols, "partial sums");
  CheckFloat(residual, partial.rows, partial.cols, "residual");
  SKEIN_CHECK((norm == nullptr) == (normed == nullptr), "norm and normed go together");
  if (normed != nullptr) CheckFloat(*normed, partial.rows, partial.cols, "normed");
  if (communicator.world_size() > 1) {
    SKEIN_CHECK(partial.stride == partial.cols, "partial sums must be contiguous");
    communicator.AllReduce(partial.data, partial.rows * partial.cols, DType::kFloat32,
                           ReduceOp::kSum, stream());
  }
  ForEachRow(pool_, partial.rows, partial.cols, [&](int64_t row) {
    kernels_.add_residual(Row(partial, row), bias, scale, partial.cols, Row(residual, row));
    if (normed != nullptr) NormRow(Row(residual, row), *norm, partial.cols, Row(*normed, row));
  });
}

void CpuBackend::FillRotaryTable(double theta, int64_t half) {
  if (rotary_.theta == theta && rotary_.half == half) return;
  rotary_.theta = theta;
  rotary_.half = half;
  const size_t entries = step_.positions.size() * static_cast<size_t>(half);
  rotary_.cosine.resize(entries);
  rotary_.sine.resize(entries);
  std::vector<float> frequencies(static_cast<size_t>(half));
  for (int64_t i = 0; i < half; ++i) {
    const double exponent = -static_cast<double>(i) / static_cast<double>(half);
    frequencies[static_cast<size_t>(i)] = static_cast<float>(std::pow(theta, exponent));
  }
  // The angle is rounded to float32, as the reference does; its cosine is taken in double, so that
  // the bits do not depend on a vector unit.
  ForEachRow(pool_, static_cast<int64_t>(step_.positions.size()), half * 16, [&](int64_t row) {
    const float position = static_cast<float>(step_.positions[static_cast<size_t>(row)]);
    for (int64_t i = 0; i < half; ++i) {
      const double angle = position * frequencies[static_cast<size_t>(i)];
      rotary_.cosine[static_cast<size_t>(row * half + i)] = static_cast<float>(std::cos(angle));
      rotary_.sine[static_cast<size_t>(row * half + i)] = static_cast<float>(std::sin(angle));
    }
  });
}

void CpuBackend::RotaryStoreKv(const Matrix& qkv, KvCache& cache, int64_t layer, int64_t num_heads,
                               double rope_theta) {
  const auto& paged = static_cast<CpuKvCache&>(cache);
  const KvCacheShape& shape = paged.shape();
  const int64_t d = shape.head_dim;
  const int64_t size = shape.block_size;
  CheckFloat(qkv, static_cast<int64_t>(step_.positions.size()),
             (num_heads + 2 * shape.num_kv_heads) * d, "qkv");
  SKEIN_CHECK(layer >= 0 && layer < shape.num_layers, "layer %ld", static_cast<long>(layer));
  for (const int64_t slot : step_.slot_mapping) {
    SKEIN_CHECK(slot < shape.num_blocks * size, "slot %ld of %ld", static_cast<long>(slot),
                static_cast<long>(shape.num_blocks * size));
  }
  FillRotaryTable(rope_theta, d / 2);
  ForEachRow(pool_, qkv.rows, qkv.cols, [&](int64_t row) {
    const float* cosine = rotary_.cosine.data() + row * (d / 2);
    const float* sine = rotary_.sine.data() + row * (d / 2);
    float* q = Row(qkv, row);
    for (int64_t head = 0; head < num_heads + shape.num_kv_heads; ++head) {
      kernels_.rotate(cosine, sine, d / 2, q + head * d);
    }
    const int64_t slot = step_.slot_mapping[static_cast<size_t>(row)];
    if (slot < 0) return;
    for (int64_t head = 0; head < shape.num_kv_heads; ++head) {
      const float* k = q + (num_heads + head) * d;
      const float* v = k + shape.num_kv_heads * d;
      paged.Store(kernels_, layer, head, slot, k, v);
    }
  });
}

void CpuBackend::PagedAttention(const Matrix& q, const KvCache& cache, int64_t layer,
                                std::span<const int32_t> q_to_kv, const Matrix& out) {
  const auto& paged = static_cast<const CpuKvCache&>(cache);
  const int64_t rows = static_cast<int64_t>(step_.positions.size());
  const int64_t width = static_cast<int64_t>(q_to_kv.size()) * paged.shape().head_dim;
  CheckFloat(q, rows, width, "queries");
  CheckFloat(out, rows, width, "attention output");
  PagedAttentionCall call;
  call.q = q;
  call.out = out;
  call.cache = &paged;
  call.layer = layer;
  call.q_to_kv = q_to_kv;
  call.spans = step_.spans;
  call.block_tables = step_.block_tables;
  call.table_stride = step_.max_blocks_per_sequence;
  RunPagedAttention(call, kernels_, pool_);
}

void CpuBackend::SwiGlu(const Matrix& gate_up, const Matrix& out) {
  CheckFloat(gate_up, out.rows, 2 * out.cols, "gate_up");
  CheckFloat(out, gate_up.rows, out.cols, "SwiGLU output");
  ForEachRow(pool_, out.rows, out.cols, [&](int64_t row) {
    const float* gate = Row(gate_up, row);
    kernels_.swiglu(gate, gate + out.cols, out.cols, Row(out, row));
  });
}

}  // namespace skein::cpu
