// What tests of attention on CUDA share: caches full of NaN, and steps over them.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include "cuda/cuda_storage.h"
#include "cuda/device_copy.h"
#include "cuda/device_memory.h"
#include "cuda_twin.h"
#include "test/cuda/attention_sequences.h"

namespace skein {

class CudaAttentionTest : public CudaFastTest {
 protected:
  static std::unique_ptr<KvCache> PoisonedCache(const AttentionCase& c, int64_t num_blocks,
                                                DType type = DType::kBFloat16) {
    auto cache =
        fast_->AllocateKvCache({1, num_blocks, kBlockSize, c.num_kv_heads(), c.head_dim}, type);
    SKEIN_CUDA(
        cudaMemset(static_cast<const cuda::CudaKvCache&>(*cache).data(), 0xff, cache->bytes()));
    return cache;
  }

  // Copies and fills of the default stream end: back ends' streams do not wait for it.
  static void Settle() { SKEIN_CUDA(cudaDeviceSynchronize()); }
  // Rotates, stores and attends; `qkv` is overwritten.
  static void Attend(Backend& backend, const AttentionCase& c, const StepMetadata& metadata,
                     const Matrix& qkv, KvCache& cache, const Matrix& out) {
    Settle();
    backend.BeginStep(metadata);
    backend.RunCaptured(0, [&] {
      backend.RotaryStoreKv(qkv, cache, 0, c.num_heads(), 1e6);
      backend.PagedAttention(qkv.Cols(0, c.num_heads() * c.head_dim), cache, 0, c.q_to_kv, out);
    });
  }
  // Only writes keys and values.
  static void Store(Backend& backend, const AttentionCase& c, const StepMetadata& metadata,
                    const Matrix& qkv, KvCache& cache) {
    Settle();
    backend.BeginStep(metadata);
    backend.RunCaptured(0, [&] { backend.RotaryStoreKv(qkv, cache, 0, c.num_heads(), 1e6); });
  }

  // qkv of one step on `backend`, the same values for the same positions of a sequence.
  std::unique_ptr<DeviceTensor> QkvOf(Backend& backend, const AttentionCase& c,
                                      const std::vector<Sequences::Part>& parts,
                                      int64_t padded_rows = 0) {
    std::vector<BFloat16> values;
    for (const Sequences::Part& part : parts) {
      for (int32_t position = part.context - part.rows; position < part.context; ++position) {
        std::mt19937 generator(static_cast<uint32_t>(part.sequence * 100003 + position));
        std::normal_distribution<float> normal;
        for (int64_t i = 0; i < c.width(); ++i) values.emplace_back(normal(generator));
      }
    }
    auto rows = static_cast<int64_t>(values.size()) / c.width();
    if (padded_rows > rows) {
      rows = padded_rows;
      // What a padded row holds must reach nobody.
      values.resize(static_cast<size_t>(rows * c.width()),
                    BFloat16(std::numeric_limits<float>::quiet_NaN()));
    }
    auto tensor = backend.Allocate(DType::kBFloat16, rows, c.width());
    cuda::CopyAndWait(tensor->view().data, values.data(), values.size() * 2);
    return tensor;
  }
  static std::unique_ptr<DeviceTensor> PoisonedOut(Backend& backend, const AttentionCase& c,
                                                   int64_t rows) {
    auto tensor = backend.Allocate(DType::kBFloat16, rows, c.num_heads() * c.head_dim);
    SKEIN_CUDA(cudaMemset(tensor->view().data, 0xff,
                          static_cast<size_t>(rows * c.num_heads() * c.head_dim) * 2));
    Settle();
    return tensor;
  }
  static std::vector<float> RowOf(const std::vector<float>& values, const AttentionCase& c,
                                  int64_t row) {
    const auto width = static_cast<int64_t>(c.num_heads() * c.head_dim);
    return {values.begin() + row * width, values.begin() + (row + 1) * width};
  }
};

}  // namespace skein
