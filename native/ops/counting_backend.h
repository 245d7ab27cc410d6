// A back end that allocates nothing and computes nothing: it counts what another one would hold, so
// that the code which loads a model says what that takes.
#pragma once

#include <memory>

#include "ops/memory_rules.h"

namespace skein {

class CountingBackend final : public Backend {
 public:
  explicit CountingBackend(std::unique_ptr<MemoryRules> rules) : rules_(std::move(rules)) {}

  // Most bytes of weights at once so far, those that are staged and repacked included.
  int64_t peak_weight_bytes() const { return peak_; }
  int64_t workspace_bytes() const { return workspaces_; }

  std::string name() const override { return "counting"; }
  std::string device_name() const override { return name(); }
  std::string instruction_class() const override { return name(); }
  bool holds_memory() const override { return false; }
  int64_t memory_total_bytes() const override { return 0; }
  int64_t memory_free_bytes() const override { return 0; }
  DeviceStream* stream() const override { return nullptr; }
  DType activation_type() const override { return rules_->activation_type(); }

  std::unique_ptr<DeviceTensor> NewWeight(DType type, int64_t rows, int64_t cols,
                                          TensorUse use) override;
  WeightStream* weight_stream() override;
  std::unique_ptr<PreparedLinear> PrepareLinear(const RawLinear& raw, DType compute_type) override;
  std::unique_ptr<DeviceTensor> Upload(const Matrix& host) override;
  bool MakesRandomTensors() const override { return true; }
  std::unique_ptr<DeviceTensor> MakeRandomTensor(DType type, int64_t rows, int64_t cols,
                                                 std::span<const RandomBlock> blocks,
                                                 TensorUse use) override;
  std::unique_ptr<DeviceTensor> Allocate(DType type, int64_t rows, int64_t cols) override;
  void ReserveSteps(const StepLimits& limits) override {
    workspaces_ = rules_->WorkspaceBytes(limits);
  }
  std::unique_ptr<Sampler> MakeSampler(const SamplerShape&) override { return nullptr; }

  // No step ever runs.
  std::unique_ptr<KvCache> AllocateKvCache(const KvCacheShape&, DType) override { Refuse(); }
  void BeginStep(const StepMetadata&) override { Refuse(); }
  void RunCaptured(int32_t, const std::function<void()>&) override { Refuse(); }
  void FinishStep() override { Refuse(); }
  std::vector<float> Read(const Matrix&) override { Refuse(); }
  void EmbedTokens(const Matrix&, int64_t, int64_t, const Matrix&) override { Refuse(); }
  void ScatterRows(const Matrix&, std::span<const int32_t>, std::span<const int32_t>,
                   const Matrix&) override {
    Refuse();
  }
  void GatherRows(const Matrix&, std::span<const int32_t>, const Matrix&) override { Refuse(); }
  void Norm(const Matrix&, const NormWeights&, const Matrix&) override { Refuse(); }
  void Linear(const PreparedLinear&, const Matrix&, Activation, const Matrix&) override {
    Refuse();
  }
  void AllReduceResidualNorm(Communicator&, const Matrix&, const float*, const float*,
                             const Matrix&, const NormWeights*, const Matrix*) override {
    Refuse();
  }
  void RotaryStoreKv(const Matrix&, KvCache&, int64_t, int64_t, double) override { Refuse(); }
  void PagedAttention(const Matrix&, const KvCache&, int64_t, std::span<const int32_t>,
                      const Matrix&) override {
    Refuse();
  }
  void SwiGlu(const Matrix&, const Matrix&) override { Refuse(); }
  void PixelsToPatches(const uint8_t*, int64_t, int64_t, int64_t, const float[3], const float[3],
                       const Matrix&) override {
    Refuse();
  }
  void AssembleVisionTokens(const Matrix&, const float*, const float*, int64_t,
                            const Matrix&) override {
    Refuse();
  }
  void QkSumSquares(const Matrix&, int64_t, int64_t, const Matrix&) override { Refuse(); }
  void ApplyQkNorm(const Matrix&, const Matrix&, const float*, const float*, int64_t, int64_t,
                   int64_t, float) override {
    Refuse();
  }
  void VisionAttention(const Matrix&, int64_t, int64_t, int64_t, int64_t, const Matrix&) override {
    Refuse();
  }
  void PixelShuffle(const Matrix&, int64_t, int64_t, int64_t, const Matrix&) override { Refuse(); }

 private:
  [[noreturn]] static void Refuse();
  void Count();

  const std::unique_ptr<MemoryRules> rules_;
  std::unique_ptr<WeightStream> weight_stream_;
  // Weights that stay; those that are staged, and most of them at once.
  int64_t kept_ = 0, staged_ = 0, most_staged_ = 0;
  int64_t peak_ = 0, workspaces_ = 0;
};

}  // namespace skein
