// Times the CUDA back end's kernels. Prints one JSON object a line: what, shape, rows, variant,
// microseconds, GB/s of the bytes that must be read, and their share of what a plain read kernel
// gets from the same memory. Operands rotate over copies that no cache holds.
//
//   cuda_kernel_bench [--only PART] [--list]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

#include "cuda/kernels/random.h"
#include "cuda_bench.h"
#include "cuda_bench_read.h"

namespace skein::cuda {
namespace {

struct Part {
  const char* name;
  void (*run)(Report&);
};

std::vector<Part>& Parts() {
  static std::vector<Part> parts;
  return parts;
}

int64_t CacheBytes() {
  int device = 0, bytes = 0;
  SKEIN_CUDA(cudaGetDevice(&device));
  SKEIN_CUDA(cudaDeviceGetAttribute(&bytes, cudaDevAttrL2CacheSize, device));
  return bytes;
}

void Run(const char* only) {
  Stream stream;
  Report report(stream);
  report.MeasureReadRate();
  std::sort(Parts().begin(), Parts().end(),
            [](const Part& a, const Part& b) { return std::strcmp(a.name, b.name) < 0; });
  for (const Part& part : Parts()) {
    if (only == nullptr || std::strcmp(only, part.name) == 0) part.run(report);
  }
}

}  // namespace

BenchRegistration::BenchRegistration(const char* name, void (*run)(Report&)) {
  Parts().push_back({name, run});
}

void Report::MeasureReadRate() {
  constexpr size_t kBytes = size_t{1} << 30;
  const DeviceMemory memory(2 * kBytes), sink(4);
  FillRandomBFloat16(memory.data(), kBytes, 1.0f, 1, stream_);
  const double us = Microseconds(
      [&](int i) {
        ReadAll(memory.As<char>() + static_cast<size_t>(i % 2) * kBytes, kBytes,
                sink.As<uint32_t>(), stream_);
      },
      8);
  read_rate_ = static_cast<double>(kBytes) / us * 1e6;
  Print({"read", "1 GiB", "plain", 0, us, static_cast<double>(kBytes)});
}

double Report::Microseconds(const std::function<void(int)>& launch, int count) const {
  // Once outside of a graph: first launches load modules and set attributes.
  launch(0);
  stream_.Synchronize();
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  SKEIN_CUDA(cudaStreamBeginCapture(stream_.ForDriver(), cudaStreamCaptureModeThreadLocal));
  try {
    for (int i = 0; i < count; ++i) launch(i);
  } catch (...) {
    cudaStreamEndCapture(stream_.ForDriver(), &graph);
    if (graph != nullptr) cudaGraphDestroy(graph);
    throw;
  }
  SKEIN_CUDA(cudaStreamEndCapture(stream_.ForDriver(), &graph));
  SKEIN_CUDA(cudaGraphInstantiate(&executable, graph, 0));
  SKEIN_CUDA(cudaGraphDestroy(graph));
  const double best =
      BestMicroseconds([&] { SKEIN_CUDA(cudaGraphLaunch(executable, stream_.ForDriver())); }, 3);
  SKEIN_CUDA(cudaGraphExecDestroy(executable));
  return best / count;
}

double Report::BestMicroseconds(const std::function<void()>& work, int runs) const {
  cudaEvent_t start = nullptr, end = nullptr;
  SKEIN_CUDA(cudaEventCreate(&start));
  SKEIN_CUDA(cudaEventCreate(&end));
  float best = 0;
  for (int run = 0; run <= runs; ++run) {
    SKEIN_CUDA(cudaEventRecord(start, stream_.ForDriver()));
    work();
    SKEIN_CUDA(cudaEventRecord(end, stream_.ForDriver()));
    SKEIN_CUDA(cudaEventSynchronize(end));
    float ms = 0;
    SKEIN_CUDA(cudaEventElapsedTime(&ms, start, end));
    if (run == 1 || (run > 1 && ms < best)) best = ms;
  }
  SKEIN_CUDA(cudaEventDestroy(start));
  SKEIN_CUDA(cudaEventDestroy(end));
  return static_cast<double>(best) * 1e3;
}

void Report::Print(const Measurement& measurement) {
  const double rate = measurement.bytes / measurement.microseconds * 1e6;
  std::printf(
      "{\"what\":\"%s\",\"shape\":\"%s\",\"rows\":%lld,\"variant\":\"%s\",\"us\":%.2f,"
      "\"gb_per_s\":%.0f,\"share_of_read_rate\":%.3f",
      measurement.what.c_str(), measurement.shape.c_str(), static_cast<long long>(measurement.rows),
      measurement.variant.c_str(), measurement.microseconds, rate * 1e-9, rate / read_rate_);
  if (std::isnan(measurement.error)) {
    std::printf(",\"error\":\"not a number\"");
  } else if (measurement.error >= 0) {
    std::printf(",\"error\":%.2e", measurement.error);
  }
  std::printf("}\n");
  std::fflush(stdout);
}

void Report::PrintSkipped(const Measurement& measurement, const std::string& reason) {
  std::printf(
      "{\"what\":\"%s\",\"shape\":\"%s\",\"rows\":%lld,\"variant\":\"%s\",\"skipped\":\"%s\"}\n",
      measurement.what.c_str(), measurement.shape.c_str(), static_cast<long long>(measurement.rows),
      measurement.variant.c_str(), reason.c_str());
  std::fflush(stdout);
}

int Report::RotatingCopies(size_t bytes) {
  const auto copies = static_cast<int>(static_cast<size_t>(4 * CacheBytes()) / bytes) + 1;
  return std::max(copies, 2);
}

void FillRandomBFloat16(void* data, int64_t count, float scale, uint64_t seed, Stream& stream) {
  constexpr int64_t kCols = 4096;
  RandomBlock block;
  block.key = seed * 0x9e3779b97f4a7c15ull + 1;
  // Uniform values: their deviation is their reach through the square root of three.
  block.spread = scale * 1.7320508f;
  block.rows = count / kCols;
  block.cols = kCols;
  FillRandomBlock(block, MakeMatrix(data, DType::kBFloat16, block.rows, kCols), stream);
  RandomBlock rest = block;
  rest.rows = 1;
  rest.cols = count % kCols;
  rest.first_row = block.rows;
  FillRandomBlock(rest,
                  MakeMatrix(static_cast<char*>(data) + block.rows * kCols * 2, DType::kBFloat16, 1,
                             std::max<int64_t>(rest.cols, 1)),
                  stream);
}

double RelativeDifference(const void* a, const void* b, int64_t count, bool are_float,
                          Stream& stream) {
  const DeviceMemory device(2 * sizeof(double));
  SKEIN_CUDA(cudaMemsetAsync(device.data(), 0, device.bytes(), stream.ForDriver()));
  SumSquaredDifferences(a, b, count, are_float, device.As<double>(), stream);
  double sums[2];
  SKEIN_CUDA(cudaMemcpyAsync(sums, device.data(), sizeof(sums), cudaMemcpyDeviceToHost,
                             stream.ForDriver()));
  stream.Synchronize();
  return std::sqrt(sums[0] / sums[1]);
}

}  // namespace skein::cuda

int main(int argc, char** argv) {
  const char* only = nullptr;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--list") == 0) {
      for (const auto& part : skein::cuda::Parts()) std::printf("%s\n", part.name);
      return 0;
    }
    if (std::strcmp(argv[i], "--only") == 0 && i + 1 < argc) {
      only = argv[++i];
    } else {
      std::fprintf(stderr, "usage: cuda_kernel_bench [--only PART] [--list]\n");
      return 2;
    }
  }
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) {
    std::fprintf(stderr, "cuda_kernel_bench: no CUDA device\n");
    return 1;
  }
  try {
    skein::cuda::Run(only);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "cuda_kernel_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
