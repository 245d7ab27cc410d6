// Attention at the 38 B model's widths. Rates of decode attention count keys and values once per KV
// head; prefill and vision attention print TFLOP/s of the products that a mask leaves.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "core/error.h"
#include "cuda/kernels/attention.h"
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

// Every code but NaN, which a cache does not hold, at random, again and again.
void FillCodes(const DeviceMemory& memory, uint32_t seed, Stream& stream) {
  std::mt19937 random(seed);
  std::vector<uint8_t> codes(std::min(memory.bytes(), size_t{1} << 20));
  for (uint8_t& code : codes) {
    do {
      code = static_cast<uint8_t>(random());
    } while ((code & 0x7f) == 0x7f);
  }
  SKEIN_CUDA(cudaMemcpyAsync(memory.data(), codes.data(), codes.size(), cudaMemcpyHostToDevice,
                             stream.ForDriver()));
  auto* const bytes = memory.As<uint8_t>();
  for (size_t filled = codes.size(); filled < memory.bytes(); filled *= 2) {
    SKEIN_CUDA(cudaMemcpyAsync(bytes + filled, bytes, std::min(filled, memory.bytes() - filled),
                               cudaMemcpyDeviceToDevice, stream.ForDriver()));
  }
}

int Processors() {
  int device = 0, count = 0;
  SKEIN_CUDA(cudaGetDevice(&device));
  SKEIN_CUDA(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device));
  return count;
}

// How many splits are tried of the shape of block that the engine takes.
constexpr int kSplits[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 33};

// What a benchmark of decode attention is called, and what it reads.
struct DecodeRow {
  const char* what;
  std::string shape;
  const char* reference;
  int batch;
  double bytes;
};

// Of the variants and splits of decode attention, every one or those that the engine takes.
enum class Choices { kAll, kEngine };

// The reference, then every variant with the splits that the engine takes and, of the variant that
// it takes, others.
template <typename Reference, typename Launch>
void BenchDecodeVariants(Report& report, Choices choices, const DecodeRow& row, int kv_heads,
                         int copies, const Reference& reference, const DeviceMemory& out,
                         const DeviceMemory& expected, const Launch& launch) {
  const int heads = kv_heads * kGroup;
  Measurement measurement{row.what, row.shape, row.reference, row.batch};
  measurement.bytes = row.bytes;
  measurement.microseconds = report.Microseconds(reference, 8);
  report.Print(measurement);
  reference(0);
  const int engine_variant = ChooseDecodeVariant(row.batch, kv_heads, kHeadDim);
  for (int variant = 0; variant < kNumDecodeVariants; ++variant) {
    if (choices == Choices::kEngine && variant != engine_variant) continue;
    const int max_runs = RunsOf(32768, kDecodeVariants[variant].run_keys);
    const DecodeSize size =
        SizeOfDecodeWorkspace(row.batch, max_runs, heads, kv_heads, kGroup, kHeadDim);
    const DeviceMemory parts(size.values_bytes), stats(size.stats_bytes),
        counters(size.counters_bytes);
    SKEIN_CUDA(cudaMemsetAsync(counters.data(), 0, counters.bytes(), report.stream().ForDriver()));
    const DecodeWorkspace work{parts.As<float>(), stats.As<float2>(), counters.As<int32_t>(),
                               max_runs};
    const int chosen = DecodeSplits(row.batch, kv_heads, Processors(), max_runs);
    std::vector<int> all_splits = {chosen};
    if (choices == Choices::kAll && variant == engine_variant) {
      all_splits.insert(all_splits.end(), std::begin(kSplits), std::end(kSplits));
    }
    for (const int& splits : all_splits) {
      if (splits > max_runs) continue;
      const auto run = [&](int i) { launch(i, splits, work, variant); };
      run(0);
      const DecodeVariant& block = kDecodeVariants[variant];
      measurement.variant =
          Format("%d warps x %d keys, runs of %d, %d splits%s", block.warps, block.keys_per_warp,
                 block.run_keys, splits, &splits == all_splits.data() ? " (chosen)" : "");
      measurement.error =
          RelativeDifference(out.data(), expected.data(), int64_t{row.batch} * heads * kHeadDim,
                             false, report.stream());
      measurement.microseconds = report.Microseconds(run, 2 * copies);
      report.Print(measurement);
    }
  }
}

