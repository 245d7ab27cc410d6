#include "cuda/blas_lt.h"

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <optional>
#include <vector>

#include "cuda/cuda_check.h"
#include "cuda/device_memory.h"
#include "cuda/launch_probe.h"
#include "cuda/product_class.h"

namespace skein::cuda {
namespace {

// cuBLAS's advice for Hopper.
constexpr size_t kWorkspaceBytes = 32u << 20;
// Algorithms that are timed, and how often each runs.
constexpr int kTimedCandidates = 4;
constexpr int kTimedRuns = 3;
// Written between timed runs, so that none finds a weight in the L2 cache, as no step does.
constexpr size_t kFlushBytes = 128u << 20;
// Algorithms among which a fixed one is looked for.
constexpr int kFixedCandidates = 16;
// The number of rows of every product of a fixed algorithm: a tile of Hopper's.
constexpr int64_t kFixedRows = 128;
// Plans that are kept; the one unused for longest goes first. A model has some ten shapes.
constexpr size_t kMaxPlans = 512;

void CheckBlas(cublasStatus_t status, const char* call, int line) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error("DEVICE_ERROR", Format("%s failed: %s at %s:%d", call,
                                     cublasLtGetStatusString(status), __FILE__, line));
}
#define SKEIN_BLAS(call) CheckBlas((call), #call, __LINE__)

cudaDataType_t DataType(DType type) {
  SKEIN_CHECK(type == DType::kBFloat16 || type == DType::kFloat32, "no product in %s", Name(type));
  return type == DType::kBFloat16 ? CUDA_R_16BF : CUDA_R_32F;
}

int64_t RoundUp(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

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
  size_t workspace_bytes = kWorkspaceBytes;
  bool is_timed = false;
  // Whether the algorithm's kernels are known to be launched plainly.
  std::optional<bool> is_plain;
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

void CheckShapes(const Matrix& x, const Matrix& weight, const Matrix& out) {
  SKEIN_CHECK(x.cols == weight.cols && out.cols == weight.rows && out.rows == x.rows,
              "x [%lld, %lld], weight [%lld, %lld], out [%lld, %lld]",
              static_cast<long long>(x.rows), static_cast<long long>(x.cols),
              static_cast<long long>(weight.rows), static_cast<long long>(weight.cols),
              static_cast<long long>(out.rows), static_cast<long long>(out.cols));
}

}  // namespace

struct BlasLt::Impl {
  Stream& stream;
  const BlasChoice choice;
  cublasLtHandle_t handle = nullptr;
  DeviceMemory workspace{kWorkspaceBytes};
  // kFixedRows rows of x, and of out, for what a fixed algorithm does not take as it is.
  DeviceMemory x_tile, out_tile;
  cudaEvent_t start = nullptr, end = nullptr;
  std::map<Key, std::unique_ptr<Plan>> plans;
  uint64_t uses = 0;

  Impl(Stream& on, BlasChoice how) : stream(on), choice(how) {}
  ~Impl() {
    if (start != nullptr) cudaEventDestroy(start);
    if (end != nullptr) cudaEventDestroy(end);
    if (handle != nullptr) cublasLtDestroy(handle);
  }

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

  // The heuristic's algorithms, best first, for these layouts. Perhaps none.
  std::vector<cublasLtMatmulHeuristicResult_t> Candidates(Plan& plan, Layouts& layouts,
                                                          const Key& key, int count) {
    cublasLtMatmulPreferenceOpaque_t preference;
    SKEIN_BLAS(cublasLtMatmulPreferenceInit(&preference));
    const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
      SKEIN_BLAS(
          cublasLtMatmulPreferenceSetAttribute(&preference, attribute, &value, sizeof(value)));
    };
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, plan.workspace_bytes);
    if (choice == BlasChoice::kFixed) {
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
        cublasLtMatmulAlgoGetHeuristic(handle, &plan.operation, &layouts.a, &layouts.b, &layouts.d,
                                       &layouts.d, &preference, count, results.data(), &found);
    if (status != CUBLAS_STATUS_NOT_SUPPORTED) SKEIN_BLAS(status);
    results.resize(static_cast<size_t>(found));
    std::erase_if(results,
                  [](const auto& result) { return result.state != CUBLAS_STATUS_SUCCESS; });
    return results;
  }

