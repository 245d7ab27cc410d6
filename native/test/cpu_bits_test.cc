// The bits that each instruction class gives, pinned: they must be the same on every processor that
// has the class, with every compiler and at every optimisation level, because a group of ranks is
// only asked to share its class.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "core/error.h"
#include "cpu/cpu_backend.h"
#include "test/reference_ops.h"

namespace skein::test {
namespace {

using cpu::InstructionClass;

// FNV-1a over the bits of all elements.
uint32_t Fingerprint(const HostMatrix& m) {
  uint32_t hash = 2166136261u;
  for (int64_t r = 0; r < m.rows(); ++r) {
    for (int64_t c = 0; c < m.cols(); ++c) {
      const float value = m.At(r, c);
      uint32_t bits;
      std::memcpy(&bits, &value, sizeof(bits));
      hash = (hash ^ bits) * 16777619u;
    }
  }
  return hash;
}

uint32_t LinearFingerprint(Backend& backend, DType type, bool awq) {
  Random random(1);
  const HostMatrix weight = RandomMatrix(random, 72, 1100, 0.1f);
  AwqMatrix quantised = RandomAwq(random, 1100, 72, 128, 40);
  RawLinear raw;
  raw.in_features = 1100;
  raw.out_features = 72;
  raw.weight = weight.view();
  const auto linear = backend.PrepareLinear(awq ? quantised.raw : raw, type);
  const HostMatrix x = RandomMatrix(random, 7, 1100);
  HostMatrix out = PoisonedMatrix(7, 72);
  backend.Linear(*linear, x.view(), Activation::kGeluErf, out.view());
  return Fingerprint(out);
}

uint32_t RowOpsFingerprint(Backend& backend) {
  Random random(2);
  const HostMatrix x = RandomMatrix(random, 5, 194, 3);
  const HostMatrix weight = RandomMatrix(random, 2, 194);
  HostMatrix normed = PoisonedMatrix(5, 194), gated = PoisonedMatrix(5, 97);
  const NormWeights norm{NormKind::kLayer, weight.Floats(), weight.Floats() + 194, 1e-5f};
  backend.Norm(x.view(), norm, normed.view());
  backend.SwiGlu(normed.view(), gated.view());
  return Fingerprint(gated);
}

uint32_t AttentionFingerprint(Backend& backend) {
  Random random(3);
  const HostMatrix qkv = RandomMatrix(random, 150, 3 * 2 * 40);
  HostMatrix out = PoisonedMatrix(150, 2 * 40);
  backend.VisionAttention(qkv.view(), 1, 150, 2, 40, out.view());
  return Fingerprint(out);
}

class CpuBitsTest : public testing::TestWithParam<InstructionClass> {};

TEST_P(CpuBitsTest, AreThoseOfTheClass) {
  // float32, bfloat16, AWQ with float32 and with bfloat16 inputs, rows of norm and SwiGLU,
  // attention.
  const std::map<InstructionClass, std::vector<uint32_t>> expected = {
      {InstructionClass::kPortable,
       {0xe665a7db, 0x1ed04eaf, 0x39eba1ed, 0x28371196, 0xc2d6280c, 0xb3a8e64f}},
      {InstructionClass::kAvx2,
       {0x14890645, 0xa001205c, 0x051bed62, 0xddd7b0ac, 0x15a310ec, 0xa8bc6ea1}},
      {InstructionClass::kAvx512,
       {0x14890645, 0xa001205c, 0x051bed62, 0xddd7b0ac, 0xdb4ab584, 0xc26724c0}},
      {InstructionClass::kAvx512Bf16,
       {0x14890645, 0xf8f1666f, 0x051bed62, 0x04b4e603, 0xdb4ab584, 0xc26724c0}},
  };
  const auto backend = cpu::MakeCpuBackendOfClass(2, GetParam());
  const std::vector<uint32_t> actual = {
      LinearFingerprint(*backend, DType::kFloat32, false),
      LinearFingerprint(*backend, DType::kBFloat16, false),
      LinearFingerprint(*backend, DType::kFloat32, true),
      LinearFingerprint(*backend, DType::kBFloat16, true),
      RowOpsFingerprint(*backend),
      AttentionFingerprint(*backend),
  };
  std::string text;
  for (const uint32_t hash : actual) text += Format("0x%08x, ", hash);
  EXPECT_EQ(actual, expected.at(GetParam())) << "actual: " << text;
}

TEST_P(CpuBitsTest, ProductsAreTheDocumentedChain) {
  // One block, so one chain: emulated here, rounding by rounding.
  constexpr int64_t kIn = 200, kOut = 50;
  Random random(4);
  const HostMatrix weight = RandomMatrix(random, kOut, kIn, 1, 0, DType::kBFloat16);
  const HostMatrix x = RandomMatrix(random, 1, kIn, 1, 0, DType::kBFloat16);
  HostMatrix input(1, kIn);
  for (int64_t k = 0; k < kIn; ++k) input.Set(0, k, x.At(0, k));
  RawLinear raw;
  raw.in_features = kIn;
  raw.out_features = kOut;
  raw.weight = weight.view();
  const auto backend = cpu::MakeCpuBackendOfClass(1, GetParam());
  const bool fused = GetParam() != InstructionClass::kPortable;
  for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
    // The pair instruction adds the odd member first (Intel's definition; AMD's processors agree).
    const bool pairs = type == DType::kBFloat16 && GetParam() == InstructionClass::kAvx512Bf16;
    HostMatrix out = PoisonedMatrix(1, kOut);
    backend->Linear(*backend->PrepareLinear(raw, type), input.view(), Activation::kNone,
                    out.view());
    for (int64_t c = 0; c < kOut; ++c) {
      float sum = 0;
      for (int64_t i = 0; i < kIn; ++i) {
        const int64_t k = pairs ? i ^ 1 : i;
        const float a = x.At(0, k), b = weight.At(c, k);
        sum = fused ? std::fma(a, b, sum) : sum + a * b;
      }
      ASSERT_EQ(out.At(0, c), sum) << Name(type) << ", column " << c;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Classes, CpuBitsTest,
                         testing::ValuesIn(cpu::AvailableInstructionClasses()),
                         [](const auto& info) { return std::string(cpu::Name(info.param)); });

}  // namespace
}  // namespace skein::test
