// A CUDA back end beside the CPU's for tests: the same inputs on both, outputs poisoned, results
// compared. Tests derive from CudaOpsTest or use it as it is.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cuda/cuda_backend.h"
#include "cuda/cuda_check.h"
#include "cuda/device_copy.h"
#include "cuda/kernels/device_traits.h"
#include "ops/backend.h"
#include "test/cuda/under_checker.h"

namespace skein {

// bfloat16 has eight bits: half a unit in the last place is 2^-9.
inline constexpr double kRounding = 4e-3;

// A matrix on both back ends with the same (bfloat16-representable) values.
struct Twin {
  std::unique_ptr<DeviceTensor> cpu, cuda;
};

class CudaOpsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) return;
    cpu_ = MakeCpuBackend({});
    cuda_ = MakeCuda(true);
  }
  static void TearDownTestSuite() {
    cpu_.reset();
    cuda_.reset();
  }
  void SetUp() override {
    if (cuda_ == nullptr) GTEST_SKIP() << "no CUDA device";
    generator_.seed(7);
  }

  static std::unique_ptr<Backend> MakeCuda(bool deterministic) {
    BackendOptions options;
    options.device = "cuda:0";
    options.deterministic = deterministic;
    return MakeCudaBackend(options);
  }

  std::vector<float> Random(int64_t count, float scale = 1.0f, float offset = 0.0f) {
    std::normal_distribution<float> normal(offset, scale);
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = static_cast<float>(BFloat16(normal(generator_)));
    return values;
  }

  Twin MakeTwin(const std::vector<float>& values, int64_t rows, int64_t cols, DType cuda_type) {
    Twin twin{cpu_->Allocate(cpu_->activation_type(), rows, cols),
              cuda_->Allocate(cuda_type, rows, cols)};
    std::memcpy(twin.cpu->view().data, values.data(), values.size() * sizeof(float));
    if (cuda_type == DType::kFloat32) {
      cuda::CopyAndWait(twin.cuda->view().data, values.data(), values.size() * sizeof(float));
      return twin;
    }
    std::vector<BFloat16> rounded(values.begin(), values.end());
    cuda::CopyAndWait(twin.cuda->view().data, rounded.data(), rounded.size() * 2);
    return twin;
  }
  Twin RandomTwin(int64_t rows, int64_t cols, float scale = 1.0f,
                  DType cuda_type = DType::kBFloat16) {
    return MakeTwin(Random(rows * cols, scale), rows, cols, cuda_type);
  }
  Twin RandomResidual(int64_t rows, int64_t cols, float scale = 1.0f) {
    return RandomTwin(rows, cols, scale, DType::kFloat32);
  }
  Twin PoisonedTwin(int64_t rows, int64_t cols, DType cuda_type = DType::kBFloat16) {
    Twin twin{cpu_->Allocate(cpu_->activation_type(), rows, cols),
              cuda_->Allocate(cuda_type, rows, cols)};
    const auto count = static_cast<size_t>(rows * cols);
    std::memset(twin.cpu->view().data, 0xff, count * sizeof(float));
    SKEIN_CUDA(cudaMemset(twin.cuda->view().data, 0xff, count * SizeOf(cuda_type)));
    Settle();
    return twin;
  }
  Twin PoisonedResidual(int64_t rows, int64_t cols) {
    return PoisonedTwin(rows, cols, DType::kFloat32);
  }
  // float32 parameters on both.
  Twin Parameters(int64_t rows, int64_t cols, float scale, float offset) {
    std::vector<float> values = Random(rows * cols, scale, offset);
    const Matrix host = MakeMatrix(values.data(), DType::kFloat32, rows, cols);
    return {cpu_->Upload(host), cuda_->Upload(host)};
  }

  static std::vector<float> Read(const Matrix& matrix, bool on_device) {
    std::vector<float> values(static_cast<size_t>(matrix.rows * matrix.cols));
    std::vector<char> bytes(static_cast<size_t>(matrix.rows) * matrix.RowBytes());
    const size_t pitch = static_cast<size_t>(matrix.stride) * SizeOf(matrix.type);
    if (on_device) {
      SKEIN_CUDA(cudaMemcpy2D(bytes.data(), matrix.RowBytes(), matrix.data, pitch,
                              matrix.RowBytes(), static_cast<size_t>(matrix.rows),
                              cudaMemcpyDeviceToHost));
    } else {
      for (int64_t row = 0; row < matrix.rows; ++row) {
        std::memcpy(bytes.data() + static_cast<size_t>(row) * matrix.RowBytes(),
                    static_cast<const char*>(matrix.data) + static_cast<size_t>(row) * pitch,
                    matrix.RowBytes());
      }
    }
    for (size_t i = 0; i < values.size(); ++i) {
      if (matrix.type == DType::kFloat32) {
        std::memcpy(&values[i], bytes.data() + i * 4, 4);
      } else {
        BFloat16 value;
        std::memcpy(&value, bytes.data() + i * 2, 2);
        values[i] = static_cast<float>(value);
      }
    }
    return values;
  }

  // The back end's stream does not wait for the default stream, on which copies and fills may still
  // be under way when their calls return.
  static void Settle() { SKEIN_CUDA(cudaStreamSynchronize(nullptr)); }

  // Relative Frobenius distance; NaN never passes.
  void ExpectClose(const Matrix& cpu, const Matrix& cuda, double tolerance,
                   const std::string& what) {
    cuda_->FinishStep();
    cpu_->FinishStep();
    const std::vector<float> expected = Read(cpu, false);
    const std::vector<float> actual = Read(cuda, true);
    ASSERT_EQ(expected.size(), actual.size());
    double difference = 0, norm = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_TRUE(std::isfinite(expected[i])) << what << ": CPU element " << i;
      ASSERT_TRUE(std::isfinite(actual[i])) << what << ": CUDA element " << i;
      difference += std::pow(static_cast<double>(expected[i]) - actual[i], 2);
      norm += std::pow(static_cast<double>(expected[i]), 2);
    }
    EXPECT_LT(std::sqrt(difference), tolerance * std::sqrt(norm) + 1e-6) << what;
  }
  void ExpectClose(const Twin& twin, double tolerance, const std::string& what) {
    ExpectClose(twin.cpu->view(), twin.cuda->view(), tolerance, what);
  }

  inline static std::unique_ptr<Backend> cpu_, cuda_;
  std::mt19937 generator_;
};

