// GELU on CUDA: in the product and by a pass of its own, beside the CPU's and the exact function.
#include <bit>
#include <cmath>

#include "cuda/kernels/elementwise.h"
#include "cuda_twin.h"

namespace skein {
namespace {

// By the wide kernel where there is one; the same within rounding as by a pass behind the product,
// which odd strides of the outputs ask for.
TEST_F(CudaFastTest, ManyRowsAgreeThroughGelu) {
  constexpr int64_t kIn = 512, kOut = 6400;
  std::vector<float> weight = Random(kIn * kOut, 0.05f), bias = Random(kOut, 0.5f);
  RawLinear raw;
  raw.in_features = kIn;
  raw.out_features = kOut;
  raw.weight = MakeMatrix(weight.data(), DType::kFloat32, kOut, kIn);
  raw.bias = MakeMatrix(bias.data(), DType::kFloat32, 1, kOut);
  const auto on_cpu = cpu_->PrepareLinear(raw, DType::kBFloat16);
  for (Backend* backend : {fast_.get(), cuda_.get()}) {
    const auto on_device = backend->PrepareLinear(raw, DType::kBFloat16);
    for (const int64_t rows : Values({300, 513, 1025}, {513})) {
      const Twin x = RandomTwin(rows, kIn), out = PoisonedTwin(rows, kOut),
                 apart = PoisonedTwin(rows, kOut + 1);
      const Matrix strided = apart.cuda->view().Cols(0, kOut);
      cpu_->Linear(*on_cpu, x.cpu->view(), Activation::kGeluErf, out.cpu->view());
      backend->Linear(*on_device, x.cuda->view(), Activation::kGeluErf, out.cuda->view());
      backend->FinishStep();
      ExpectClose(out, kRounding, Format("%lld rows, GELU", (long long)rows));
      backend->Linear(*on_device, x.cuda->view(), Activation::kGeluErf, strided);
      backend->FinishStep();
      const std::vector<float> fused = Read(out.cuda->view(), true), passed = Read(strided, true);
      double difference = 0, norm = 0;
      for (size_t i = 0; i < fused.size(); ++i) {
        difference += std::pow(static_cast<double>(fused[i]) - passed[i], 2);
        norm += std::pow(static_cast<double>(passed[i]), 2);
      }
      EXPECT_LT(std::sqrt(difference / norm), kRounding) << rows << " rows, a pass apart";
    }
  }
}

TEST_F(CudaOpsTest, GeluIsExact) {
  // Every bfloat16 from -16 to 16.
  std::vector<BFloat16> values;
  for (uint32_t bits = 0; bits < 1u << 16; ++bits) {
    const auto value = std::bit_cast<BFloat16>(static_cast<uint16_t>(bits));
    if (std::fabs(static_cast<float>(value)) <= 16.0f) values.push_back(value);
  }
  const auto cols = static_cast<int64_t>(values.size());
  const auto x = cuda_->Upload(MakeMatrix(values.data(), DType::kBFloat16, 1, cols));
  auto& stream = *static_cast<cuda::Stream*>(cuda_->stream());
  cuda::BiasGelu(x->view().As<__nv_bfloat16>(), cols, nullptr, 1, cols, true, stream);
  cuda_->FinishStep();
  const std::vector<float> actual = Read(x->view(), true);
  for (size_t i = 0; i < values.size(); ++i) {
    const double value = static_cast<float>(values[i]);
    const double exact = 0.5 * value * std::erfc(-value * std::sqrt(0.5));
    // Half a unit of bfloat16's last place, and what the tail is off by.
    const double limit = std::fabs(exact) * (1.0 / 256 + 1e-5) + (value < -5.75 ? 1e-12 : 1e-38);
    ASSERT_LE(std::fabs(actual[i] - exact), limit) << "of " << value;
  }
}

}  // namespace
}  // namespace skein
