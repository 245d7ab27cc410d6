#include "cuda/blas_lt.h"

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <map>
#include <vector>

#include "cuda/cuda_check.h"

namespace skein::cuda {
namespace {

// cuBLAS's advice for Hopper.
constexpr size_t kWorkspaceBytes = 32u << 20;
// Algorithms that are timed, and how often each runs.
constexpr int kTimedCandidates = 4;
constexpr int kTimedRuns = 3;
// Algorithms among which a fixed one is looked for.
constexpr int kFixedCandidates = 16;
// The number of rows for which a fixed algorithm is chosen. Few: tiles of many rows leave most
// multiprocessors without work when a step has a handful, and decoding is most of the time.
constexpr int64_t kFixedRows = 64;
// Plans that are kept; the one unused for longest goes first. A model has some ten shapes.
constexpr size_t kMaxPlans = 512;

void CheckBlas(cublasStatus_t status, const char* call, int line) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error("DEVICE_ERROR", Format("%s failed: %s at %s:%d", call,
                                     cublasLtGetStatusString(status), __FILE__, line));
}
#define SKEIN_BLAS(call) CheckBlas((call), #call, __LINE__)

// Largest power of two up to 16 that divides the number of bytes; no algorithm asks for more.
uint32_t Alignment(uint64_t bytes) {
  const uint64_t bits = bytes | 16u;
  return static_cast<uint32_t>(bits & (~bits + 1));
}
uint32_t StrideAlignment(const Matrix& matrix) {
  return Alignment(static_cast<uint64_t>(matrix.stride) * SizeOf(matrix.type));
}
uint32_t AlignmentOf(const Matrix& matrix) {
  return std::min(Alignment(reinterpret_cast<uint64_t>(matrix.data)), StrideAlignment(matrix));
}

cudaDataType_t DataType(DType type) {
  SKEIN_CHECK(type == DType::kBFloat16 || type == DType::kFloat32, "no product in %s", Name(type));
  return type == DType::kBFloat16 ? CUDA_R_16BF : CUDA_R_32F;
}

// Prompts have any number of rows, and each would be timed by itself: numbers that cut into the
// same count of tiles share an algorithm. Each class is its largest member.
int64_t RowClass(int64_t rows) {
  const int64_t step = rows <= 64 ? 1 : rows <= 512 ? 64 : rows <= 2048 ? 128 : 512;
  return (rows + step - 1) / step * step;
}

// Everything that the choice of an algorithm depends on. Alignments of weight, x and out.
struct Key {
  int64_t rows, k, m;
  DType out_type;
  bool has_bias;
  std::array<uint32_t, 3> alignments;

  auto operator<=>(const Key&) const = default;
};

struct Plan {
  cublasLtMatmulDescOpaque_t operation{};
  cublasLtMatmulAlgo_t algorithm{};
  bool is_timed = false;
  // The last number of rows with which the algorithm was checked.
  int64_t checked_rows = 0;
  uint64_t last_use = 0;
};

// Layouts of one product, column-major: D [m, n] = A^T [m, k] B [k, n], where A is the weight, B
// the rows of x, D the rows of out.
struct Layouts {
  cublasLtMatrixLayoutOpaque_t a{}, b{}, d{};

  Layouts(const Matrix& x, const Matrix& weight, const Matrix& out, int64_t rows) {
    const auto init = [](cublasLtMatrixLayoutOpaque_t& layout, cudaDataType_t type, int64_t height,
                         int64_t width, int64_t stride) {
      SKEIN_BLAS(cublasLtMatrixLayoutInit(&layout, type, static_cast<uint64_t>(height),
                                          static_cast<uint64_t>(width), stride));
    };
    init(a, CUDA_R_16BF, weight.cols, weight.rows, weight.stride);
    init(b, CUDA_R_16BF, x.cols, rows, x.stride);
    init(d, DataType(out.type), out.cols, rows, out.stride);
  }
};

template <typename T>
T ConfigOf(const cublasLtMatmulAlgo_t& algorithm, cublasLtMatmulAlgoConfigAttributes_t attribute) {
  T value{};
  size_t written = 0;
  SKEIN_BLAS(
      cublasLtMatmulAlgoConfigGetAttribute(&algorithm, attribute, &value, sizeof(value), &written));
  return value;
}

}  // namespace

struct BlasLt::Impl {
  cublasLtHandle_t handle = nullptr;
  cudaStream_t stream = nullptr;
  void* workspace = nullptr;
  BlasChoice choice = BlasChoice::kHeuristic;
  int64_t timed_rows = 0;
  cudaEvent_t start = nullptr, end = nullptr;
  std::map<Key, std::unique_ptr<Plan>> plans;
  uint64_t uses = 0;

