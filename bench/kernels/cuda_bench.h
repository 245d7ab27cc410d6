// The frame of cuda_kernel_bench: each cuda_bench_*.cc registers a part under a name, measures
// through Report, and checks each variant's results before it times it.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <functional>
#include <string>

#include "cuda/cuda_check.h"
#include "cuda/device_memory.h"
#include "cuda/stream.h"

namespace skein::cuda {

// One measurement, printed as a JSON object a line.
struct Measurement {
  std::string what, shape, variant;
  int64_t rows = 0;
  // Time of one run, and the bytes that it cannot avoid reading (weights, keys and values).
  double microseconds = 0, bytes = 0;
  // Against the reference, relative; negative: this is the reference.
  double error = -1;
};

class Report {
 public:
  explicit Report(Stream& stream) : stream_(stream) {}

  Stream& stream() const { return stream_; }
  // Bytes a second of a plain read kernel over memory that no cache holds.
  double read_rate() const { return read_rate_; }
  // The first thing that a bench does.
  void MeasureReadRate();

  // Microseconds of one launch: the best of three runs of a graph of `count` launches, launch i
  // given i, so that it can rotate over copies of its operands. Memory read must exceed the L2
  // cache: take RotatingCopies of it. Throws what `launch` throws.
  double Microseconds(const std::function<void(int)>& launch, int count) const;
  // Microseconds of what `work` places on the stream: the best of `runs` after a first one, which
  // uploads graphs and chooses algorithms.
  double BestMicroseconds(const std::function<void()>& work, int runs) const;
  void Print(const Measurement& measurement);
  // A measurement that could not be made.
  void PrintSkipped(const Measurement& measurement, const std::string& reason);

  // How many copies of `bytes` bytes are several times the L2 cache; at least 2.
  static int RotatingCopies(size_t bytes);

 private:
  Stream& stream_;
  double read_rate_ = 0;
};

// Random bfloat16 values (mean 0, standard deviation near `scale`) in device memory, made there.
void FillRandomBFloat16(void* data, int64_t count, float scale, uint64_t seed, Stream& stream);
// sqrt(sum (a - b)^2 / sum b^2) of `count` values on the device.
double RelativeDifference(const void* a, const void* b, int64_t count, bool are_float,
                          Stream& stream);

// A static object of this registers a part of the bench.
class BenchRegistration {
 public:
  BenchRegistration(const char* name, void (*run)(Report&));
};

}  // namespace skein::cuda
