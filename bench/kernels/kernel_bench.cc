// Times the CPU back end's products and attention, and oneDNN's products beside them, over sizes of
// real models. Prints one JSON object a line: what, shape, best time, GB/s of weights or KV,
// GFLOP/s. Results are checked elsewhere (native/test).
//
//   kernel_bench [--full] [--threads N] [--isa avx2|avx512|avx512_bf16|portable] [--onednn]
//
// Without --full: small sizes, a second in all. With one thread the time is the thread's own
// processor time, so that a machine shared with others still gives usable numbers; with more it is
// the wall's.
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "core/error.h"
#include "cpu/cpu_backend.h"
#include "test/onednn_matmul.h"

namespace skein {
namespace {

struct Options {
  bool full = false;
  bool onednn = false;
  int threads = 1;
  cpu::InstructionClass isa = cpu::DetectInstructionClass();
};

double Seconds(const Options& options) {
  timespec now;
  clock_gettime(options.threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double BestSeconds(const Options& options, const std::function<void()>& body) {
  const double budget = options.full ? 0.4 : 0.01;
  body();
  double best = 1e9;
  const double start = Seconds(options);
  for (int i = 0; i < 3 || Seconds(options) - start < budget; ++i) {
    const double begin = Seconds(options);
    body();
    best = std::min(best, Seconds(options) - begin);
  }
  return best;
}

void Report(const Options& options, const std::string& what, const std::string& shape,
            double seconds, double bytes, double operations) {
  std::printf(
      "{\"what\":\"%s\",\"shape\":\"%s\",\"isa\":\"%s\",\"threads\":%d,\"ms\":%.4f,\"gb_per_s\":%."
      "2f,"
      "\"gflop_per_s\":%.1f}\n",
      what.c_str(), shape.c_str(), cpu::Name(options.isa), options.threads, seconds * 1e3,
      bytes / seconds / 1e9, operations / seconds / 1e9);
  std::fflush(stdout);
}

std::vector<float> Noise(int64_t count, uint32_t seed) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(seed >> 8) / 16777216.0f - 0.5f;
  }
  return values;
}

struct LinearSize {
  int64_t in, out;
};

// Weights of one size in every form that PrepareLinear takes.
struct Weights {
  explicit Weights(const LinearSize& size)
      : dense(Noise(size.in * size.out, 1)),
        words(static_cast<size_t>(size.in * size.out / 8), 0x86427531u),
        zeros(static_cast<size_t>(size.in / 128 * size.out / 8), 0x77777777u),
        scales(static_cast<size_t>(size.in / 128 * size.out), 0x2400) {
    raw.in_features = quantised.in_features = size.in;
    raw.out_features = quantised.out_features = size.out;
    raw.weight = MakeMatrix(dense.data(), DType::kFloat32, size.out, size.in);
    quantised.qweight = MakeMatrix(words.data(), DType::kInt32, size.in, size.out / 8);
    quantised.qzeros = MakeMatrix(zeros.data(), DType::kInt32, size.in / 128, size.out / 8);
    quantised.scales = MakeMatrix(scales.data(), DType::kFloat16, size.in / 128, size.out);
    quantised.group_size = 128;
  }
  std::vector<float> dense;
  std::vector<uint32_t> words, zeros;
  std::vector<uint16_t> scales;
  RawLinear raw, quantised;
};

void BenchLinear(const Options& options, Backend& backend, const LinearSize& size) {
  const Weights weights(size);
  for (const bool awq : {false, true}) {
    for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
      const auto linear = backend.PrepareLinear(awq ? weights.quantised : weights.raw, type);
      const std::string what = std::string(awq ? "linear awq " : "linear ") + Name(type);
      std::unique_ptr<test::OneDnnMatmul> yardstick;
      if (options.onednn && !awq) {
        yardstick = std::make_unique<test::OneDnnMatmul>(weights.raw.weight, type, options.threads);
      }
      for (const int64_t rows : {1, 4, 16, 256}) {
        std::vector<float> x = Noise(rows * size.in, 2), y(static_cast<size_t>(rows * size.out));
        const Matrix in = MakeMatrix(x.data(), DType::kFloat32, rows, size.in);
        const Matrix out = MakeMatrix(y.data(), DType::kFloat32, rows, size.out);
        const std::string shape = std::to_string(rows) + " x " + std::to_string(size.in) + " x " +
                                  std::to_string(size.out);
        const double bytes = static_cast<double>(linear->weight_bytes());
        const double operations = 2.0 * static_cast<double>(rows * size.in * size.out);
        Report(options, what, shape,
               BestSeconds(options, [&] { backend.Linear(*linear, in, Activation::kNone, out); }),
               bytes, operations);
        if (yardstick == nullptr) continue;
        Report(options, "oneDNN " + test::OneDnnMatmul::Version() + " " + Name(type), shape,
               BestSeconds(options, [&] { yardstick->Multiply(in, out); }), bytes, operations);
      }
    }
  }
}

// A step of the last `num_rows` rows of a sequence of `context` tokens, in blocks 0, 1, ...
class SequenceStep {
 public:
  SequenceStep(int64_t num_rows, int64_t context, int64_t block_size)
      : ids_(static_cast<size_t>(num_rows), 0),
        positions_(static_cast<size_t>(num_rows)),
        table_(static_cast<size_t>((context + block_size - 1) / block_size)),
        spans_{{0, static_cast<int32_t>(num_rows), static_cast<int32_t>(context), 0}} {
    std::iota(positions_.begin(), positions_.end(), static_cast<int32_t>(context - num_rows));
    std::iota(table_.begin(), table_.end(), 0);
    slots_.assign(positions_.begin(), positions_.end());
  }