  ~Impl() {
    if (start != nullptr) cudaEventDestroy(start);
    if (end != nullptr) cudaEventDestroy(end);
    if (workspace != nullptr) cudaFree(workspace);
    if (handle != nullptr) cublasLtDestroy(handle);
  }

  // Sums that are split over blocks, by k or by runs of tiles, go through the workspace. How they
  // are split depends on the number of rows, so a fixed algorithm gets none.
  size_t WorkspaceBytes() const { return choice == BlasChoice::kFixed ? 0 : kWorkspaceBytes; }

  static void InitOperation(cublasLtMatmulDescOpaque_t& operation, const Key& key) {
    const cudaDataType_t out_type = DataType(key.out_type);
    const auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto& value) {
      SKEIN_BLAS(cublasLtMatmulDescSetAttribute(&operation, attribute, &value, sizeof(value)));
    };
    SKEIN_BLAS(cublasLtMatmulDescInit(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
    if (!key.has_bias) return;
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, out_type);
  }

  // The heuristic's algorithms, best first, for these layouts.
  std::vector<cublasLtMatmulHeuristicResult_t> Candidates(cublasLtMatmulDescOpaque_t& operation,
                                                          Layouts& layouts, const Key& key,
                                                          int count) {
    cublasLtMatmulPreferenceOpaque_t preference;
    SKEIN_BLAS(cublasLtMatmulPreferenceInit(&preference));
    const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
      SKEIN_BLAS(
          cublasLtMatmulPreferenceSetAttribute(&preference, attribute, &value, sizeof(value)));
    };
    const bool fixed = choice == BlasChoice::kFixed;
    const size_t workspace_bytes = WorkspaceBytes();
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes);
    if (fixed) {
      const uint32_t no_reduction = CUBLASLT_REDUCTION_SCHEME_NONE;
      set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, no_reduction);
    }
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, key.alignments[0]);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key.alignments[1]);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key.alignments[2]);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key.alignments[2]);
    std::vector<cublasLtMatmulHeuristicResult_t> results(static_cast<size_t>(count));
    int found = 0;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(handle, &operation, &layouts.a, &layouts.b, &layouts.d,
                                       &layouts.d, &preference, count, results.data(), &found);
    if (status != CUBLAS_STATUS_NOT_SUPPORTED) SKEIN_BLAS(status);
    results.resize(static_cast<size_t>(found));
    std::erase_if(results,
                  [](const auto& result) { return result.state != CUBLAS_STATUS_SUCCESS; });
    if (results.empty()) {
      throw Error("DEVICE_ERROR",
                  Format("cuBLASLt has no algorithm for a product of %lld x %lld by %lld",
                         static_cast<long long>(key.rows), static_cast<long long>(key.k),
                         static_cast<long long>(key.m)));
    }
    return results;
  }

  bool Takes(Plan& plan, const cublasLtMatmulAlgo_t& algorithm, Layouts& layouts) {
    cublasLtMatmulHeuristicResult_t result{};
    return cublasLtMatmulAlgoCheck(handle, &plan.operation, &layouts.a, &layouts.b, &layouts.d,
                                   &layouts.d, &algorithm, &result) == CUBLAS_STATUS_SUCCESS &&
           result.workspaceSize <= WorkspaceBytes();
  }

  // The first algorithm that sums every output in one block, in an order that the number of rows
  // does not change, and that takes few rows and many.
  void ChooseFixed(Plan& plan, const Key& key, const Matrix& x, const Matrix& weight,
                   const Matrix& out) {
    Layouts canonical(x, weight, out, kFixedRows);
    for (const auto& result : Candidates(plan.operation, canonical, key, kFixedCandidates)) {
      if (ConfigOf<int32_t>(result.algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM) > 1 ||
          ConfigOf<uint32_t>(result.algo, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME) !=
              CUBLASLT_REDUCTION_SCHEME_NONE) {
        continue;
      }
      bool takes_all = true;
      for (const int64_t rows : {1, 2, 7, 8, 64, 300, 4096, 8201}) {
        Layouts layouts(x, weight, out, rows);
        takes_all = takes_all && Takes(plan, result.algo, layouts);
      }
      if (!takes_all) continue;
      plan.algorithm = result.algo;
      return;
    }
    throw Error("DEVICE_ERROR",
                Format("deterministic: cuBLASLt has no algorithm for %lld by %lld that fits every "
                       "number of rows",
                       static_cast<long long>(key.k), static_cast<long long>(key.m)));
  }

  bool IsCapturing() const {
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    SKEIN_CUDA(cudaStreamIsCapturing(stream, &capture));
    return capture != cudaStreamCaptureStatusNone;
  }

  void Run(Plan& plan, const cublasLtMatmulAlgo_t& algorithm, Layouts& layouts, const Matrix& x,
           const Matrix& weight, const void* bias, const Matrix& out) {
    if (bias != nullptr) {
      SKEIN_BLAS(cublasLtMatmulDescSetAttribute(&plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                                &bias, sizeof(bias)));
    }
    const float one = 1.0f;
    const float zero = 0.0f;
    SKEIN_BLAS(cublasLtMatmul(handle, &plan.operation, &one, weight.data, &layouts.a, x.data,
                              &layouts.b, &zero, out.data, &layouts.d, out.data, &layouts.d,
                              &algorithm, workspace, WorkspaceBytes(), stream));
  }

  // The one that takes the least time on these operands, of those that take them.
  void ChooseFastest(Plan& plan, const std::vector<cublasLtMatmulHeuristicResult_t>& candidates,
                     Layouts& layouts, const Matrix& x, const Matrix& weight, const void* bias,
                     const Matrix& out) {
    float best_ms = 0;
    for (const auto& candidate : candidates) {
      if (!Takes(plan, candidate.algo, layouts)) continue;
      Run(plan, candidate.algo, layouts, x, weight, bias, out);
      SKEIN_CUDA(cudaEventRecord(start, stream));
      for (int run = 0; run < kTimedRuns; ++run) {
        Run(plan, candidate.algo, layouts, x, weight, bias, out);
      }
      SKEIN_CUDA(cudaEventRecord(end, stream));
      SKEIN_CUDA(cudaEventSynchronize(end));
      float ms = 0;
      SKEIN_CUDA(cudaEventElapsedTime(&ms, start, end));
      if (best_ms == 0 || ms < best_ms) {
        plan.algorithm = candidate.algo;
        best_ms = ms;
      }
    }
    plan.is_timed = true;
  }

  Plan& Find(const Key& key, const Matrix& x, const Matrix& weight, const void* bias,
             const Matrix& out) {
    const bool timed = choice == BlasChoice::kTimed && x.rows >= timed_rows;
    auto found = plans.find(key);
    if (found == plans.end()) {
      if (plans.size() >= kMaxPlans) {
        plans.erase(std::min_element(plans.begin(), plans.end(), [](const auto& a, const auto& b) {
          return a.second->last_use < b.second->last_use;
        }));
      }
      auto plan = std::make_unique<Plan>();
      InitOperation(plan->operation, key);
      if (choice == BlasChoice::kFixed) {
        ChooseFixed(*plan, key, x, weight, out);
      } else {
        Layouts largest(x, weight, out, key.rows);
        plan->algorithm = Candidates(plan->operation, largest, key, 1)[0].algo;
      }
      found = plans.emplace(key, std::move(plan)).first;
    }
    Plan& plan = *found->second;
    plan.last_use = ++uses;
    if (timed && !plan.is_timed && !IsCapturing()) {
      Layouts largest(x, weight, out, key.rows), layouts(x, weight, out, x.rows);
      ChooseFastest(plan, Candidates(plan.operation, largest, key, kTimedCandidates), layouts, x,
                    weight, bias, out);
    }
    return plan;
  }
};

