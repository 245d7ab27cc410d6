// What the CPU back end holds of a model, with the panels of this machine's instruction class.
#include "ops/memory_rules.h"

#include "cpu/cpu_features.h"
#include "cpu/packed_linear.h"
#include "cpu/staging_pool.h"

namespace skein {
namespace cpu {
namespace {

class CpuMemoryRules final : public MemoryRules {
 public:
  DType activation_type() const override { return DType::kFloat32; }
  // They are packed anew.
  bool adopts_weights() const override { return false; }
  int64_t MaxUnusedStagedBytes() const override {
    return static_cast<int64_t>(StagingPool::kMaxKeptBytes);
  }

  LinearBytes Count(const RawLinear& raw, DType compute_type) override {
    const int64_t bias = raw.bias.data == nullptr ? 0 : raw.out_features * 4;
    int64_t bytes = PackedLayout(raw, compute_type, panel_width_).bytes() + bias;
    if (raw.format() != WeightFormat::kFloat8) return {bytes, bytes, 0};
    bytes += raw.out_features * 4;
    // What is quantised is codes before it is packed.
    return {bytes, bytes, raw.quantizes ? raw.in_features * raw.out_features : 0};
  }
  // Those of a CPU are counted with the process.
  int64_t WorkspaceBytes(const StepLimits&) const override { return 0; }

 private:
  const int64_t panel_width_ = GetKernels(ChooseInstructionClass()).panel_width;
};

}  // namespace
}  // namespace cpu

std::unique_ptr<MemoryRules> MakeCpuMemoryRules() {
  return std::make_unique<cpu::CpuMemoryRules>();
}

}  // namespace skein
