#include "cuda_collective_chain.h"

#include <algorithm>

#include "core/error.h"
#include "cuda/cuda_check.h"
#include "cuda/kernels/elementwise.h"
#include "cuda/kernels/skinny_product.h"

namespace skein::cuda {
namespace {

constexpr int64_t kHidden = 5120, kHeads = 5120, kInner = 27648, kMostRows = 8;
constexpr int kCopies = 4;

// Numbers so small that no sum leaves the range; zeros might be read faster than others.
DeviceMemory Filled(int64_t count, Stream& stream) {
  DeviceMemory memory(static_cast<size_t>(count) * 2);
  // 0x2d2d is 9.8e-12.
  SKEIN_CUDA(cudaMemsetAsync(memory.data(), 0x2d, memory.bytes(), stream.ForDriver()));
  return memory;
}

Matrix Part(const DeviceMemory& memory, int copy, int64_t rows, int64_t cols) {
  return MakeMatrix(memory.As<char>() + copy * rows * cols * 2, DType::kBFloat16, rows, cols);
}

}  // namespace

CollectiveChain::CollectiveChain(Communicator& communicator, Stream& stream)
    : communicator_(communicator),
      stream_(stream),
      heads_(kHeads / communicator.world_size()),
      inner_(kInner / communicator.world_size()),
      o_(Filled(kCopies * kHidden * heads_, stream)),
      gate_up_(Filled(kCopies * 2 * inner_ * kHidden, stream)),
      down_(Filled(kCopies * kHidden * inner_, stream)),
      norm_(Filled(2 * kHidden, stream)),
      attention_(Filled(kMostRows * heads_, stream)),
      partial_(Filled(2 * kMostRows * kHidden, stream)),
      residual_(Filled(2 * kMostRows * kHidden, stream)),
      normed_(Filled(kMostRows * kHidden, stream)),
      product_(Filled(kMostRows * inner_, stream)) {}

void CollectiveChain::End(int64_t rows, Between between) {
  if (between == Between::kNothing) return;
  NormWeights norm;
  norm.weight = norm_.As<float>();
  norm.eps = 1e-6f;
  const Matrix normed = MakeMatrix(normed_.data(), DType::kBFloat16, rows, kHidden);
  ResidualNorm end;
  end.partial = MakeMatrix(partial_.data(), DType::kFloat32, rows, kHidden);
  end.residual = MakeMatrix(residual_.data(), DType::kFloat32, rows, kHidden);
  end.norm = &norm;
  end.normed = &normed;
  if (between == Between::kSum) {
    if (communicator_.AllReduceResidualNorm(end, &stream_)) return;
    communicator_.AllReduce(partial_.data(), rows * kHidden, DType::kFloat32, ReduceOp::kSum,
                            &stream_);
  }
  const NormArguments arguments{false, norm.weight, nullptr, norm.eps};
  AddResidualNorm(partial_.As<float>(), kHidden, nullptr, nullptr, residual_.As<float>(), kHidden,
                  &arguments, rows, kHidden, normed_.As<__nv_bfloat16>(), kHidden, stream_);
}

void CollectiveChain::Place(int64_t rows, Between between) {
  SKEIN_CHECK(rows <= kMostRows && HasSkinnyProduct(), "%lld rows", static_cast<long long>(rows));
  const Matrix attention = MakeMatrix(attention_.data(), DType::kBFloat16, rows, heads_),
               partial = MakeMatrix(partial_.data(), DType::kFloat32, rows, kHidden),
               normed = MakeMatrix(normed_.data(), DType::kBFloat16, rows, kHidden),
               product = MakeMatrix(product_.data(), DType::kBFloat16, rows, inner_);
  for (int layer = 0; layer < kLayers; ++layer) {
    const int copy = layer % kCopies;
    SkinnyProduct(attention, Part(o_, copy, kHidden, heads_), nullptr, partial, stream_);
    End(rows, between);
    SkinnySwiGlu(normed, Part(gate_up_, copy, 2 * inner_, kHidden), product, stream_);
    SkinnyProduct(product, Part(down_, copy, kHidden, inner_), nullptr, partial, stream_);
    End(rows, between);
  }
}

}  // namespace skein::cuda
