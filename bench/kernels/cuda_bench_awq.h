// What the benches of AWQ products share: weights of the 38 B model's shapes, operands, the plain
// loop's results, and a layer's products in a row.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "cuda/kernels/awq.h"
#include "cuda_bench.h"

namespace skein::cuda {

// Copies of one weight that together are larger than any cache.
struct AwqBenchWeight {
  std::string name;
  std::vector<AwqWeights> copies;
  std::vector<DeviceMemory> memory;
  double bytes = 0;

  AwqBenchWeight(std::string shape_name, int64_t in, int64_t out, int num_copies);
  const AwqWeights& Copy(int i) const { return copies[static_cast<size_t>(i) % copies.size()]; }
};

using AwqBenchWeights = std::vector<std::unique_ptr<AwqBenchWeight>>;
// qkv, o, gate and up, down.
AwqBenchWeights MakeAwqLayer(int64_t world_size);
inline constexpr size_t kAwqGateUp = 2;

class AwqBenchOperands {
 public:
  static constexpr int64_t kMostRows = 4100;
  // Rows that are compared with the plain loop.
  static constexpr int64_t kCheckedRows = 64;

  explicit AwqBenchOperands(Report& report);

  // float32 outputs, bfloat16 ones with SwiGLU.
  ProductOperands For(const AwqWeights& weights, int64_t rows, bool swiglu, float* partial) const;
  Matrix X(const AwqWeights& weights, int64_t rows) const;
  Matrix Out(const AwqWeights& weights, int64_t rows) const;

  // The plain loop's results, for Error of the same weights.
  void MakeReference(const AwqWeights& weights, bool swiglu);
  void PoisonOut();
  // Of the outputs of `rows` rows.
  double Error(const AwqWeights& weights, int64_t rows, bool swiglu) const;

  // Times and prints the four products of layers that follow one another. launch(weights, i) places
  // product i.
  void Layer(const char* what, const std::string& shape, const AwqBenchWeights& weights,
             int64_t rows, const std::function<void(const AwqWeights&, size_t)>& launch);

 private:
  Report& report_;
  const DeviceMemory x_, out_, reference_, activated_;
};

// Runs of one measurement: more for small weights, whose times are short.
inline int AwqRepeats(const AwqBenchWeight& weight) { return weight.bytes < 40e6 ? 32 : 8; }

}  // namespace skein::cuda
