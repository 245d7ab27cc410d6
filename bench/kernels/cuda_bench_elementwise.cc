// The memory-bound kernels of a step, at the 38 B model's widths.
#include <numeric>
#include <vector>

#include "cuda/kernels/elementwise.h"
#include "cuda_bench.h"

namespace skein::cuda {
namespace {

constexpr int kHeadDim = 128;
constexpr int kBlockSize = 16;

// What stands between the products of a decode step; in cache, as there.
void BenchElementwise(Report& report, int rows) {
  constexpr int64_t kHidden = 5120, kMlp = 27648, kHeads = 40, kKvHeads = 8;
  constexpr int64_t kWidth = (kHeads + 2 * kKvHeads) * kHeadDim;
  Stream& stream = report.stream();
  const auto zeros = [&](int64_t bytes) {
    DeviceMemory memory(static_cast<size_t>(bytes));
    SKEIN_CUDA(cudaMemsetAsync(memory.data(), 0, memory.bytes(), stream.ForDriver()));
    return memory;
  };
  const DeviceMemory partial = zeros(rows * kHidden * 4), residual = zeros(rows * kHidden * 4),
                     weight = zeros(kHidden * 4), normed = zeros(rows * kHidden * 2),
                     gate_up = zeros(rows * kMlp * 8), product = zeros(rows * kMlp * 2),
                     qkv = zeros(rows * kWidth * 2), positions = zeros(rows * 4),
                     frequencies = zeros(kHeadDim * 2),
                     cache = zeros(2 * rows * kKvHeads * kBlockSize * kHeadDim * 2);
  std::vector<int64_t> slots(static_cast<size_t>(rows));
  std::iota(slots.begin(), slots.end(), 0);
  const DeviceMemory mapping(slots.size() * sizeof(int64_t));
  SKEIN_CUDA(cudaMemcpy(mapping.data(), slots.data(), mapping.bytes(), cudaMemcpyHostToDevice));
  const NormArguments norm{false, weight.As<float>(), nullptr, 1e-6f};
  RotaryArguments rotary{};
  rotary.qkv = qkv.As<__nv_bfloat16>(), rotary.stride = kWidth, rotary.num_heads = kHeads;
  rotary.num_kv_heads = kKvHeads, rotary.head_dim = kHeadDim, rotary.block_size = kBlockSize;
  rotary.inverse_frequencies = frequencies.As<float>();
  rotary.positions = positions.As<int32_t>(), rotary.slot_mapping = mapping.As<int64_t>();
  rotary.keys = cache.As<__nv_bfloat16>();
  rotary.values = rotary.keys + rows * kKvHeads * kBlockSize * kHeadDim;
  const auto print = [&](const char* what, double bytes, const std::function<void(int)>& launch) {
    Measurement measurement{what, "38 B", "in cache", rows};
    measurement.bytes = bytes;
    measurement.microseconds = report.Microseconds(launch, 64);
    report.Print(measurement);
  };
  print("residual and norm", 14.0 * static_cast<double>(rows * kHidden), [&](int) {
    AddResidualNorm(partial.As<float>(), kHidden, nullptr, nullptr, residual.As<float>(), kHidden,
                    &norm, rows, kHidden, normed.As<__nv_bfloat16>(), kHidden, stream);
  });
  print("rotary and KV store", 4.0 * static_cast<double>(rows * kWidth),
        [&](int) { RotaryStoreKv(rotary, rows, stream); });
  print("SwiGLU", 10.0 * static_cast<double>(rows * kMlp), [&](int) {
    SwiGlu(gate_up.As<float>(), 2 * kMlp, rows, kMlp, product.As<__nv_bfloat16>(), kMlp, stream);
  });
}

void BenchElementwiseKernels(Report& report) {
  for (const int rows : {1, 16}) BenchElementwise(report, rows);
}

const BenchRegistration kRegistration("elementwise", &BenchElementwiseKernels);

}  // namespace
}  // namespace skein::cuda