  bool Takes(Plan& plan, const cublasLtMatmulAlgo_t& algorithm, Layouts& layouts) {
    cublasLtMatmulHeuristicResult_t result{};
    return cublasLtMatmulAlgoCheck(handle, &plan.operation, &layouts.a, &layouts.b, &layouts.d,
                                   &layouts.d, &algorithm, &result) == CUBLAS_STATUS_SUCCESS &&
           result.workspaceSize <= plan.workspace_bytes;
  }

  // The first algorithm that sums every output in one block, so that a row's place in the tile does
  // not change its bits. Sums that are split, by k or by runs of tiles, go through the workspace,
  // so the first choice is one that gets none.
  void ChooseFixed(Plan& plan, const Key& key, Layouts& layouts) {
    for (const size_t bytes : {size_t{0}, kWorkspaceBytes}) {
      plan.workspace_bytes = bytes;
      for (const auto& result : Candidates(plan, layouts, key, kFixedCandidates)) {
        if (ConfigOf<int32_t>(result.algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM) > 1 ||
            ConfigOf<uint32_t>(result.algo, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME) !=
                CUBLASLT_REDUCTION_SCHEME_NONE) {
          continue;
        }
        plan.algorithm = result.algo;
        return;
      }
    }
    throw NoAlgorithm(key, "deterministic");
  }

  static Error NoAlgorithm(const Key& key, const char* choice) {
    return Error("DEVICE_ERROR",
                 Format("%s: cuBLASLt has no algorithm for a product of %lld x %lld by %lld in %s, "
                        "rows at multiples of %u, %u, %u bytes",
                        choice, static_cast<long long>(key.rows), static_cast<long long>(key.k),
                        static_cast<long long>(key.m), Name(key.out_type), key.alignments[0],
                        key.alignments[1], key.alignments[2]));
  }

  // What stands in front on the stream, if not a kernel, has ended when the product starts.
  void Run(Plan& plan, const cublasLtMatmulAlgo_t& algorithm, Layouts& layouts, const Matrix& x,
           const Matrix& weight, const void* bias, const Matrix& out, Stream& on, bool is_fenced,
           bool adds = false) {
    if (bias != nullptr) {
      SKEIN_BLAS(cublasLtMatmulDescSetAttribute(&plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                                &bias, sizeof(bias)));
    }
    const float one = 1.0f;
    const float kept = adds ? 1.0f : 0.0f;
    SKEIN_BLAS(cublasLtMatmul(handle, &plan.operation, &one, weight.data, &layouts.a, x.data,
                              &layouts.b, &kept, out.data, &layouts.d, out.data, &layouts.d,
                              &algorithm, workspace.data(), plan.workspace_bytes,
                              is_fenced ? on.ForLibrary() : on.ForDriver()));
  }

  // Behind a fence, unless the algorithm's kernels are launched plainly; that is looked up once.
  void RunChosen(Plan& plan, Layouts& layouts, const Matrix& x, const Matrix& weight,
                 const void* bias, const Matrix& out, bool adds = false) {
    if (!plan.is_plain.has_value() && !stream.IsCapturing()) {
      plan.is_plain = IsLaunchedPlainly([&](Stream& trial) {
        Run(plan, plan.algorithm, layouts, x, weight, bias, out, trial, false);
      });
    }
    Run(plan, plan.algorithm, layouts, x, weight, bias, out, stream, !plan.is_plain.value_or(false),
        adds);
  }

