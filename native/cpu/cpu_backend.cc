#include "cpu/cpu_backend.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "cpu/cpu_kv_cache.h"
#include "cpu/cpu_sampler.h"
#include "cpu/float8_linear.h"

namespace skein::cpu {
namespace {

constexpr int kMaxThreads = 1024;
// Of staged memory that is cleared, a task each.
constexpr size_t kClearBytes = size_t{4} << 20;
// Smaller ones come from the allocator.
constexpr size_t kLeastStagedBytes = size_t{1} << 20;

class HostTensor final : public DeviceTensor {
 public:
  HostTensor(DType type, int64_t rows, int64_t cols)
      : buffer_(static_cast<size_t>(rows * cols) * SizeOf(type)),
        view_(MakeMatrix(buffer_.data(), type, rows, cols)) {}
  Matrix view() const override { return view_; }

 private:
  AlignedBuffer buffer_;
  Matrix view_;
};

// Returns its memory to the pool.
class StagedTensor final : public DeviceTensor {
 public:
  StagedTensor(std::shared_ptr<StagingPool> pool, AlignedBuffer buffer, DType type, int64_t rows,
               int64_t cols)
      : pool_(std::move(pool)),
        buffer_(std::move(buffer)),
        view_(MakeMatrix(buffer_.data(), type, rows, cols)) {}
  ~StagedTensor() override { pool_->GiveBack(std::move(buffer_)); }
  Matrix view() const override { return view_; }

 private:
  const std::shared_ptr<StagingPool> pool_;
  AlignedBuffer buffer_;
  const Matrix view_;
};

template <typename T>
void Copy(std::span<const T> from, std::vector<T>* to) {
  to->assign(from.begin(), from.end());
}

}  // namespace

CpuBackend::CpuBackend(int num_threads, InstructionClass instruction_class)
    : kernels_(GetKernels(instruction_class)),
      pool_(std::min(num_threads > 0 ? num_threads : NumUsableCpus(), kMaxThreads)) {}

std::unique_ptr<PreparedLinear> CpuBackend::PrepareLinear(const RawLinear& raw,
                                                          DType compute_type) {
  std::unique_ptr<CpuLinear> linear;
  if (raw.format() == WeightFormat::kFloat8) {
    linear = std::make_unique<Float8Linear>(raw, compute_type, kernels_, pool_);
  } else {
    linear = std::make_unique<PackedLinear>(raw, compute_type, kernels_, pool_);
  }
  // Here, not in Linear: no step allocates.
  scratch_.Reserve(linear->ScratchBytes());
  return linear;
}

std::unique_ptr<DeviceTensor> CpuBackend::NewWeight(DType type, int64_t rows, int64_t cols,
                                                    TensorUse use) {
  const size_t bytes = static_cast<size_t>(rows * cols) * SizeOf(type);
  if (use == TensorUse::kKept || bytes < kLeastStagedBytes) {
    return std::make_unique<HostTensor>(type, rows, cols);
  }
  StagingPool::Taken taken = staging_->Take(bytes);
  if (taken.is_used) {
    char* const data = taken.buffer.As<char>();
    pool_.ParallelFor(static_cast<int64_t>((bytes + kClearBytes - 1) / kClearBytes),
                      [&](int64_t i) {
                        const size_t first = static_cast<size_t>(i) * kClearBytes;
                        std::memset(data + first, 0, std::min(kClearBytes, bytes - first));
                      });
  }
  return std::make_unique<StagedTensor>(staging_, std::move(taken.buffer), type, rows, cols);
}

std::unique_ptr<DeviceTensor> CpuBackend::Upload(const Matrix& host) {
  auto tensor = std::make_unique<HostTensor>(host.type, host.rows, host.cols);
  const Matrix view = tensor->view();
  for (int64_t row = 0; row < host.rows; ++row) {
    std::memcpy(view.Rows(row, 1).data, host.Rows(row, 1).data, host.RowBytes());
  }
  return tensor;
}

std::unique_ptr<DeviceTensor> CpuBackend::Allocate(DType type, int64_t rows, int64_t cols) {
  return std::make_unique<HostTensor>(type, rows, cols);
}

std::unique_ptr<KvCache> CpuBackend::AllocateKvCache(const KvCacheShape& shape, DType type) {
  return std::make_unique<CpuKvCache>(shape, type);
}

void CpuBackend::BeginStep(const StepMetadata& metadata) {
  const size_t rows = metadata.token_ids.size();
  SKEIN_CHECK(metadata.positions.size() == rows && metadata.slot_mapping.size() == rows,
              "metadata of different lengths");
  for (const int32_t token : metadata.token_ids) {
    SKEIN_CHECK(token >= 0, "token id %d: the CPU back end wants real ids", token);
  }
  for (const int32_t position : metadata.positions) {
    SKEIN_CHECK(position >= 0, "position %d", position);
  }
  const int64_t table_rows =
      metadata.max_blocks_per_sequence == 0
          ? 0
          : static_cast<int64_t>(metadata.block_tables.size()) / metadata.max_blocks_per_sequence;
  for (const SequenceSpan& span : metadata.spans) {
    SKEIN_CHECK(span.query_start >= 0 && span.num_queries > 0 &&
                    span.query_start + static_cast<size_t>(span.num_queries) <= rows &&
                    span.context_length >= span.num_queries && span.table_row >= 0 &&
                    span.table_row < table_rows,
                "span from row %d: %d queries, context %d, table row %d", span.query_start,
                span.num_queries, span.context_length, span.table_row);
  }
  Copy(metadata.token_ids, &step_.token_ids);
  Copy(metadata.positions, &step_.positions);
  Copy(metadata.slot_mapping, &step_.slot_mapping);
  Copy(metadata.spans, &step_.spans);
  Copy(metadata.block_tables, &step_.block_tables);
  step_.max_blocks_per_sequence = metadata.max_blocks_per_sequence;
  rotary_.half = 0;
}

void CpuBackend::RunCaptured(int32_t /*graph_bucket*/, const std::function<void()>& body) {
  body();
}

std::vector<float> CpuBackend::Read(const Matrix& matrix) {
  std::vector<float> values(static_cast<size_t>(matrix.rows * matrix.cols));
  for (int64_t row = 0; row < matrix.rows; ++row) {
    ConvertElements(matrix.Rows(row, 1).data, matrix.type, values.data() + row * matrix.cols,
                    DType::kFloat32, matrix.cols);
  }
  return values;
}

std::unique_ptr<Sampler> CpuBackend::MakeSampler(const SamplerShape& shape) {
  return MakeCpuSampler(shape, pool_);
}

std::unique_ptr<Backend> MakeCpuBackendOfClass(int num_threads,
                                               InstructionClass instruction_class) {
  return std::make_unique<CpuBackend>(num_threads, instruction_class);
}

}  // namespace skein::cpu

namespace skein {

std::unique_ptr<Backend> MakeCpuBackend(const BackendOptions& options) {
  if (options.num_threads < 0) {
    throw Error("INVALID_REQUEST", Format("num_threads is %d; it must be at least 0 (0: as many as "
                                          "the process may use)",
                                          options.num_threads));
  }
  return cpu::MakeCpuBackendOfClass(options.num_threads, cpu::ChooseInstructionClass());
}

}  // namespace skein
