// oneDNN as a second opinion on products that are too large for plain loops.
#include <gtest/gtest.h>

#include <string>

#include "core/error.h"
#include "cpu/cpu_backend.h"
#include "test/onednn_matmul.h"
#include "test/reference_ops.h"

namespace skein::test {
namespace {

TEST(CpuOneDnnTest, LargeProductsAgree) {
  constexpr int64_t kIn = 2050, kOut = 1030, kRows = 70;
  Random random(1);
  const HostMatrix weight = RandomMatrix(random, kOut, kIn, 0.05f);
  const HostMatrix x = RandomMatrix(random, kRows, kIn);
  const auto backend = cpu::MakeCpuBackendOfClass(2, cpu::DetectInstructionClass());
  RawLinear raw;
  raw.in_features = kIn;
  raw.out_features = kOut;
  raw.weight = weight.view();
  for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
    HostMatrix expected = PoisonedMatrix(kRows, kOut), actual = PoisonedMatrix(kRows, kOut);
    try {
      OneDnnMatmul product(weight.view(), type, 1);
      product.Multiply(x.view(), expected.view());
    } catch (const Error& error) {
      // Without AVX-512 oneDNN has no bfloat16 products.
      ASSERT_EQ(error.code(), "UNSUPPORTED_MODEL");
      ASSERT_EQ(type, DType::kBFloat16);
      GTEST_SKIP() << error.what();
    }
    backend->Linear(*backend->PrepareLinear(raw, type), x.view(), Activation::kNone, actual.view());
    ExpectNear(actual, expected, 2e-5, std::string("against oneDNN in ") + Name(type));
  }
}

}  // namespace
}  // namespace skein::test