  // What it points to is this object's.
  StepMetadata metadata() const {
    StepMetadata metadata;
    metadata.token_ids = ids_;
    metadata.positions = positions_;
    metadata.slot_mapping = slots_;
    metadata.spans = spans_;
    metadata.block_tables = table_;
    metadata.max_blocks_per_sequence = static_cast<int64_t>(table_.size());
    return metadata;
  }

 private:
  std::vector<int32_t> ids_, positions_, table_;
  std::vector<SequenceSpan> spans_;
  std::vector<int64_t> slots_;
};

// `num_queries` rows at the end of a context, 14 query heads over 2 KV heads of 64.
void BenchPagedAttention(const Options& options, Backend& backend, int64_t num_queries,
                         int64_t context, DType type) {
  constexpr int64_t kHeads = 14, kKvHeads = 2, kDim = 64, kBlock = 16;
  const int64_t blocks = (context + kBlock - 1) / kBlock;
  const auto cache = backend.AllocateKvCache({1, blocks, kBlock, kKvHeads, kDim}, type);
  std::vector<int32_t> q_to_kv;
  for (int32_t head = 0; head < kHeads; ++head) q_to_kv.push_back(head / (kHeads / kKvHeads));
  constexpr int64_t kWidth = (kHeads + 2 * kKvHeads) * kDim;
  const SequenceStep whole(context, context, kBlock), step(num_queries, context, kBlock);
  backend.BeginStep(whole.metadata());
  std::vector<float> stored = Noise(context * kWidth, 5);
  backend.RotaryStoreKv(MakeMatrix(stored.data(), DType::kFloat32, context, kWidth), *cache, 0,
                        kHeads, 1e4);
  backend.BeginStep(step.metadata());
  std::vector<float> qkv = Noise(num_queries * kWidth, 3);
  std::vector<float> result(static_cast<size_t>(num_queries * kHeads * kDim));
  const Matrix all = MakeMatrix(qkv.data(), DType::kFloat32, num_queries, kWidth);
  const Matrix out = MakeMatrix(result.data(), DType::kFloat32, num_queries, kHeads * kDim);
  const double seconds = BestSeconds(options, [&] {
    backend.PagedAttention(all.Cols(0, kHeads * kDim), *cache, 0, q_to_kv, out);
  });
  const double visible = static_cast<double>(num_queries) *
                         (static_cast<double>(context) - static_cast<double>(num_queries - 1) / 2);
  Report(options, std::string("paged attention ") + Name(type),
         std::to_string(num_queries) + " of " + std::to_string(context), seconds,
         static_cast<double>(2 * context * kKvHeads * KvBytesPerHead(kDim, type)),
         4.0 * visible * kHeads * kDim);
}

void BenchVisionAttention(const Options& options, Backend& backend, int64_t tokens, int64_t heads,
                          int64_t head_dim) {
  const int64_t width = heads * head_dim;
  std::vector<float> qkv = Noise(tokens * 3 * width, 4),
                     result(static_cast<size_t>(tokens * width));
  const Matrix in = MakeMatrix(qkv.data(), DType::kFloat32, tokens, 3 * width);
  const Matrix out = MakeMatrix(result.data(), DType::kFloat32, tokens, width);
  const double seconds =
      BestSeconds(options, [&] { backend.VisionAttention(in, 1, tokens, heads, head_dim, out); });
  Report(options, "vision attention",
         std::to_string(tokens) + " x " + std::to_string(heads) + " x " + std::to_string(head_dim),
         seconds, 0, 4.0 * static_cast<double>(tokens * tokens * width));
}

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    const std::string value = i + 1 < argc ? argv[i + 1] : "";
    if (flag == "--full") {
      options.full = true;
    } else if (flag == "--onednn") {
      options.onednn = true;
    } else if (flag == "--threads") {
      options.threads = std::max(1, std::atoi(value.c_str()));
      ++i;
    } else if (flag == "--isa") {
      bool found = false;
      for (const auto isa : cpu::AvailableInstructionClasses()) {
        if (value != cpu::Name(isa)) continue;
        options.isa = isa;
        found = true;
      }
      if (!found) throw Error("INVALID_REQUEST", "--isa " + value + ": this processor lacks it");
      ++i;
    } else {
      throw Error("INVALID_REQUEST", "unknown flag " + flag);
    }
  }
  return options;
}

void Run(const Options& options) {
  const auto backend = cpu::MakeCpuBackendOfClass(options.threads, options.isa);
  const std::vector<LinearSize> sizes =
      options.full ? std::vector<LinearSize>{{896, 4864}, {4864, 896}, {5120, 5120}}
                   : std::vector<LinearSize>{{256, 384}};
  for (const LinearSize& size : sizes) BenchLinear(options, *backend, size);
  for (const DType type : {DType::kFloat32, DType::kBFloat16, DType::kFloat8E4M3}) {
    BenchPagedAttention(options, *backend, 1, options.full ? 4096 : 128, type);
    BenchPagedAttention(options, *backend, options.full ? 256 : 16, options.full ? 1024 : 64, type);
  }
  BenchVisionAttention(options, *backend, options.full ? 1025 : 65, options.full ? 16 : 2, 64);
}

}  // namespace
}  // namespace skein

int main(int argc, char** argv) {
  try {
    skein::Run(skein::Parse(argc, argv));
  } catch (const skein::Error& error) {
    std::fprintf(stderr, "kernel_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
