#include "cuda/cuda_linear.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "cuda/kernels/awq.h"

namespace skein::cuda {
namespace {

// Columns that are dequantised at a time.
constexpr int64_t kScratchColumns = 8192;

int64_t RoundUp(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

void CopyToDevice(void* device, const void* host, size_t bytes) {
  if (bytes > 0) SKEIN_CUDA(cudaMemcpy(device, host, bytes, cudaMemcpyHostToDevice));
}

// A host matrix as contiguous bfloat16 on the device.
DeviceMemory UploadBFloat16(const Matrix& host) {
  DeviceMemory memory(static_cast<size_t>(host.rows * host.cols) * 2);
  if (host.type == DType::kBFloat16) {
    SKEIN_CUDA(cudaMemcpy2D(memory.data(), host.RowBytes(), host.data,
                            static_cast<size_t>(host.stride) * 2, host.RowBytes(),
                            static_cast<size_t>(host.rows), cudaMemcpyDefault));
    return memory;
  }
  SKEIN_CHECK(host.type == DType::kFloat32, "a weight of %s", Name(host.type));
  std::vector<BFloat16> rounded(static_cast<size_t>(host.rows * host.cols));
  for (int64_t row = 0; row < host.rows; ++row) {
    const float* source = host.As<const float>() + row * host.stride;
    for (int64_t col = 0; col < host.cols; ++col) {
      rounded[static_cast<size_t>(row * host.cols + col)] = BFloat16(source[col]);
    }
  }
  CopyToDevice(memory.data(), rounded.data(), memory.bytes());
  return memory;
}

// A bias in both types that an output may have.
struct Bias {
  DeviceMemory as_float, as_bfloat16;

  explicit Bias(const Matrix& host) {
    if (host.data == nullptr) return;
    as_float = DeviceMemory(static_cast<size_t>(host.cols) * sizeof(float));
    CopyToDevice(as_float.data(), host.data, as_float.bytes());
    as_bfloat16 = UploadBFloat16(host);
  }
  const void* For(DType type) const {
    return type == DType::kFloat32 ? as_float.data() : as_bfloat16.data();
  }
  size_t bytes() const { return as_float.bytes() + as_bfloat16.bytes(); }
};

class DenseLinear final : public CudaLinear {
 public:
  explicit DenseLinear(const RawLinear& raw)
      : in_(raw.in_features),
        out_(raw.out_features),
        weight_(UploadBFloat16(raw.weight)),
        bias_(raw.bias) {}

  int64_t in_features() const override { return in_; }
  int64_t out_features() const override { return out_; }
  size_t weight_bytes() const override { return weight_.bytes() + bias_.bytes(); }
  void Run(const Matrix& x, const Matrix& out, BlasLt& blas, cudaStream_t) const override {
    blas.Product(x, MakeMatrix(weight_.data(), DType::kBFloat16, out_, in_), bias_.For(out.type),
                 out);
  }

 private:
  const int64_t in_, out_;
  DeviceMemory weight_;
  Bias bias_;
};

class AwqLinear final : public CudaLinear {
 public:
  AwqLinear(const RawLinear& raw, const DeviceMemory* scratch, cudaStream_t stream)
      : valid_out_(raw.out_features), scratch_(scratch), bias_(raw.bias) {
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
    words_ = DeviceMemory(static_cast<size_t>(weights_.out_features * weights_.padded_in / 2));
    tables_ = DeviceMemory(static_cast<size_t>(groups * weights_.out_features) * sizeof(__half2));
    weights_.words = words_.As<uint32_t>();
    weights_.scale_zero = tables_.As<__half2>();

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
  size_t weight_bytes() const override { return words_.bytes() + tables_.bytes() + bias_.bytes(); }

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
  DeviceMemory words_, tables_;
  Bias bias_;
};

}  // namespace

std::unique_ptr<CudaLinear> MakeDenseLinear(const RawLinear& raw) {
  return std::make_unique<DenseLinear>(raw);
}

std::unique_ptr<CudaLinear> MakeAwqLinear(const RawLinear& raw, const DeviceMemory* scratch,
                                          cudaStream_t stream) {
  return std::make_unique<AwqLinear>(raw, scratch, stream);
}

size_t AwqScratchBytes(int64_t in_features) {
  return static_cast<size_t>(kScratchColumns * in_features) * 2;
}

}  // namespace skein::cuda
