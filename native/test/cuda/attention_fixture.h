// What tests of attention on CUDA share: caches full of NaN, and steps over them.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "cuda/cuda_storage.h"
#include "cuda/device_copy.h"
#include "cuda/device_memory.h"
#include "cuda/kernels/attention.h"
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
  // In deterministic mode the rows of a sequence have the same bits, however it is cut into chunks.
  void ExpectChunksLeaveBits(const AttentionCase& c, DType cache_type,
                             const std::vector<std::vector<int32_t>>& cuts) {
    std::vector<float> whole;
    for (const std::vector<int32_t>& cut : cuts) {
      const int32_t length = std::accumulate(cut.begin(), cut.end(), 0);
      Sequences sequences(2, length + 70, 1);
      const auto cache = PoisonedCache(c, sequences.num_blocks(), cache_type);
      std::vector<float> rows;
      int32_t done = 0;
      for (const int32_t count : cut) {
        done += count;
        // Another sequence comes along in front.
        const std::vector<Sequences::Part> parts = {{1, done, count}, {0, done, count}};
        const auto qkv = QkvOf(*cuda_, c, parts);
        const auto out = PoisonedOut(*cuda_, c, 2 * count);
        Attend(*cuda_, c, sequences.Step(parts), qkv->view(), *cache, out->view());
        cuda_->FinishStep();
        const std::vector<float> chunk = Read(out->view().Rows(count, count), true);
        rows.insert(rows.end(), chunk.begin(), chunk.end());
      }
      if (whole.empty()) whole = rows;
      EXPECT_EQ(rows, whole) << "head_dim " << c.head_dim << ", " << length << " tokens in "
                             << cut.size() << " chunks";
    }
  }
  // Decode attention of one row at the end of `context` keys of the cache's only KV head, of query
  // heads of 128, and of a padded row: every variant, with every way to share the runs out, in any
  // order, with idle shares and such that have no run among them, which may not change a bit.
  // keys_of(block tables on the device): what the kernel reads; check(variant, the step, its
  // output) is called once a variant.
  template <typename KeysOf, typename Check>
  void ExpectListsLeaveBits(const AttentionCase& c, Sequences& sequences, int32_t context,
                            const Matrix& q, const KeysOf& keys_of, const Check& check) {
    const StepMetadata& metadata = sequences.Step({{0, context, 1}});
    const auto table =
        Upload(std::vector<int32_t>(metadata.block_tables.begin(), metadata.block_tables.end()));
    const auto heads = static_cast<int32_t>(c.num_heads());
    const size_t columns = static_cast<size_t>(heads) * 128;
    const auto kv_q_start = Upload(std::vector<int32_t>{0, heads});
    const auto out = PoisonedOut(*cuda_, c, 2);
    const Matrix row = out->view().Rows(0, 1), padded = out->view().Rows(1, 1);
    for (int variant = 0; variant < cuda::kNumDecodeVariants; ++variant) {
      // Room for more runs than there are, which are shares of nothing at the end.
      const int max_runs = cuda::RunsOf(context + 100, cuda::kDecodeVariants[variant].run_keys);
      const cuda::DecodeSize size = cuda::SizeOfDecodeWorkspace(2, max_runs, heads, 1, heads, 128);
      const cuda::DeviceMemory values(size.values_bytes), stats(size.stats_bytes),
          counters(size.counters_bytes);
      SKEIN_CUDA(cudaMemset(counters.data(), 0, counters.bytes()));
      std::vector<float> first;
      for (int count = 1; count <= max_runs; ++count) {
        std::vector<cuda::DecodeShare> list = {
            {0, 0, 1, 0, 0, 1}, {-1, 0, 0, 0, 0, 0}, {-1, 0, 0, 0, 0, 0}};
        // The workspace's second place is the row's: that of a share says where it is.
        for (int index = 0; index < count; ++index) {
          list.push_back({1, context, 0, 0, index, count});
        }
        if (count > 1) std::shuffle(list.begin(), list.end(), generator_);
        const auto shares = Upload(list);
        for (const cuda::DeviceMemory* memory : {&values, &stats}) {
          SKEIN_CUDA(cudaMemset(memory->data(), 0xff, memory->bytes()));
        }
        SKEIN_CUDA(cudaMemset(out->view().data, 0xff, 2 * columns * 2));
        Settle();
        cuda::PagedDecodeAttention(
            {q.As<const __nv_bfloat16>(), q.stride, out->view().As<__nv_bfloat16>(), heads * 128,
             nullptr, heads, 128, 0.08838834764f},
            keys_of(table.As<int32_t>()), {kv_q_start.As<int32_t>(), heads},
            shares.As<cuda::DecodeShare>(), static_cast<int>(list.size()),
            {values.As<float>(), stats.As<float2>(), counters.As<int32_t>(), max_runs}, variant,
            *static_cast<cuda::Stream*>(cuda_->stream()));
        cuda_->FinishStep();
        const std::vector<float> actual = Read(row, true);
        if (count == 1) {
          first = actual;
          check(variant, metadata, row);
        }
        EXPECT_EQ(actual, first) << "variant " << variant << ", " << count << " shares";
        EXPECT_EQ(Read(padded, true), std::vector<float>(columns, 0.0f));
      }
    }
  }

  template <typename T>
  static cuda::DeviceMemory Upload(const std::vector<T>& values) {
    cuda::DeviceMemory memory(values.size() * sizeof(T));
    cuda::CopyAndWait(memory.data(), values.data(), memory.bytes());
    return memory;
  }

  static std::vector<float> RowOf(const std::vector<float>& values, const AttentionCase& c,
                                  int64_t row) {
    const auto width = static_cast<int64_t>(c.num_heads() * c.head_dim);
    return {values.begin() + row * width, values.begin() + (row + 1) * width};
  }
};

}  // namespace skein
