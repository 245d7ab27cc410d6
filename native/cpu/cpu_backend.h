// The operations of ops/backend.h on the processor. Each op validates its shapes, splits its
// outputs over the thread pool and calls the kernels of one instruction class; activations are
// float32.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/aligned_buffer.h"
#include "core/thread_pool.h"
#include "cpu/cpu_features.h"
#include "cpu/host_memory.h"
#include "cpu/kernels.h"
#include "cpu/staging_pool.h"
#include "ops/backend.h"

namespace skein::cpu {

class CpuBackend final : public Backend {
 public:
  CpuBackend(int num_threads, InstructionClass instruction_class);

  std::string name() const override { return "cpu"; }
  std::string device_name() const override { return ProcessorName(); }
  std::string instruction_class() const override { return Name(kernels_.instruction_class); }
  int64_t memory_total_bytes() const override { return ReadHostMemory().total_bytes; }
  int64_t memory_free_bytes() const override { return ReadHostMemory().free_bytes; }
  DeviceStream* stream() const override { return nullptr; }
  DType activation_type() const override { return DType::kFloat32; }

  void BeginLoad() override { staging_->Open(); }
  void EndLoad() override { staging_->Close(); }
  std::unique_ptr<DeviceTensor> NewWeight(DType type, int64_t rows, int64_t cols,
                                          TensorUse use) override;
  std::unique_ptr<PreparedLinear> PrepareLinear(const RawLinear& raw, DType compute_type) override;
  std::unique_ptr<DeviceTensor> Upload(const Matrix& host) override;
  std::unique_ptr<DeviceTensor> Allocate(DType type, int64_t rows, int64_t cols) override;
  std::unique_ptr<KvCache> AllocateKvCache(const KvCacheShape& shape, DType type) override;

  // Copies the metadata: the spans of `metadata` need not outlive the call. token_ids must be real
  // ids here: the engine resolves -1 from what it sampled, because on this back end every sampled
  // token is known when its step has finished.
  void BeginStep(const StepMetadata& metadata) override;
  void RunCaptured(int32_t graph_bucket, const std::function<void()>& body) override;
  void FinishStep() override {}
  std::vector<float> Read(const Matrix& matrix) override;

  void EmbedTokens(const Matrix& table, int64_t vocab_start, int64_t valid_rows,
                   const Matrix& out) override;
  void ScatterRows(const Matrix& source, std::span<const int32_t> source_rows,
                   std::span<const int32_t> rows, const Matrix& out) override;
  void GatherRows(const Matrix& source, std::span<const int32_t> rows, const Matrix& out) override;
  void Norm(const Matrix& x, const NormWeights& norm, const Matrix& out) override;
  void Linear(const PreparedLinear& linear, const Matrix& x, Activation activation,
              const Matrix& out) override;
  void AllReduceResidualNorm(Communicator& communicator, const Matrix& partial, const float* bias,
                             const float* scale, const Matrix& residual, const NormWeights* norm,
                             const Matrix* normed) override;
  void RotaryStoreKv(const Matrix& qkv, KvCache& cache, int64_t layer, int64_t num_heads,
                     double rope_theta) override;
  void PagedAttention(const Matrix& q, const KvCache& cache, int64_t layer,
                      std::span<const int32_t> q_to_kv, const Matrix& out) override;
  void SwiGlu(const Matrix& gate_up, const Matrix& out) override;

  void PixelsToPatches(const uint8_t* pixels, int64_t tiles, int64_t side, int64_t patch,
                       const float mean[3], const float std[3], const Matrix& out) override;
  void AssembleVisionTokens(const Matrix& patches, const float* class_embedding,
                            const float* position_embedding, int64_t tiles,
                            const Matrix& out) override;
  void QkSumSquares(const Matrix& qkv, int64_t num_heads, int64_t head_dim,
                    const Matrix& sums) override;
  void ApplyQkNorm(const Matrix& qkv, const Matrix& sums, const float* q_weight,
                   const float* k_weight, int64_t num_heads, int64_t head_dim, int64_t full_width,
                   float eps) override;
  void VisionAttention(const Matrix& qkv, int64_t tiles, int64_t tokens, int64_t num_heads,
                       int64_t head_dim, const Matrix& out) override;
  void PixelShuffle(const Matrix& x, int64_t tiles, int64_t grid, int64_t factor,
                    const Matrix& out) override;

  std::unique_ptr<Sampler> MakeSampler(const SamplerShape& shape) override;

 private:
  // Copies of a step's metadata.
  struct Step {
    std::vector<int32_t> token_ids, positions, block_tables;
    std::vector<int64_t> slot_mapping;
    std::vector<SequenceSpan> spans;
    int64_t max_blocks_per_sequence = 0;
  };
  // cos and sin of the angles of the step's rows: [n, half] each.
  struct RotaryTable {
    double theta = 0;
    int64_t half = 0;
    std::vector<float> cosine, sine;
  };

  void NormRow(const float* x, const NormWeights& norm, int64_t cols, float* out) const;
  void FillRotaryTable(double theta, int64_t half);

  const KernelTable& kernels_;
  ThreadPool pool_;
  // Outlives the tensors that were staged.
  const std::shared_ptr<StagingPool> staging_ = std::make_shared<StagingPool>();
  AlignedBuffer scratch_;  // packed x of a product
  Step step_;
  RotaryTable rotary_;
};

// A back end of one instruction class, for tests; the registry chooses the best one.
std::unique_ptr<Backend> MakeCpuBackendOfClass(int num_threads, InstructionClass instruction_class);

}  // namespace skein::cpu
