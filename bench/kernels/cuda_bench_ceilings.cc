// What a GPU multiplies at most, beside what it reads at most, which every run measures first: a
// large bfloat16 product by cuBLASLt.
#include <string>

#include "cuda/blas_lt.h"
#include "cuda_bench.h"

namespace skein::cuda {
namespace {

constexpr int64_t kSide = 8192;
constexpr int kProducts = 10;

void Run(Report& report) {
  const size_t bytes = static_cast<size_t>(kSide * kSide) * 2;
  const DeviceMemory x(bytes), weight(bytes), out(bytes);
  FillRandomBFloat16(x.data(), kSide * kSide, 1.0f, 1, report.stream());
  FillRandomBFloat16(weight.data(), kSide * kSide, 0.02f, 2, report.stream());
  BlasLt blas(report.stream(), BlasChoice::kHeuristic);
  const auto matrix = [](const DeviceMemory& memory) {
    return MakeMatrix(memory.data(), DType::kBFloat16, kSide, kSide);
  };
  Measurement m;
  m.what = "largest product";
  m.shape = std::to_string(kSide) + " x " + std::to_string(kSide);
  m.variant = "cuBLASLt heuristic";
  m.rows = kSide;
  m.bytes = static_cast<double>(2 * bytes);
  m.microseconds = report.Microseconds(
      [&](int) { blas.Product(matrix(x), matrix(weight), nullptr, matrix(out)); }, kProducts);
  report.Print(m);
}

const BenchRegistration kRegistration("ceilings", Run);

}  // namespace
}  // namespace skein::cuda