// Of what only Hopper has.
class CudaHopperTest : public CudaOpsTest {
 protected:
  void SetUp() override {
    CudaOpsTest::SetUp();
    if (IsSkipped()) return;
    device_ = cuda::CurrentDeviceTraits();
    if (!device_.has_warpgroups) GTEST_SKIP() << "no warpgroup products";
  }

  // `expected` [rows, cols] is what `out` begins with, within `limit` of its norm; all else in `out`
  // is NaN still.
  void ExpectOnlyThese(const Matrix& out, int64_t rows, int64_t cols,
                       const std::vector<float>& expected, double limit) {
    const std::vector<float> actual = Read(out, true);
    double difference = 0, norm = 0;
    for (int64_t row = 0; row < out.rows; ++row) {
      for (int64_t column = 0; column < out.cols; ++column) {
        const float value = actual[static_cast<size_t>(row * out.cols + column)];
        if (row >= rows || column >= cols) {
          ASSERT_TRUE(std::isnan(value)) << "written at row " << row << ", column " << column;
          continue;
        }
        const float wanted = expected[static_cast<size_t>(row * cols + column)];
        ASSERT_TRUE(std::isfinite(value)) << "row " << row << ", column " << column;
        difference += std::pow(static_cast<double>(value) - wanted, 2);
        norm += std::pow(static_cast<double>(wanted), 2);
      }
    }
    EXPECT_LT(std::sqrt(difference / norm), limit);
  }

  cuda::DeviceTraits device_{};
};

// With a second back end that computes in the fastest way.
class CudaFastTest : public CudaOpsTest {
 protected:
  static void SetUpTestSuite() {
    CudaOpsTest::SetUpTestSuite();
    if (cuda_ != nullptr) fast_ = MakeCuda(false);
  }
  static void TearDownTestSuite() {
    fast_.reset();
    CudaOpsTest::TearDownTestSuite();
  }

  inline static std::unique_ptr<Backend> fast_;
};

}  // namespace skein