BlasLt::BlasLt(cudaStream_t stream, BlasChoice choice, int64_t timed_rows)
    : impl_(std::make_unique<Impl>()) {
  impl_->choice = choice;
  impl_->timed_rows = timed_rows;
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
  Impl& impl = *impl_;
  const bool fixed = impl.choice == BlasChoice::kFixed;
  Key key{fixed ? 0 : RowClass(x.rows),
          x.cols,
          weight.rows,
          out.type,
          bias != nullptr,
          {AlignmentOf(weight), AlignmentOf(x), AlignmentOf(out)}};
  // The alignment of a matrix whose rows are no multiples of 16 bytes depends on its first row, and
  // so on the batch: the second choice then, which asks for no more than the elements' own.
  if (fixed && key.alignments[1] < 16) key.alignments[1] = 2;
  if (fixed && key.alignments[2] < 16) {
    key.alignments[2] = static_cast<uint32_t>(SizeOf(out.type));
  }
  Layouts layouts(x, weight, out, x.rows);
  Plan* plan = &impl.Find(key, x, weight, bias, out);
  if (plan->checked_rows != x.rows) {
    if (!impl.Takes(*plan, plan->algorithm, layouts)) {
      SKEIN_CHECK(!fixed, "deterministic: the algorithm for %lld by %lld takes no %lld rows",
                  static_cast<long long>(key.k), static_cast<long long>(key.m),
                  static_cast<long long>(x.rows));
      // A class of its own.
      key.rows = x.rows;
      plan = &impl.Find(key, x, weight, bias, out);
    }
    plan->checked_rows = x.rows;
  }
  impl.Run(*plan, plan->algorithm, layouts, x, weight, bias, out);
}

}  // namespace skein::cuda
