// Decode attention at the 38 B model's widths. Rates count keys and values once per KV head.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "cuda/kernels/attention.h"
#include "cuda_bench_attention.h"

namespace skein::cuda {
namespace {

int Processors() {
  int device = 0, count = 0;
  SKEIN_CUDA(cudaGetDevice(&device));
  SKEIN_CUDA(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device));
  return count;
}

// How a step's decode work is listed: as the engine does, with room for so many waves instead, or
// every sequence in so many shares, one share of each after the other and idle ones where there are
// fewer runs.
struct DecodeListing {
  int waves = 0, splits = 0;
};

std::vector<DecodeShare> ListOf(const DecodeListing& listing, std::span<const DecodeTile> tiles,
                                const DecodeShape& shape, int variant) {
  std::vector<DecodeShare> list;
  if (listing.splits == 0) {
    const DecodeCut cut = CutFor(shape, static_cast<int>(tiles.size()), variant, listing.waves);
    list.resize(static_cast<size_t>(cut.num_shares));
    DealDecodes(tiles, cut, list);
    return list;
  }
  for (int index = 0; index < listing.splits; ++index) {
    for (size_t i = 0; i < tiles.size(); ++i) {
      const DecodeTile& tile = tiles[i];
      const int runs = RunsOf(tile.context_length, kDecodeVariants[variant].run_keys);
      const DecodeShare share{
          static_cast<int32_t>(i), tile.context_length, tile.query_row, tile.table_row, index,
          listing.splits};
      list.push_back(index < runs ? share : DecodeShare{-1, 0, 0, 0, 0, 0});
    }
  }
  return list;
}

// What a benchmark of decode attention is called, and what it reads.
struct DecodeRow {
  const char* what;
  std::string shape;
  const char* reference;
  double bytes;
};

// Of the variants and lists of decode attention, every one or those that the engine takes.
enum class Choices { kAll, kEngine };

// The reference, then every variant with the list that the engine takes and, of the variant that it
// takes, others.
template <typename Reference, typename Launch>
void BenchDecodeVariants(Report& report, Choices choices, const DecodeRow& row,
                         const DecodeShape& shape, std::span<const DecodeTile> tiles, int copies,
                         const Reference& reference, const DeviceMemory& out,
                         const DeviceMemory& expected, const Launch& launch) {
  const int kv_heads = shape.num_kv_heads;
  const int heads = kv_heads * kGroup, batch = static_cast<int>(tiles.size());
  Measurement measurement{row.what, row.shape, row.reference, batch};
  measurement.bytes = row.bytes;
  measurement.microseconds = report.Microseconds(reference, 8);
  report.Print(measurement);
  reference(0);
  const int engine_variant = shape.ChooseVariant(batch);
  for (int variant = 0; variant < kNumDecodeVariants; ++variant) {
    if (choices == Choices::kEngine && variant != engine_variant) continue;
    const int max_runs = RunsOf(32768, kDecodeVariants[variant].run_keys);
    const DecodeSize size =
        SizeOfDecodeWorkspace(batch, max_runs, heads, kv_heads, kGroup, kHeadDim);
    const DeviceMemory parts(size.values_bytes), stats(size.stats_bytes),
        counters(size.counters_bytes);
    SKEIN_CUDA(cudaMemsetAsync(counters.data(), 0, counters.bytes(), report.stream().ForDriver()));
    const DecodeWorkspace work{parts.As<float>(), stats.As<float2>(), counters.As<int32_t>(),
                               max_runs};
    std::vector<DecodeListing> listings = {{0, 0}};
    if (choices == Choices::kAll && variant == engine_variant) {
      for (const int waves : {2, 3}) listings.push_back({waves, 0});
      for (const int splits : {1, 2, 4, 8}) listings.push_back({0, splits});
      // Two blocks a multiprocessor.
      const int fill = (2 * Processors() + batch * kv_heads - 1) / (batch * kv_heads);
      if (fill > 8) listings.push_back({0, std::min(fill, max_runs)});
    }
    for (const DecodeListing& listing : listings) {
      const std::vector<DecodeShare> list = ListOf(listing, tiles, shape, variant);
      const DeviceMemory shares = Upload(list);
      const auto run = [&](int i) {
        launch(i, shares.As<DecodeShare>(), static_cast<int>(list.size()), work, variant);
      };
      run(0);
      const DecodeVariant& block = kDecodeVariants[variant];
      std::string listed = Format("%d splits", listing.splits);
      if (listing.splits == 0) {
        listed = Format("list of %zu, ", list.size()) +
                 (listing.waves == 0 ? "chosen" : Format("%d waves", listing.waves));
      }
      measurement.variant = Format("%d warps x %d keys, runs of %d, %s", block.warps,
                                   block.keys_per_warp, block.run_keys, listed.c_str());
      measurement.error = RelativeDifference(
          out.data(), expected.data(), int64_t{batch} * heads * kHeadDim, false, report.stream());
      measurement.microseconds = report.Microseconds(run, 2 * copies);
      report.Print(measurement);
    }
  }
}

// Sequences of a step that decodes.
struct DecodeLoad {
  std::string name;
  std::vector<int> contexts;
};

DecodeLoad Even(int batch, int context) {
  return {Format("context %d", context), std::vector<int>(static_cast<size_t>(batch), context)};
}
DecodeLoad OneLong(int batch, int context, int longest) {
  DecodeLoad load = Even(batch, context);
  load.name += Format(", one of %d", longest);
  load.contexts[load.contexts.size() / 2] = longest;
  return load;
}
// Lengths spread evenly, in no order.
DecodeLoad Spread(int batch, int shortest, int longest) {
  DecodeLoad load{Format("contexts %d to %d", shortest, longest), {}};
  for (int i = 0; i < batch; ++i) {
    load.contexts.push_back(shortest + (i * 7 % batch) * (longest - shortest) / (batch - 1));
  }
  return load;
}

// Over caches in bfloat16 and in float8.
void BenchDecode(Report& report, Choices choices, const DecodeLoad& load, int kv_heads) {
  const int batch = static_cast<int>(load.contexts.size());
  const int longest = *std::max_element(load.contexts.begin(), load.contexts.end());
  const int heads = kv_heads * kGroup, width = (heads + 2 * kv_heads) * kHeadDim;
  const int blocks_each = (longest + kBlockSize - 1) / kBlockSize, blocks = blocks_each * batch;
  const int64_t elements = int64_t{blocks} * kv_heads * kBlockSize * kHeadDim;
  const double tokens = std::accumulate(load.contexts.begin(), load.contexts.end(), 0.0);
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
  std::vector<DecodeTile> decodes;
  for (int i = 0; i < batch; ++i) {
    const int length = load.contexts[static_cast<size_t>(i)];
    rows.push_back({i, 1, length - 1, length, i});
    decodes.push_back({i, length, i});
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
  const std::string shape = Format("%d KV heads, %s", kv_heads, load.name.c_str());
  const HeadGroups groups{starts.As<int32_t>(), kGroup};
  const auto prefill = [&](int i) {
    PagedPrefillAttention(arguments(expected), paged(i), groups, tiles.As<QueryTile>(), batch, 1,
                          report.stream());
  };
  DecodeShape decode_shape{kv_heads, kGroup, kHeadDim, 32768, Processors()};
  BenchDecodeVariants(
      report, choices, {"decode attention", shape, "prefill kernel", 2.0 * bytes}, decode_shape,
      decodes, copies, prefill, out, expected,
      [&](int i, const DecodeShare* shares, int count, const DecodeWorkspace& work, int variant) {
        PagedDecodeAttention(arguments(out), paged(i), groups, shares, count, work, variant,
                             report.stream());
      });
  // The same memory with codes, of twice as many copies.
  FillCodes(keys, 1, report.stream());
  FillCodes(values, 2, report.stream());
  const auto prefill_float8 = [&](int i) {
    PagedPrefillAttention(arguments(expected), paged_float8(i), tiles.As<QueryTile>(), batch, 1,
                          report.stream());
  };
  decode_shape.has_float8_cache = true;
  BenchDecodeVariants(
      report, choices,
      {"decode attention, float8 cache", shape, "prefill kernel",
       bytes * (kHeadDim + 4) / kHeadDim},
      decode_shape, decodes, 2 * copies, prefill_float8, out, expected,
      [&](int i, const DecodeShare* shares, int count, const DecodeWorkspace& work, int variant) {
        PagedDecodeAttention(arguments(out), paged_float8(i), groups, shares, count, work, variant,
                             report.stream());
      });
}

void BenchAttention(Report& report) {
  for (const int kv_heads : {8, 2}) {
    for (const int batch : {16, 64}) {
      BenchDecode(report, Choices::kAll, OneLong(batch, 1400, 32768), kv_heads);
      BenchDecode(report, Choices::kAll, Spread(batch, 128, 8192), kv_heads);
    }
    for (const int context : {128, 190}) {
      BenchDecode(report, Choices::kAll, Even(256, context), kv_heads);
    }
    for (const int context : {128, 1400, 8192}) {
      for (const int batch : {1, 4, 16, 64}) {
        BenchDecode(report, Choices::kAll, Even(batch, context), kv_heads);
      }
    }
  }
}

// What docs/performance/attention.md says of decodes over a cache in float8, beside one in bfloat16.
void BenchFloat8Cache(Report& report) {
  for (const int context : {1400, 8192}) {
    for (const int batch : {1, 16, 64}) {
      BenchDecode(report, Choices::kEngine, Even(batch, context), 8);
    }
  }
}

const BenchRegistration kRegistration("attention", &BenchAttention);
const BenchRegistration kFloat8CacheRegistration("float8-cache", &BenchFloat8Cache);

}  // namespace
}  // namespace skein::cuda
