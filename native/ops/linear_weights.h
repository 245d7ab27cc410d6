// Weights of a linear: as they are loaded, and as a back end keeps them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/dtype.h"
#include "core/tensor.h"

namespace skein {

// What a linear is for; a back end may choose its layout by it.
enum class LinearRole : uint8_t {
  kQkv,
  kOProj,
  kGateUp,
  kDown,
  kLmHead,
  kVisionPatchEmbedding,
  kVisionQkv,
  kVisionProj,
  kVisionFc1,
  kVisionFc2,
  kProjectorFc1,
  kProjectorFc2,
};

// Of the layers of the vision tower: rows of x are tiles' patches, not a step's tokens.
constexpr bool IsTowerLayer(LinearRole role) {
  return role >= LinearRole::kVisionQkv && role <= LinearRole::kVisionFc2;
}

// How a linear's weights are given.
enum class WeightFormat : uint8_t {
  kDense,  // float32 or bfloat16
  kAwq,    // 4-bit words with zeros and scales by groups of inputs
  // float8 with a scale an output; a row of inputs becomes float8 with a scale of its own, too.
  // Sums of the products of both are float32 and are multiplied by both scales.
  kFloat8,
};

// Weights as loaded, in the back end's memory (NewWeight) or the host's; the bias always in the
// host's. Either `weight` [out, in] in float32 or bfloat16; or the same in float8 with
// weight_scales; or, with `quantizes`, in float32 or bfloat16, to be made float8 by the back end,
// which chooses the scales; or the AWQ triple:
//   qweight int32 [in, out / 8], qzeros int32 [groups, out / 8], scales float16 or float32 [groups,
//   out].
// Row i of an AWQ slice belongs to group (i + group_offset) / group_size of the triple.
// Nibble order of a word: column 8c + j sits at bit [0,16,4,20,8,24,12,28][j]; w = (q - z) * scale.
struct RawLinear {
  LinearRole role = LinearRole::kQkv;
  int64_t in_features = 0;
  int64_t out_features = 0;
  Matrix weight;
  Matrix bias;  // [1, out] float32, or data == nullptr
  Matrix qweight, qzeros, scales;
  int64_t group_size = 0;
  int64_t group_offset = 0;
  Matrix weight_scales;    // [1, out] float32 in the host's memory, or data == nullptr
  float input_scale = 0;   // float8: of every row of inputs; 0: each has its own
  bool quantizes = false;  // to float8
  WeightFormat format() const {
    if (qweight.data != nullptr) return WeightFormat::kAwq;
    const bool is_float8 = quantizes || weight.type == DType::kFloat8E4M3;
    return is_float8 ? WeightFormat::kFloat8 : WeightFormat::kDense;
  }
  bool is_awq() const { return format() == WeightFormat::kAwq; }
};

// A linear in the back end's own layout (packed, repacked, quantised).
class PreparedLinear {
 public:
  virtual ~PreparedLinear() = default;
  virtual int64_t in_features() const = 0;
  virtual int64_t out_features() const = 0;
  // Bytes that stay resident.
  virtual size_t weight_bytes() const = 0;
  // Whether it reads its inputs only as the float8 rows that a norm in front of it may leave.
  virtual bool ReadsFloat8() const { return false; }
};

}  // namespace skein