  // The one that takes the least time on these operands, of those that take them: the best of a few
  // runs each, in turn.
  void ChooseFastest(Plan& plan, const Key& key, const Matrix& x, const Matrix& weight,
                     const void* bias, const Matrix& out) {
    Layouts largest(x, weight, out, key.rows), layouts(x, weight, out, x.rows);
    auto candidates = Candidates(plan, largest, key, kTimedCandidates);
    std::erase_if(candidates,
                  [&](const auto& result) { return !Takes(plan, result.algo, layouts); });
    plan.is_timed = true;
    plan.is_plain.reset();
    if (candidates.empty()) return;
    DeviceMemory flush;
    try {
      flush = DeviceMemory(kFlushBytes);
    } catch (const Error&) {
      // A device that is full: the workspace is the next best.
      static_cast<void>(cudaGetLastError());
    }
    const DeviceMemory& written = flush.data() != nullptr ? flush : workspace;
    std::vector<float> best(candidates.size(), std::numeric_limits<float>::max());
    for (int run = 0; run < kTimedRuns; ++run) {
      for (size_t i = 0; i < candidates.size(); ++i) {
        // Its time also lets the host place both events and the product before they run.
        SKEIN_CUDA(cudaMemsetAsync(written.data(), 0, written.bytes(), stream.ForDriver()));
        SKEIN_CUDA(cudaEventRecord(start, stream.ForDriver()));
        Run(plan, candidates[i].algo, layouts, x, weight, bias, out, stream, false);
        SKEIN_CUDA(cudaEventRecord(end, stream.ForDriver()));
        SKEIN_CUDA(cudaEventSynchronize(end));
        float ms = 0;
        SKEIN_CUDA(cudaEventElapsedTime(&ms, start, end));
        best[i] = std::min(best[i], ms);
      }
    }
    plan.algorithm =
        candidates[static_cast<size_t>(std::min_element(best.begin(), best.end()) - best.begin())]
            .algo;
  }

  Plan& Find(const Key& key, const Matrix& x, const Matrix& weight, const void* bias,
             const Matrix& out) {
    auto found = plans.find(key);
    if (found == plans.end()) {
      if (plans.size() >= kMaxPlans) {
        plans.erase(std::min_element(plans.begin(), plans.end(), [](const auto& a, const auto& b) {
          return a.second->last_use < b.second->last_use;
        }));
      }
      auto plan = std::make_unique<Plan>();
      InitOperation(plan->operation, key);
      Layouts layouts(x, weight, out, key.rows);
      if (choice == BlasChoice::kFixed) {
        ChooseFixed(*plan, key, layouts);
      } else {
        const auto candidates = Candidates(*plan, layouts, key, 1);
        if (candidates.empty()) throw NoAlgorithm(key, "fastest");
        plan->algorithm = candidates[0].algo;
      }
      found = plans.emplace(key, std::move(plan)).first;
    }
    Plan& plan = *found->second;
    plan.last_use = ++uses;
    if (choice == BlasChoice::kTimed && x.rows <= kMaxTimedRows && !plan.is_timed &&
        !stream.IsCapturing()) {
      ChooseFastest(plan, key, x, weight, bias, out);
    }
    return plan;
  }

  // Any number of rows, one algorithm for each class of them.
  void Product(const Matrix& x, const Matrix& weight, const void* bias, const Matrix& out,
               bool adds = false) {
    Key key{RowClass(x.rows), x.cols,
            weight.rows,      out.type,
            bias != nullptr,  {AlignmentOf(weight), AlignmentOf(x), AlignmentOf(out)}};
    Layouts layouts(x, weight, out, x.rows);
    Plan* plan = &Find(key, x, weight, bias, out);
    if (plan->checked_rows != x.rows) {
      if (!Takes(*plan, plan->algorithm, layouts)) {
        // A class of its own.
        key.rows = x.rows;
        plan = &Find(key, x, weight, bias, out);
      }
      plan->checked_rows = x.rows;
    }
    RunChosen(*plan, layouts, x, weight, bias, out, adds);
  }

  bool Reserve(int64_t k, int64_t m) {
    if (choice != BlasChoice::kFixed) return false;
    bool moved = false;
    const auto grow = [&](DeviceMemory& tile, int64_t cols, size_t size) {
      const size_t bytes = static_cast<size_t>(kFixedRows * RoundUp(cols, 8)) * size;
      if (tile.bytes() >= bytes) return;
      stream.Synchronize();
      tile = DeviceMemory(bytes);
      // Rows without a value are multiplied too.
      SKEIN_CUDA(cudaMemsetAsync(tile.data(), 0, bytes, stream.ForDriver()));
      moved = true;
    };
    grow(x_tile, k, 2);
    grow(out_tile, m, sizeof(float));
    return moved;
  }

