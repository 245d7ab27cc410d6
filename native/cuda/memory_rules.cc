// What the CUDA back end holds of a model, told without CUDA: part of every build, so that a plan
// can be made for GPUs where there is none.
#include "ops/memory_rules.h"

#include <algorithm>
#include <limits>

#include "core/error.h"
#include "cuda/packed_sizes.h"

namespace skein {
namespace cuda {
namespace {

// cuBLASLt's workspace, partial sums of wide products, and room for the parts of attention, a
// step's metadata and the sampler's buffers.
constexpr int64_t kOtherWorkspaceBytes = int64_t{288} << 20;
// The last pieces of the arenas of weights and activations.
constexpr int64_t kArenaSlackBytes = 2 * kArenaPieceBytes;

class CudaMemoryRules final : public MemoryRules {
 public:
  DType activation_type() const override { return DType::kBFloat16; }
  bool adopts_weights() const override { return true; }
  // An arena gives nothing back before the end of the load.
  int64_t MaxUnusedStagedBytes() const override { return std::numeric_limits<int64_t>::max(); }

  LinearBytes Count(const RawLinear& raw, DType) override {
    const int64_t in = raw.in_features, out = raw.out_features;
    const int64_t bias = raw.bias.data == nullptr ? 0 : LinearBiasBytes(out);
    if (raw.is_awq()) {
      if (raw.group_size <= 0) throw Error("INVALID_REQUEST", "AWQ without a group size");
      awq_buffer_ = std::max(awq_buffer_, AwqBufferBytes(in, out));
      awq_partial_ = std::max(awq_partial_, AwqPartialRoom(in, out));
      const int64_t packed = AwqPacking(in, out, raw.group_size, raw.group_offset).bytes() + bias;
      return {packed, packed, 0};
    }
    if (raw.format() == WeightFormat::kFloat8) {
      float8_inputs_.Add(IsTowerLayer(raw.role), in);
      const int64_t held = Float8Bytes(in, out) + bias;
      const bool adopts = !raw.quantizes && Float8Stride(in) == in;
      return {held, adopts ? held - in * out : held, 0};
    }
    return {DenseBytes(in, out) + bias, bias, 0};
  }

  int64_t WorkspaceBytes(const StepLimits& limits) const override {
    int64_t bytes = kOtherWorkspaceBytes + kArenaSlackBytes + awq_partial_ + 2 * awq_buffer_;
    Float8Room float8;
    float8_inputs_.AddTo(float8, limits.max_rows, limits.max_tiles * limits.vision_tokens);
    return bytes + float8.code_bytes + float8.scale_bytes();
  }

 private:
  int64_t awq_buffer_ = 0, awq_partial_ = 0;
  Float8Inputs float8_inputs_;
};

}  // namespace
}  // namespace cuda

std::unique_ptr<MemoryRules> MakeCudaMemoryRules() {
  return std::make_unique<cuda::CudaMemoryRules>();
}

}  // namespace skein
