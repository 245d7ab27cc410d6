#include "cuda/blas_lt.h"

#include <cublasLt.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "cuda/cuda_check.h"

namespace skein::cuda {
namespace {

// cuBLAS's advice for Hopper.
constexpr size_t kWorkspaceBytes = 32u << 20;
// Algorithms that are timed, and how often each runs.
constexpr int kCandidates = 8;
constexpr int kTimedRuns = 3;

void CheckBlas(cublasStatus_t status, const char* call, int line) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error("DEVICE_ERROR", Format("%s failed: %s at %s:%d", call,
                                     cublasLtGetStatusString(status), __FILE__, line));
}
#define SKEIN_BLAS(call) CheckBlas((call), #call, __LINE__)

// Largest power of two up to 256 that divides the address and the stride in bytes.
uint32_t Alignment(const void* pointer, int64_t stride_bytes) {
  const uint64_t bits =
      reinterpret_cast<uint64_t>(pointer) | static_cast<uint64_t>(stride_bytes) | 256u;
  return static_cast<uint32_t>(bits & (~bits + 1));
}

cudaDataType_t DataType(DType type) {
  SKEIN_CHECK(type == DType::kBFloat16 || type == DType::kFloat32, "no product in %s", Name(type));
  return type == DType::kBFloat16 ? CUDA_R_16BF : CUDA_R_32F;
}

// Everything that the choice of an algorithm depends on.
using Key = std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int, bool, uint32_t,
                       uint32_t, uint32_t>;

struct Plan {
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, d = nullptr;
  cublasLtMatmulAlgo_t algorithm{};

  ~Plan() {
    if (a != nullptr) cublasLtMatrixLayoutDestroy(a);
    if (b != nullptr) cublasLtMatrixLayoutDestroy(b);
    if (d != nullptr) cublasLtMatrixLayoutDestroy(d);
    if (operation != nullptr) cublasLtMatmulDescDestroy(operation);
  }
};

}  // namespace

struct BlasLt::Impl {
  cublasLtHandle_t handle = nullptr;
  cudaStream_t stream = nullptr;
  void* workspace = nullptr;
  bool tunes = false;
  cudaEvent_t start = nullptr, end = nullptr;
  std::map<Key, std::unique_ptr<Plan>> plans;

  ~Impl() {
    plans.clear();
    if (start != nullptr) cudaEventDestroy(start);
    if (end != nullptr) cudaEventDestroy(end);
    if (workspace != nullptr) cudaFree(workspace);
    if (handle != nullptr) cublasLtDestroy(handle);
  }