// Over caches in bfloat16 and in float8. One of the sequences has `longest` tokens, the others
// `context`.
void BenchDecode(Report& report, Choices choices, int batch, int context, int longest,
                 int kv_heads) {
  const int heads = kv_heads * kGroup, width = (heads + 2 * kv_heads) * kHeadDim;
  const int blocks_each = (longest + kBlockSize - 1) / kBlockSize, blocks = blocks_each * batch;
  const int64_t elements = int64_t{blocks} * kv_heads * kBlockSize * kHeadDim;
  const double tokens = static_cast<double>(batch - 1) * context + longest;
  const double bytes = 2.0 * tokens * kv_heads * kHeadDim;  // of codes
  const int copies = std::min(512, Report::RotatingCopies(static_cast<size_t>(elements) * 4));
  const DeviceMemory keys = RandomBFloat16(elements * copies, 1, report.stream()),
                     values = RandomBFloat16(elements * copies, 2, report.stream()),
                     q = RandomBFloat16(int64_t{batch} * width, 3, report.stream());
  // Of float8, by row: 0.0115.
  const DeviceMemory scales(static_cast<size_t>(2 * copies * (elements / kHeadDim)) * 4);
  SKEIN_CUDA(cudaMemsetAsync(scales.data(), 0x3c, scales.bytes(), report.stream().ForDriver()));
  std::vector<int32_t> table(static_cast<size_t>(blocks)), q_to_kv, kv_q_start;
  std::iota(table.begin(), table.end(), 0);
  // Blocks of a running server lie anywhere: a fixed stride that visits all.
  for (size_t i = 0; i < table.size(); ++i) {
    table[i] = static_cast<int32_t>(i * 7919 % table.size());
  }
  std::vector<QueryTile> rows;
  for (int i = 0; i < batch; ++i) {
    const int length = i == batch / 2 ? longest : context;
    rows.push_back({i, 1, length - 1, length, i});
  }
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
                     kv_heads,
                     blocks};
  };
  const auto paged_float8 = [&](int copy) {
    const int64_t first = copy % (2 * copies) * elements;
    float* const of_rows = scales.As<float>() + first / kHeadDim;
    return PagedFloat8Keys{
        {keys.As<uint8_t>() + first, values.As<uint8_t>() + first, of_rows, of_rows},
        tables.As<int32_t>(),
        blocks_each,
        kBlockSize,
        kv_heads};
  };
  // The prefill kernel is the reference: as deterministic mode runs it.
  const std::string shape = Format("%d KV heads, context %d", kv_heads, context) +
                            (longest == context ? std::string() : Format(", one of %d", longest));
  const HeadGroups groups{starts.As<int32_t>(), kGroup};
  const auto prefill = [&](int i) {
    PagedPrefillAttention(arguments(expected), paged(i), groups, tiles.As<QueryTile>(), batch, 1,
                          report.stream());
  };
  BenchDecodeVariants(
      report, choices, {"decode attention", shape, "prefill kernel", batch, 2.0 * bytes}, kv_heads,
      copies, prefill, out, expected,
      [&](int i, int splits, const DecodeWorkspace& work, int variant) {
        PagedDecodeAttention(arguments(out), paged(i), groups, tiles.As<QueryTile>(), batch, splits,
                             work, variant, report.stream());
      });
  // The same memory with codes, of twice as many copies.
  FillCodes(keys, 1, report.stream());
  FillCodes(values, 2, report.stream());
  const auto prefill_float8 = [&](int i) {
    PagedPrefillAttention(arguments(expected), paged_float8(i), tiles.As<QueryTile>(), batch, 1,
                          report.stream());
  };
  BenchDecodeVariants(report, choices,
                      {"decode attention, float8 cache", shape, "prefill kernel", batch,
                       bytes * (kHeadDim + 4) / kHeadDim},
                      kv_heads, 2 * copies, prefill_float8, out, expected,
                      [&](int i, int splits, const DecodeWorkspace& work, int variant) {
                        PagedDecodeAttention(arguments(out), paged_float8(i), groups,
                                             tiles.As<QueryTile>(), batch, splits, work, variant,
                                             report.stream());
                      });
}

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

void BenchAttention(Report& report) {
  for (const int kv_heads : {8, 2}) {
    for (const int context : {128, 1400, 8192}) {
      for (const int batch : {1, 4, 16, 64}) {
        BenchDecode(report, Choices::kAll, batch, context, context, kv_heads);
      }
    }
    for (const int batch : {16, 64}) {
      BenchDecode(report, Choices::kAll, batch, 1400, 32768, kv_heads);
    }
  }
}

// What docs/performance.md says of a cache in float8, beside one in bfloat16.
void BenchFloat8Cache(Report& report) {
  for (const int context : {1400, 8192}) {
    for (const int batch : {1, 16, 64}) {
      BenchDecode(report, Choices::kEngine, batch, context, context, 8);
    }
  }
  BenchPrefill(report, 1, 0, 1024);
  BenchPrefill(report, 1, 0, 7000);
  BenchPrefill(report, 1, 6000, 1024);
  BenchPrefill(report, 16, 0, 1024);
}

const BenchRegistration kRegistration("attention", &BenchAttention);
const BenchRegistration kFloat8CacheRegistration("float8-cache", &BenchFloat8Cache);
const BenchRegistration kTiledRegistration("prefill", &BenchTiled);

}  // namespace
}  // namespace skein::cuda
