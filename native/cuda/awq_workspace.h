// What the AWQ linears of a back end share: two buffers of dequantised columns, and the stream on
// which the next columns are dequantised while cuBLASLt multiplies by the last ones.
#pragma once

#include "cuda/blas_lt.h"
#include "cuda/device_memory.h"
#include "cuda/kernels/awq.h"
#include "cuda/product_workspace.h"
#include "cuda/stream.h"

namespace skein::cuda {

class AwqWorkspace {
 public:
  // `products` has room for partial sums and outlives this.
  AwqWorkspace(Stream& stream, ProductWorkspace& products);
  ~AwqWorkspace();
  AwqWorkspace(const AwqWorkspace&) = delete;
  AwqWorkspace& operator=(const AwqWorkspace&) = delete;

  // Room for products of that size; while nothing runs. True where memory moved: graphs that were
  // recorded refer to it.
  bool Reserve(int64_t in_features, int64_t out_features);

  const ProductWorkspace& products() const { return products_; }

  // Bytes of dequantised columns that DenseProduct may take at a time.
  int64_t Room() const { return static_cast<int64_t>(buffers_[0].bytes()); }
  // Columns that DenseProduct had best take at a time.
  int64_t ColumnsAtOnce(const AwqWeights& weights, int64_t rows) const;
  // out = x W + bias through columns rounded to bfloat16, `columns` (a multiple of 16) at a time.
  // bias [out] in out's type, or null. overlaps: dequantises on the second stream; not while a
  // graph is recorded.
  void DenseProduct(const AwqWeights& weights, const Matrix& x, const void* bias, const Matrix& out,
                    int64_t columns, bool overlaps, BlasLt& blas);

 private:
  Stream& stream_;
  ProductWorkspace& products_;
  DeviceMemory buffers_[2];
  int turn_ = 0;  // the buffer that comes next
  Stream side_;
  cudaEvent_t started_ = nullptr, ready_[2] = {}, free_[2] = {};
};

}  // namespace skein::cuda
