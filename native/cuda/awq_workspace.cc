#include "cuda/awq_workspace.h"

#include <algorithm>

namespace skein::cuda {
namespace {

// cuBLASLt's tile on Hopper: rows of x by columns.
constexpr int64_t kBlasRows = 128;
constexpr int64_t kBlasColumns = 256;
// Rates of one multiprocessor that ColumnsAtOnce weighs: bytes written while others multiply, and
// operations of the product.
constexpr double kWriteRate = 60e9;
constexpr double kProductRate = 4.5e12;
// And of the whole GPU, for the first columns, which nothing hides.
constexpr double kGpuWriteRate = 3e12;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

AwqWorkspace::AwqWorkspace(Stream& stream, ProductWorkspace& products)
    : stream_(stream), products_(products) {
  for (cudaEvent_t* event : {&started_, &ready_[0], &ready_[1], &free_[0], &free_[1]}) {
    SKEIN_CUDA(cudaEventCreateWithFlags(event, cudaEventDisableTiming));
  }
}

AwqWorkspace::~AwqWorkspace() {
  for (cudaEvent_t event : {started_, ready_[0], ready_[1], free_[0], free_[1]}) {
    if (event != nullptr) cudaEventDestroy(event);
  }
}

bool AwqWorkspace::Reserve(int64_t in_features, int64_t out_features) {
  bool moved = products_.Reserve(static_cast<size_t>(AwqPartialRoom(in_features, out_features)));
  if (products_.deterministic()) return moved;
  const auto buffer_bytes = static_cast<size_t>(AwqBufferBytes(in_features, out_features));
  for (DeviceMemory& buffer : buffers_) {
    if (buffer.bytes() >= buffer_bytes) continue;
    buffer = DeviceMemory(buffer_bytes);
    moved = true;
  }
  return moved;
}

// A tile of the product keeps a multiprocessor to itself. Columns are chosen so that the tiles, and
// what it takes to dequantise the next columns on multiprocessors without a tile, fill whole rounds
// of the GPU.
int64_t AwqWorkspace::ColumnsAtOnce(const AwqWeights& weights, int64_t rows) const {
  const auto in = static_cast<double>(weights.in_features);
  const int64_t row_tiles = CeilDiv(rows, kBlasRows);
  const int64_t all = CeilDiv(weights.out_features, kBlasColumns);
  const int64_t room = Room() / 2 / weights.in_features;
  const double tile_seconds = 2.0 * kBlasRows * kBlasColumns * in / kProductRate;
  const double write_tiles = kBlasColumns * in * 2 / kWriteRate / tile_seconds;
  const double first_tiles = kBlasColumns * in * 2 / kGpuWriteRate / tile_seconds;
  int64_t best = 0;
  double best_cost = 0;
  for (int64_t tiles = 1; tiles <= std::min(all, room / kBlasColumns); ++tiles) {
    const int64_t runs = CeilDiv(all, tiles);
    const double slots = static_cast<double>(tiles) *
                         (static_cast<double>(row_tiles) + (runs > 1 ? write_tiles : 0.0));
    const auto rounds = static_cast<double>(
        CeilDiv(static_cast<int64_t>(slots + 0.999), products_.device().multiprocessors));
    const double cost =
        static_cast<double>(runs) * rounds + static_cast<double>(tiles) * first_tiles;
    if (best != 0 && cost >= best_cost) continue;
    best = tiles;
    best_cost = cost;
  }
  return best != 0 ? best * kBlasColumns : room / kAwqTileColumns * kAwqTileColumns;
}

void AwqWorkspace::DenseProduct(const AwqWeights& weights, const Matrix& x, const void* bias,
                                const Matrix& out, int64_t columns, bool overlaps, BlasLt& blas) {
  SKEIN_CHECK(
      columns > 0 && std::min(columns, weights.out_features) * weights.in_features * 2 <= Room(),
      "%lld columns of %lld inputs", static_cast<long long>(columns),
      static_cast<long long>(weights.in_features));
  for (int64_t first = 0; first < weights.out_features; first += columns) {
    const int64_t count = std::min(columns, weights.out_features - first);
    auto* const dense = buffers_[turn_].As<__nv_bfloat16>();
    if (overlaps) {
      SKEIN_CUDA(cudaStreamWaitEvent(side_.ForDriver(), free_[turn_], 0));
      // The product before this one takes its multiprocessors first; dequantising has the rest.
      if (first > 0) SKEIN_CUDA(cudaStreamWaitEvent(side_.ForDriver(), started_, 0));
      AwqDequantize(weights, first, count, dense, side_);
      SKEIN_CUDA(cudaEventRecord(ready_[turn_], side_.ForDriver()));
      SKEIN_CUDA(cudaStreamWaitEvent(stream_.ForDriver(), ready_[turn_], 0));
      SKEIN_CUDA(cudaEventRecord(started_, stream_.ForDriver()));
    } else {
      AwqDequantize(weights, first, count, dense, stream_);
    }
    const auto* part = static_cast<const char*>(bias);
    blas.Product(x, MakeMatrix(dense, DType::kBFloat16, count, weights.in_features),
                 part == nullptr ? nullptr : part + static_cast<size_t>(first) * SizeOf(out.type),
                 out.Cols(first, count));
    SKEIN_CUDA(cudaEventRecord(free_[turn_], stream_.ForDriver()));
    turn_ ^= 1;
  }
}

}  // namespace skein::cuda
