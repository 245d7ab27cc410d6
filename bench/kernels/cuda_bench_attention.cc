// Attention and the memory-bound kernels of a step, at the 38 B model's widths. Rates of decode
// attention count keys and values once per KV head; prefill and vision attention print TFLOP/s of
// the products that a mask leaves.
#include <cmath>
#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

#include "core/error.h"
#include "cuda/kernels/attention.h"
#include "cuda/kernels/elementwise.h"
#include "cuda_bench.h"

namespace skein::cuda {
namespace {

constexpr int kHeadDim = 128;
constexpr int kBlockSize = 16;
constexpr int kGroup = 5;

template <typename T>
DeviceMemory Upload(const std::vector<T>& values) {
  DeviceMemory memory(values.size() * sizeof(T));
  SKEIN_CUDA(cudaMemcpy(memory.data(), values.data(), memory.bytes(), cudaMemcpyHostToDevice));
  return memory;
}

DeviceMemory RandomBFloat16(int64_t count, uint64_t seed, Stream& stream) {
  DeviceMemory memory(static_cast<size_t>(count) * 2);
  FillRandomBFloat16(memory.data(), count, 1.0f, seed, stream);
  return memory;
}

int Processors() {
  int device = 0, count = 0;
  SKEIN_CUDA(cudaGetDevice(&device));
  SKEIN_CUDA(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device));
  return count;
}

void BenchDecode(Report& report, int batch, int context, int kv_heads) {
  const int heads = kv_heads * kGroup, width = (heads + 2 * kv_heads) * kHeadDim;
  const int blocks_each = (context + kBlockSize - 1) / kBlockSize, blocks = blocks_each * batch;
  const int64_t elements = int64_t{blocks} * kv_heads * kBlockSize * kHeadDim;
  const double bytes = 2.0 * 2.0 * batch * kv_heads * context * kHeadDim;
  const int copies = std::min(512, Report::RotatingCopies(static_cast<size_t>(bytes)));
  const DeviceMemory keys = RandomBFloat16(elements * copies, 1, report.stream()),
                     values = RandomBFloat16(elements * copies, 2, report.stream()),
                     q = RandomBFloat16(int64_t{batch} * width, 3, report.stream());
  std::vector<int32_t> table(static_cast<size_t>(blocks)), q_to_kv, kv_q_start;
  std::iota(table.begin(), table.end(), 0);
  // Blocks of a running server lie anywhere: a fixed stride that visits all.
  for (size_t i = 0; i < table.size(); ++i) {
    table[i] = static_cast<int32_t>(i * 7919 % table.size());
  }
  std::vector<QueryTile> rows;
  for (int i = 0; i < batch; ++i) rows.push_back({i, 1, context - 1, context, i});
  for (int i = 0; i < heads; ++i) q_to_kv.push_back(i / kGroup);
  for (int i = 0; i <= kv_heads; ++i) kv_q_start.push_back(i * kGroup);
  const DeviceMemory tables = Upload(table), tiles = Upload(rows), map = Upload(q_to_kv),
                     starts = Upload(kv_q_start), out(static_cast<size_t>(batch) * heads * 256),
                     expected(static_cast<size_t>(batch) * heads * 256);
  const auto arguments = [&](const DeviceMemory& to) {
    return AttentionArguments{q.As<const __nv_bfloat16>(),
                              width,
                              to.As<__nv_bfloat16>(),
                              heads * kHeadDim,
                              map.As<int32_t>(),
                              heads,
                              kHeadDim,
                              1.0f / std::sqrt(static_cast<float>(kHeadDim))};
  };
  const auto paged = [&](int copy) {
    return PagedKeys{keys.As<const __nv_bfloat16>() + copy % copies * elements,
                     values.As<const __nv_bfloat16>() + copy % copies * elements,
                     tables.As<int32_t>(),
                     blocks_each,
                     kBlockSize,
                     kv_heads};
  };
  // The prefill kernel is the reference: as deterministic mode runs it.
  Measurement measurement{"decode attention", Format("%d KV heads, context %d", kv_heads, context),
                          "prefill kernel", batch};
  measurement.bytes = bytes;
  const auto prefill = [&](int i) {
    PagedPrefillAttention(arguments(expected), paged(i), tiles.As<QueryTile>(), batch,
                          kSmallTileRows, report.stream());
  };
  measurement.microseconds = report.Microseconds(prefill, 8);
  report.Print(measurement);
  prefill(0);
  for (int variant = 0; variant < kNumDecodeVariants; ++variant) {
    const int max_runs = RunsOf(32768, kDecodeVariants[variant].run_keys);
    const DecodeSize size =
        SizeOfDecodeWorkspace(batch, max_runs, heads, kv_heads, kGroup, kHeadDim);
    const DeviceMemory parts(size.values_bytes), stats(size.stats_bytes),
        counters(size.counters_bytes);
    SKEIN_CUDA(cudaMemsetAsync(counters.data(), 0, counters.bytes(), report.stream().ForDriver()));
    const int chosen = DecodeSplits(batch, kv_heads, Processors(), max_runs);
    for (const int splits : {chosen / 2, chosen, chosen * 2}) {
      if (splits < 1 || splits > max_runs) continue;
      const auto launch = [&](int i) {
        PagedDecodeAttention(
            arguments(out), paged(i), starts.As<int32_t>(), kGroup, tiles.As<QueryTile>(), batch,
            splits, {parts.As<float>(), stats.As<float2>(), counters.As<int32_t>(), max_runs},
            variant, report.stream());
      };
      launch(0);
      const DecodeVariant& shape = kDecodeVariants[variant];
      measurement.variant = Format("%d warps x %d keys, runs of %d, %d splits", shape.warps,
                                   shape.keys_per_warp, shape.run_keys, splits);
      measurement.error = RelativeDifference(
          out.data(), expected.data(), int64_t{batch} * heads * kHeadDim, false, report.stream());
      measurement.microseconds = report.Microseconds(launch, 2 * copies);
      report.Print(measurement);
    }
  }
}

void PrintRate(const char* what, const char* shape, int64_t rows, int tile_rows, double us,
               double operations, double error) {
  std::printf(
      "{\"what\":\"%s\",\"shape\":\"%s\",\"rows\":%lld,\"variant\":\"tiles of %d rows\","
      "\"us\":%.2f,\"tflop_per_s\":%.0f,\"error\":%.2e}\n",
      what, shape, static_cast<long long>(rows), tile_rows, us, operations / us * 1e-6, error);
  std::fflush(stdout);
}

std::vector<QueryTile> TilesOf(int sequences, int rows, int tile_rows) {
  std::vector<QueryTile> tiles;
  for (int s = 0; s < sequences; ++s) {
    for (int row = 0; row < rows; row += tile_rows) {
      tiles.push_back({s * rows + row, std::min(tile_rows, rows - row), row, rows, s * rows});
    }
  }
  return tiles;
}

void BenchPrefill(Report& report) {
  constexpr int kRows = 1344, kKvHeads = 8, kHeads = kKvHeads * kGroup;
  constexpr int kBlocks = kRows / kBlockSize, kWidth = (kHeads + 2 * kKvHeads) * kHeadDim;
  const DeviceMemory keys = RandomBFloat16(kRows * kKvHeads * kHeadDim, 1, report.stream()),
                     values = RandomBFloat16(kRows * kKvHeads * kHeadDim, 2, report.stream()),
                     q = RandomBFloat16(kRows * kWidth, 3, report.stream());
  std::vector<int32_t> table(kBlocks), q_to_kv;
  std::iota(table.begin(), table.end(), 0);
  for (int i = 0; i < kHeads; ++i) q_to_kv.push_back(i / kGroup);
  const DeviceMemory tables = Upload(table), map = Upload(q_to_kv),
                     out(size_t{kRows} * kHeads * kHeadDim * 2),
                     first(size_t{kRows} * kHeads * kHeadDim * 2);
  for (const int tile_rows : {kSmallTileRows, kLargeTileRows}) {
    const std::vector<QueryTile> list = TilesOf(1, kRows, tile_rows);
    const DeviceMemory tiles = Upload(list);
    const DeviceMemory& to = tile_rows == kSmallTileRows ? first : out;
    const auto launch = [&](int) {
      PagedPrefillAttention({q.As<const __nv_bfloat16>(), kWidth, to.As<__nv_bfloat16>(),
                             kHeads * kHeadDim, map.As<int32_t>(), kHeads, kHeadDim, 0.0883883f},
                            {keys.As<const __nv_bfloat16>(), values.As<const __nv_bfloat16>(),
                             tables.As<int32_t>(), kBlocks, kBlockSize, kKvHeads},
                            tiles.As<QueryTile>(), static_cast<int>(list.size()), tile_rows,
                            report.stream());
    };
    const double us = report.Microseconds(launch, 8);
    PrintRate("prefill attention", "40 heads", kRows, tile_rows, us,
              2.0 * kRows * (kRows + 1) * kHeads * kHeadDim,
              RelativeDifference(to.data(), first.data(), int64_t{kRows} * kHeads * kHeadDim, false,
                                 report.stream()));
  }
}

void BenchVision(Report& report) {
  constexpr int kTiles = 5, kTokens = 1025, kHeads = 25, kWidth = kHeads * kHeadDim;
  constexpr int64_t kRows = int64_t{kTiles} * kTokens;
  const DeviceMemory qkv = RandomBFloat16(kRows * 3 * kWidth, 1, report.stream()),
                     out(static_cast<size_t>(kRows) * kWidth * 2),
                     first(static_cast<size_t>(kRows) * kWidth * 2);
  const auto* base = qkv.As<const __nv_bfloat16>();
  for (const int tile_rows : {kSmallTileRows, kLargeTileRows}) {
    const std::vector<QueryTile> list = TilesOf(kTiles, kTokens, tile_rows);
    const DeviceMemory tiles = Upload(list);
    const DeviceMemory& to = tile_rows == kSmallTileRows ? first : out;
    const auto launch = [&](int) {
      ContiguousAttention(
          {base, 3 * kWidth, to.As<__nv_bfloat16>(), kWidth, nullptr, kHeads, kHeadDim, 0.0883883f},
          {base + kWidth, base + 2 * kWidth, 3 * kWidth}, tiles.As<QueryTile>(),
          static_cast<int>(list.size()), tile_rows, report.stream());
    };
    const double us = report.Microseconds(launch, 8);
    PrintRate("vision attention", "25 heads, 5 tiles", kRows, tile_rows, us,
              4.0 * kTiles * kTokens * kTokens * kWidth,
              RelativeDifference(to.data(), first.data(), kRows * kWidth, false, report.stream()));
  }
}

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
  const DeviceMemory mapping = Upload(slots);
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

void BenchAttention(Report& report) {
  for (const int kv_heads : {8, 2}) {
    for (const int context : {128, 1400, 8192}) {
      for (const int batch : {1, 4, 16, 64}) BenchDecode(report, batch, context, kv_heads);
    }
  }
  BenchPrefill(report);
  BenchVision(report);
  for (const int rows : {1, 16}) BenchElementwise(report, rows);
}

const BenchRegistration kRegistration("attention", &BenchAttention);

}  // namespace
}  // namespace skein::cuda