  // Products of kFixedRows rows, whatever their number: one shape, so one algorithm. Rows that fill
  // no tile, or that are not aligned for every row alike, are multiplied in a tile of our own.
  void FixedProduct(const Matrix& x, const Matrix& weight, const void* bias, const Matrix& out) {
    const auto tile_of = [](const DeviceMemory& memory, const Matrix& like) {
      const int64_t stride = RoundUp(like.cols, 8);
      SKEIN_CHECK(memory.bytes() >= static_cast<size_t>(kFixedRows * stride) * SizeOf(like.type),
                  "deterministic: no room for tiles of %lld columns",
                  static_cast<long long>(like.cols));
      Matrix tile = MakeMatrix(memory.data(), like.type, kFixedRows, like.cols);
      tile.stride = stride;
      return tile;
    };
    const Matrix own_x = tile_of(x_tile, x), own_out = tile_of(out_tile, out);
    const Key key{kFixedRows, x.cols,          weight.rows,
                  out.type,   bias != nullptr, {AlignmentOf(weight), 16, 16}};
    Plan& plan = Find(key, own_x, weight, bias, own_out);
    const auto copy = [&](const Matrix& from, const Matrix& to) {
      SKEIN_CUDA(cudaMemcpy2DAsync(to.data, static_cast<size_t>(to.stride) * SizeOf(to.type),
                                   from.data, static_cast<size_t>(from.stride) * SizeOf(from.type),
                                   from.RowBytes(), static_cast<size_t>(from.rows),
                                   cudaMemcpyDeviceToDevice, stream.ForDriver()));
    };
    for (int64_t first = 0; first < x.rows; first += kFixedRows) {
      const int64_t rows = std::min(kFixedRows, x.rows - first);
      const Matrix x_rows = x.Rows(first, rows), out_rows = out.Rows(first, rows);
      const bool is_full = rows == kFixedRows;
      Matrix from = is_full && AlignmentOf(x) == 16 ? x_rows : own_x,
             to = is_full && AlignmentOf(out) == 16 ? out_rows : own_out;
      Layouts layouts(from, weight, to, kFixedRows);
      if (!Takes(plan, plan.algorithm, layouts)) {
        from = own_x, to = own_out;
        layouts = Layouts(from, weight, to, kFixedRows);
      }
      if (from.data == own_x.data) copy(x_rows, own_x.Rows(0, rows));
      RunChosen(plan, layouts, from, weight, bias, to);
      if (to.data == own_out.data) copy(own_out.Rows(0, rows), out_rows);
    }
  }
};

BlasLt::BlasLt(Stream& stream, BlasChoice choice) : impl_(std::make_unique<Impl>(stream, choice)) {
  SKEIN_BLAS(cublasLtCreate(&impl_->handle));
  SKEIN_CUDA(cudaEventCreate(&impl_->start));
  SKEIN_CUDA(cudaEventCreate(&impl_->end));
}

BlasLt::~BlasLt() = default;

bool BlasLt::Reserve(int64_t k, int64_t m) { return impl_->Reserve(k, m); }

void BlasLt::Product(const Matrix& x, const Matrix& weight, const void* bias, const Matrix& out) {
  if (x.rows == 0) return;
  CheckShapes(x, weight, out);
  if (impl_->choice == BlasChoice::kFixed) {
    impl_->FixedProduct(x, weight, bias, out);
  } else {
    impl_->Product(x, weight, bias, out);
  }
}

void BlasLt::AddProduct(const Matrix& x, const Matrix& weight, const Matrix& out) {
  CheckShapes(x, weight, out);
  SKEIN_CHECK(impl_->choice != BlasChoice::kFixed && x.rows > kMaxTimedRows, "%lld rows to add",
              static_cast<long long>(x.rows));
  impl_->Product(x, weight, nullptr, out, true);
}

}  // namespace skein::cuda
