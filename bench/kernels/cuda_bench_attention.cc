// Attention of prompts and pictures at the 38 B model's widths; prints TFLOP/s of the products that
// a mask leaves.
#include "cuda_bench_attention.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

#include "core/error.h"
#include "cuda/kernels/attention.h"

namespace skein::cuda {
namespace {

// A kernel and the rows of its tiles. The first is what the others' results are compared with.
struct TiledVariant {
  const char* name;
  AttentionKernel kernel;
  int tile_rows;
};
constexpr TiledVariant kTiledVariants[] = {
    {"tiled, 64 rows", AttentionKernel::kTiled, kSmallTileRows},
    {"tiled, 128 rows", AttentionKernel::kTiled, kLargeTileRows},
    {"best, 64 rows", AttentionKernel::kBest, kSmallTileRows},
    {"best, 128 rows", AttentionKernel::kBest, kLargeTileRows}};

void PrintRate(const char* what, const std::string& shape, int64_t rows, const char* variant,
               double us, double operations, double error) {
  std::printf(
      "{\"what\":\"%s\",\"shape\":\"%s\",\"rows\":%lld,\"variant\":\"%s\","
      "\"us\":%.2f,\"tflop_per_s\":%.0f,\"error\":%.2e}\n",
      what, shape.c_str(), static_cast<long long>(rows), variant, us, operations / us * 1e-6,
      error);
  std::fflush(stdout);
}

// Of sequences that are `before` tokens long already and get `rows` more; those of most keys first.
std::vector<QueryTile> TilesOf(int sequences, int before, int rows, int tile_rows) {
  std::vector<QueryTile> tiles;
  for (int row = (rows - 1) / tile_rows * tile_rows; row >= 0; row -= tile_rows) {
    for (int s = 0; s < sequences; ++s) {
      tiles.push_back(
          {s * rows + row, std::min(tile_rows, rows - row), before + row, before + rows, s});
    }
  }
  return tiles;
}

void BenchPrefill(Report& report, int sequences, int before, int rows) {
  constexpr int kKvHeads = 8, kHeads = kKvHeads * kGroup;
  constexpr int kWidth = (kHeads + 2 * kKvHeads) * kHeadDim;
  const int blocks_each = (before + rows + kBlockSize - 1) / kBlockSize;
  const int blocks = sequences * blocks_each;
  const int64_t elements = int64_t{blocks} * kBlockSize * kKvHeads * kHeadDim;
  const int64_t all_rows = int64_t{sequences} * rows, count = all_rows * kHeads * kHeadDim;
  const DeviceMemory keys = RandomBFloat16(elements, 1, report.stream()),
                     values = RandomBFloat16(elements, 2, report.stream()),
                     q = RandomBFloat16(all_rows * kWidth, 3, report.stream());
  std::vector<int32_t> table(static_cast<size_t>(blocks)), q_to_kv, kv_q_start;
  for (size_t i = 0; i < table.size(); ++i) {
    table[i] = static_cast<int32_t>(i * 7919 % table.size());
  }
  for (int i = 0; i < kHeads; ++i) q_to_kv.push_back(i / kGroup);
  for (int i = 0; i <= kKvHeads; ++i) kv_q_start.push_back(i * kGroup);
  const DeviceMemory tables = Upload(table), map = Upload(q_to_kv), starts = Upload(kv_q_start),
                     out(static_cast<size_t>(count) * 2), first(static_cast<size_t>(count) * 2);
  for (const TiledVariant& variant : kTiledVariants) {
    const std::vector<QueryTile> list = TilesOf(sequences, before, rows, variant.tile_rows);
    const DeviceMemory tiles = Upload(list);
    const DeviceMemory& to = &variant == kTiledVariants ? first : out;
    const auto launch = [&](int) {
      PagedPrefillAttention({q.As<const __nv_bfloat16>(), kWidth, to.As<__nv_bfloat16>(),
                             kHeads * kHeadDim, map.As<int32_t>(), kHeads, kHeadDim, 0.0883883f},
                            {keys.As<const __nv_bfloat16>(), values.As<const __nv_bfloat16>(),
                             tables.As<int32_t>(), blocks_each, kBlockSize, kKvHeads, blocks},
                            {starts.As<int32_t>(), kGroup}, tiles.As<QueryTile>(),
                            static_cast<int>(list.size()), variant.tile_rows, report.stream(),
                            variant.kernel);
    };
    const double us = report.Microseconds(launch, 8);
    const double pairs = static_cast<double>(all_rows) * (before + (rows + 1) / 2.0);
    PrintRate("prefill attention", Format("40 heads, %d sequences after %d", sequences, before),
              rows, variant.name, us, 4.0 * pairs * kHeads * kHeadDim,
              RelativeDifference(to.data(), first.data(), count, false, report.stream()));
  }
  // The same memory with codes; a scale a row.
  FillCodes(keys, 1, report.stream());
  FillCodes(values, 2, report.stream());
  const DeviceMemory scales(static_cast<size_t>(elements / kHeadDim) * 4);
  SKEIN_CUDA(cudaMemsetAsync(scales.data(), 0x3c, scales.bytes(), report.stream().ForDriver()));
  for (const int tile_rows : {kSmallTileRows, kLargeTileRows}) {
    const std::vector<QueryTile> list = TilesOf(sequences, before, rows, tile_rows);
    const DeviceMemory tiles = Upload(list);
    const DeviceMemory& to = tile_rows == kSmallTileRows ? first : out;
    const auto launch = [&](int) {
      PagedPrefillAttention(
          {q.As<const __nv_bfloat16>(), kWidth, to.As<__nv_bfloat16>(), kHeads * kHeadDim,
           map.As<int32_t>(), kHeads, kHeadDim, 0.0883883f},
          PagedFloat8Keys{
              {keys.As<uint8_t>(), values.As<uint8_t>(), scales.As<float>(), scales.As<float>()},
              tables.As<int32_t>(),
              blocks_each,
              kBlockSize,
              kKvHeads},
          tiles.As<QueryTile>(), static_cast<int>(list.size()), tile_rows, report.stream());
    };
    const double us = report.Microseconds(launch, 8);
    const double pairs = static_cast<double>(all_rows) * (before + (rows + 1) / 2.0);
    PrintRate("prefill attention, float8 cache",
              Format("40 heads, %d sequences after %d", sequences, before), rows,
              tile_rows == kSmallTileRows ? "tiled, 64 rows" : "tiled, 128 rows", us,
              4.0 * pairs * kHeads * kHeadDim,
              RelativeDifference(to.data(), first.data(), count, false, report.stream()));
  }
}

void BenchVision(Report& report, int pictures, int heads, int head_dim) {
  constexpr int kTokens = 1025;
  const int width = heads * head_dim;
  const int64_t rows = int64_t{pictures} * kTokens;
  const DeviceMemory qkv = RandomBFloat16(rows * 3 * width, 1, report.stream()),
                     out(static_cast<size_t>(rows * width) * 2),
                     first(static_cast<size_t>(rows * width) * 2);
  const auto* base = qkv.As<const __nv_bfloat16>();
  for (const TiledVariant& variant : kTiledVariants) {
    // A picture's tiles one after the other, those of one row at the end.
    std::vector<QueryTile> list;
    for (int i = 0; i < pictures; ++i) {
      for (const QueryTile& tile : TilesOf(1, 0, kTokens, variant.tile_rows)) {
        list.push_back({i * kTokens + tile.query_row, tile.num_rows, tile.first_position, kTokens,
                        i * kTokens});
      }
    }
    std::stable_partition(list.begin(), list.end(),
                          [](const QueryTile& tile) { return tile.num_rows > 1; });
    const DeviceMemory tiles = Upload(list);
    const DeviceMemory& to = &variant == kTiledVariants ? first : out;
    const auto launch = [&](int) {
      ContiguousAttention({base, 3 * width, to.As<__nv_bfloat16>(), width, nullptr, heads, head_dim,
                           1.0f / std::sqrt(static_cast<float>(head_dim))},
                          {base + width, base + 2 * width, 3 * width, kTokens, pictures},
                          tiles.As<QueryTile>(), static_cast<int>(list.size()), variant.tile_rows,
                          report.stream(), variant.kernel);
    };
    const double us = report.Microseconds(launch, 8);
    PrintRate("vision attention", Format("%d heads of %d, %d tiles", heads, head_dim, pictures),
              rows, variant.name, us, 4.0 * static_cast<double>(rows) * kTokens * width,
              RelativeDifference(to.data(), first.data(), rows * width, false, report.stream()));
  }
}

void BenchTiled(Report& report) {
  BenchPrefill(report, 1, 0, 1024);
  BenchPrefill(report, 1, 0, 1344);
  BenchPrefill(report, 1, 0, 7000);
  BenchPrefill(report, 1, 6000, 1024);
  BenchPrefill(report, 16, 0, 1024);
  BenchPrefill(report, 64, 0, 128);
  for (const int pictures : {5, 13}) BenchVision(report, pictures, 25, 128);
  BenchVision(report, 5, 16, 64);
}

// What docs/performance/attention.md says of prompts over a cache in float8, beside one in bfloat16.
void BenchFloat8Cache(Report& report) {
  BenchPrefill(report, 1, 0, 1024);
  BenchPrefill(report, 1, 0, 7000);
  BenchPrefill(report, 1, 6000, 1024);
  BenchPrefill(report, 16, 0, 1024);
}

const BenchRegistration kRegistration("float8-cache", &BenchFloat8Cache);
const BenchRegistration kTiledRegistration("prefill", &BenchTiled);

}  // namespace
}  // namespace skein::cuda