  // Column-major view: D [m, n] = A^T [m, k] B [k, n], where A is the weight, B the rows of x, D
  // the rows of out.
  std::unique_ptr<Plan> MakePlan(const Matrix& x, const Matrix& weight, const void* bias,
                                 const Matrix& out) {
    auto plan = std::make_unique<Plan>();
    const cudaDataType_t out_type = DataType(out.type);
    SKEIN_BLAS(cublasLtMatmulDescCreate(&plan->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    const cublasOperation_t transposed = CUBLAS_OP_T;
    SKEIN_BLAS(cublasLtMatmulDescSetAttribute(plan->operation, CUBLASLT_MATMUL_DESC_TRANSA,
                                              &transposed, sizeof(transposed)));
    if (bias != nullptr) {
      const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
      SKEIN_BLAS(cublasLtMatmulDescSetAttribute(plan->operation, CUBLASLT_MATMUL_DESC_EPILOGUE,
                                                &epilogue, sizeof(epilogue)));
      SKEIN_BLAS(cublasLtMatmulDescSetAttribute(
          plan->operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &out_type, sizeof(out_type)));
    }
    SKEIN_BLAS(
        cublasLtMatrixLayoutCreate(&plan->a, CUDA_R_16BF, weight.cols, weight.rows, weight.stride));
    SKEIN_BLAS(cublasLtMatrixLayoutCreate(&plan->b, CUDA_R_16BF, x.cols, x.rows, x.stride));
    SKEIN_BLAS(cublasLtMatrixLayoutCreate(&plan->d, out_type, out.cols, out.rows, out.stride));

    cublasLtMatmulPreference_t preference;
    SKEIN_BLAS(cublasLtMatmulPreferenceCreate(&preference));
    const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
      SKEIN_BLAS(
          cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value)));
    };
    const size_t workspace_bytes = kWorkspaceBytes;
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, Alignment(weight.data, weight.stride * 2));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, Alignment(x.data, x.stride * 2));
    const uint32_t out_alignment =
        Alignment(out.data, out.stride * static_cast<int64_t>(SizeOf(out.type)));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, out_alignment);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, out_alignment);
    cublasLtMatmulHeuristicResult_t results[kCandidates] = {};
    int found = 0;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(handle, plan->operation, plan->a, plan->b, plan->d, plan->d,
                                       preference, tunes ? kCandidates : 1, results, &found);
    cublasLtMatmulPreferenceDestroy(preference);
    SKEIN_BLAS(status);
    if (found == 0) {
      throw Error("DEVICE_ERROR",
                  Format("cuBLASLt has no algorithm for a product of %lld x %lld by %lld",
                         static_cast<long long>(x.rows), static_cast<long long>(x.cols),
                         static_cast<long long>(weight.rows)));
    }
    plan->algorithm = results[0].algo;
    if (found > 1)
      plan->algorithm = results[Fastest(*plan, x, weight, bias, out, results, found)].algo;
    return plan;
  }

  void Run(const Plan& plan, const Matrix& x, const Matrix& weight, const void* bias,
           const Matrix& out, const cublasLtMatmulAlgo_t& algorithm) {
    if (bias != nullptr) {
      SKEIN_BLAS(cublasLtMatmulDescSetAttribute(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                                &bias, sizeof(bias)));
    }
    const float one = 1.0f;
    const float zero = 0.0f;
    SKEIN_BLAS(cublasLtMatmul(handle, plan.operation, &one, weight.data, plan.a, x.data, plan.b,
                              &zero, out.data, plan.d, out.data, plan.d, &algorithm, workspace,
                              kWorkspaceBytes, stream));
  }

  // Index of the algorithm that takes the least time on these operands. The first one while a graph
  // is recorded.
  int Fastest(const Plan& plan, const Matrix& x, const Matrix& weight, const void* bias,
              const Matrix& out, const cublasLtMatmulHeuristicResult_t* results, int count) {
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    SKEIN_CUDA(cudaStreamIsCapturing(stream, &capture));
    if (capture != cudaStreamCaptureStatusNone) return 0;
    int best = 0;
    float best_ms = 0;
    for (int i = 0; i < count; ++i) {
      if (results[i].state != CUBLAS_STATUS_SUCCESS) continue;
      Run(plan, x, weight, bias, out, results[i].algo);
      SKEIN_CUDA(cudaEventRecord(start, stream));
      for (int run = 0; run < kTimedRuns; ++run) {
        Run(plan, x, weight, bias, out, results[i].algo);
      }
      SKEIN_CUDA(cudaEventRecord(end, stream));
      SKEIN_CUDA(cudaEventSynchronize(end));
      float ms = 0;
      SKEIN_CUDA(cudaEventElapsedTime(&ms, start, end));
      if (best_ms == 0 || ms < best_ms) {
        best = i;
        best_ms = ms;
      }
    }
    return best;
  }
};

BlasLt::BlasLt(cudaStream_t stream, bool tunes) : impl_(std::make_unique<Impl>()) {
  impl_->tunes = tunes;
  impl_->stream = stream;
  SKEIN_BLAS(cublasLtCreate(&impl_->handle));
  SKEIN_CUDA(cudaMalloc(&impl_->workspace, kWorkspaceBytes));
  SKEIN_CUDA(cudaEventCreate(&impl_->start));
  SKEIN_CUDA(cudaEventCreate(&impl_->end));
}

BlasLt::~BlasLt() = default;

void BlasLt::Product(const Matrix& x, const Matrix& weight, const void* bias, const Matrix& out) {
  if (x.rows == 0) return;
  SKEIN_CHECK(x.cols == weight.cols && out.cols == weight.rows && out.rows == x.rows,
              "x [%lld, %lld], weight [%lld, %lld], out [%lld, %lld]",
              static_cast<long long>(x.rows), static_cast<long long>(x.cols),
              static_cast<long long>(weight.rows), static_cast<long long>(weight.cols),
              static_cast<long long>(out.rows), static_cast<long long>(out.cols));
  const Key key{x.rows,
                x.cols,
                weight.rows,
                x.stride,
                weight.stride,
                out.stride,
                static_cast<int>(out.type),
                bias != nullptr,
                Alignment(x.data, x.stride * 2),
                Alignment(weight.data, weight.stride * 2),
                Alignment(out.data, out.stride * static_cast<int64_t>(SizeOf(out.type)))};
  auto& plan = impl_->plans[key];
  if (plan == nullptr) plan = impl_->MakePlan(x, weight, bias, out);
  impl_->Run(*plan, x, weight, bias, out, plan->algorithm);
}

}  // namespace skein::cuda
