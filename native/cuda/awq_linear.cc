// AWQ int4 linears: few rows are multiplied straight from the packed form, many through dequantised
// columns.
#include <algorithm>

#include "cuda/cuda_linear.h"
#include "cuda/kernels/awq.h"
#include "cuda/linear_parts.h"

namespace skein::cuda {
namespace {

// Columns that are dequantised at a time.
constexpr int64_t kScratchColumns = 8192;

int64_t RoundUp(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

class AwqLinear final : public CudaLinear {
 public:
  AwqLinear(const RawLinear& raw, DeviceArena& arena, const DeviceMemory* scratch,
            cudaStream_t stream)
      : valid_out_(raw.out_features), scratch_(scratch), bias_(raw.bias, arena) {
    if (raw.group_size % kAwqTileRows != 0) {
      throw Error("UNSUPPORTED_MODEL",
                  Format("AWQ group size %lld: the CUDA back end takes multiples of %d",
                         static_cast<long long>(raw.group_size), kAwqTileRows));
    }
    weights_.in_features = raw.in_features;
    weights_.out_features = RoundUp(raw.out_features, kAwqTileColumns);
    weights_.padded_in = RoundUp(raw.in_features + raw.group_offset, kAwqTileRows);
    weights_.group_size = raw.group_size;
    weights_.group_offset = raw.group_offset;
    const int64_t groups =
        RoundUp(raw.in_features + raw.group_offset, raw.group_size) / raw.group_size;
    const auto num_words = static_cast<size_t>(weights_.out_features * weights_.padded_in / 8);
    const auto num_tables = static_cast<size_t>(groups * weights_.out_features);
    weights_.words = arena.New<uint32_t>(num_words);
    weights_.scale_zero = arena.New<__half2>(num_tables);
    weight_bytes_ = num_words * sizeof(uint32_t) + num_tables * sizeof(__half2) + bias_.bytes;

    const auto upload = [](const Matrix& host) {
      DeviceMemory memory(static_cast<size_t>(host.rows) * host.RowBytes());
      SKEIN_CUDA(cudaMemcpy2D(memory.data(), host.RowBytes(), host.data,
                              static_cast<size_t>(host.stride) * SizeOf(host.type), host.RowBytes(),
                              static_cast<size_t>(host.rows), cudaMemcpyDefault));
      return memory;
    };
    const DeviceMemory qweight = upload(raw.qweight);
    const DeviceMemory qzeros = upload(raw.qzeros);
    const DeviceMemory scales = upload(raw.scales);
    PackAwq(weights_, qweight.As<int32_t>(), qzeros.As<int32_t>(), scales.data(),
            raw.scales.type == DType::kFloat16, valid_out_, stream);
    SKEIN_CUDA(cudaStreamSynchronize(stream));
  }

  int64_t in_features() const override { return weights_.in_features; }
  int64_t out_features() const override { return valid_out_; }
  size_t weight_bytes() const override { return weight_bytes_; }

  void Run(const Matrix& x, const Matrix& out, BlasLt& blas, cudaStream_t stream) const override {
    if (x.rows <= kAwqMaxRows) {
      AwqProduct(weights_, x.As<const __nv_bfloat16>(), x.stride, x.rows,
                 static_cast<const float*>(bias_.For(DType::kFloat32)), valid_out_, out.data,
                 out.type == DType::kFloat32, out.stride, stream);
      return;
    }
    const int64_t columns_at_once = std::max<int64_t>(
        kAwqTileColumns, static_cast<int64_t>(scratch_->bytes()) / 2 / weights_.in_features /
                             kAwqTileColumns * kAwqTileColumns);
    for (int64_t first = 0; first < valid_out_; first += columns_at_once) {
      const int64_t columns = std::min(columns_at_once, valid_out_ - first);
      AwqDequantize(weights_, first, columns, scratch_->As<__nv_bfloat16>(), stream);
      const auto* bias = static_cast<const char*>(bias_.For(out.type));
      blas.Product(x, MakeMatrix(scratch_->data(), DType::kBFloat16, columns, weights_.in_features),
                   bias == nullptr ? nullptr : bias + static_cast<size_t>(first) * SizeOf(out.type),
                   out.Cols(first, columns));
    }
  }

 private:
  const int64_t valid_out_;
  const DeviceMemory* scratch_;
  AwqWeights weights_{};
  size_t weight_bytes_ = 0;
  const LinearBias bias_;
};

}  // namespace

std::unique_ptr<CudaLinear> MakeAwqLinear(const RawLinear& raw, DeviceArena& arena,
                                          const DeviceMemory* scratch, cudaStream_t stream) {
  return std::make_unique<AwqLinear>(raw, arena, scratch, stream);
}

size_t AwqScratchBytes(int64_t in_features) {
  return static_cast<size_t>(kScratchColumns * in_features) * 2;
}

}  // namespace skein::cuda
