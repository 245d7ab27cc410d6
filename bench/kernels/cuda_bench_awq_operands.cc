// Makes and checks what the benches of AWQ products multiply.
#include <algorithm>
#include <random>

#include "cuda/kernels/elementwise.h"
#include "cuda_bench_awq.h"
#include "cuda_bench_layer.h"

namespace skein::cuda {
namespace {

int64_t RoundUp(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

// A random piece, over and over. Its length is no multiple of a column's, so columns differ.
template <typename Draw>
void Fill(uint32_t* device, size_t count, const Draw& draw) {
  std::vector<uint32_t> piece(std::min<size_t>(count, (1u << 20) - 77));
  for (uint32_t& word : piece) word = draw();
  for (size_t done = 0; done < count; done += piece.size()) {
    SKEIN_CUDA(cudaMemcpy(device + done, piece.data(), std::min(piece.size(), count - done) * 4,
                          cudaMemcpyHostToDevice));
  }
}

}  // namespace

AwqBenchWeight::AwqBenchWeight(std::string shape_name, int64_t in, int64_t out, int num_copies)
    : name(std::move(shape_name)) {
  AwqWeights weights{};
  weights.in_features = in;
  weights.out_features = out;
  weights.padded_out = RoundUp(out, 2 * kAwqTileColumns);
  weights.units = RoundUp(in, kAwqUnitInputs) / kAwqUnitInputs;
  weights.group_size = kAwqUnitInputs;
  weights.tables_per_unit = 1;
  const auto num_words = static_cast<size_t>(weights.padded_out * weights.units * 16);
  const auto num_tables = static_cast<size_t>(weights.padded_out * weights.units);
  bytes = static_cast<double>(num_words + num_tables) * 4;
  for (int i = 0; i < num_copies; ++i) {
    memory.emplace_back(num_words * 4);
    weights.words = memory.back().As<uint32_t>();
    memory.emplace_back(num_tables * 4);
    weights.tables = memory.back().As<uint32_t>();
    memory.emplace_back(kAwqMaxTickets * 4);
    weights.tickets = memory.back().As<uint32_t>();
    SKEIN_CUDA(cudaMemset(weights.tickets, 0, kAwqMaxTickets * 4));
    copies.push_back(weights);
  }
  std::mt19937 generator(11);
  Fill(copies[0].words, num_words, [&] { return static_cast<uint32_t>(generator()); });
  // Scales near 0.01 in float16, zeros in 128 .. 143 in bfloat16.
  Fill(copies[0].tables, num_tables, [&] {
    const auto bits = static_cast<uint32_t>(generator());
    return (0x2000u | (bits & 0x3ffu)) | (0x4300u + (bits >> 10 & 15u)) << 16;
  });
  for (int i = 1; i < num_copies; ++i) {
    const auto copy = static_cast<size_t>(i);
    SKEIN_CUDA(cudaMemcpy(copies[copy].words, copies[0].words, num_words * 4, cudaMemcpyDefault));
    SKEIN_CUDA(
        cudaMemcpy(copies[copy].tables, copies[0].tables, num_tables * 4, cudaMemcpyDefault));
  }
}

AwqBenchWeights MakeAwqLayer(int64_t world_size) {
  struct Shape {
    const char* name;
    int64_t in, out;
  };
  const Shape shapes[] = {{"qkv", kHidden, kQkv / world_size},
                          {"o", kHidden / world_size, kHidden},
                          {"gate_up", kHidden, 2 * kWidth / world_size},
                          {"down", kWidth / world_size, kHidden}};
  AwqBenchWeights weights;
  for (const auto& [name, in, out] : shapes) {
    weights.push_back(std::make_unique<AwqBenchWeight>(
        Format("%s, world size %lld", name, static_cast<long long>(world_size)), in, out,
        Report::RotatingCopies(static_cast<size_t>(in * out / 2))));
  }
  return weights;
}

AwqBenchOperands::AwqBenchOperands(Report& report)
    : report_(report),
      x_(kMostRows * kWidth * 2),
      out_(kMostRows * 2 * kWidth * 4),
      reference_(kCheckedRows * 2 * kWidth * 4),
      activated_(kCheckedRows * kWidth * 2) {
  FillRandomBFloat16(x_.data(), kMostRows * kWidth, 1.0f, 3, report_.stream());
}

ProductOperands AwqBenchOperands::For(const AwqWeights& weights, int64_t rows, bool swiglu,
                                      float* partial) const {
  ProductOperands operands{};
  operands.x = x_.As<__nv_bfloat16>();
  operands.x_stride = weights.in_features;
  operands.rows = rows;
  operands.out = out_.data();
  operands.out_is_float = !swiglu;
  operands.out_stride = swiglu ? weights.out_features / 2 : weights.out_features;
  operands.swiglu = swiglu;
  operands.partial = partial;
  return operands;
}

Matrix AwqBenchOperands::X(const AwqWeights& weights, int64_t rows) const {
  return MakeMatrix(x_.data(), DType::kBFloat16, rows, weights.in_features);
}
Matrix AwqBenchOperands::Out(const AwqWeights& weights, int64_t rows) const {
  return MakeMatrix(out_.data(), DType::kFloat32, rows, weights.out_features);
}

void AwqBenchOperands::MakeReference(const AwqWeights& weights, bool swiglu) {
  AwqReference(weights, x_.As<__nv_bfloat16>(), weights.in_features, kCheckedRows,
               reference_.As<float>(), report_.stream());
  if (!swiglu) return;
  SwiGlu(reference_.As<float>(), weights.out_features, kCheckedRows, weights.out_features / 2,
         activated_.As<__nv_bfloat16>(), weights.out_features / 2, report_.stream());
}

void AwqBenchOperands::PoisonOut() {
  SKEIN_CUDA(cudaMemsetAsync(out_.data(), 0xff, out_.bytes(), report_.stream().ForDriver()));
}

double AwqBenchOperands::Error(const AwqWeights& weights, int64_t rows, bool swiglu) const {
  const int64_t count = std::min(rows, kCheckedRows) * weights.out_features;
  return swiglu ? RelativeDifference(out_.data(), activated_.data(), count / 2, false,
                                     report_.stream())
                : RelativeDifference(out_.data(), reference_.data(), count, true, report_.stream());
}

void AwqBenchOperands::Layer(const char* what, const std::string& shape,
                             const AwqBenchWeights& weights, int64_t rows,
                             const std::function<void(const AwqWeights&, size_t)>& launch) {
  Measurement measurement;
  measurement.what = what;
  measurement.shape = shape;
  measurement.variant = "chosen";
  measurement.rows = rows;
  for (const auto& weight : weights) measurement.bytes += weight->bytes;
  measurement.microseconds = report_.Microseconds(
      [&](int copy) {
        for (size_t i = 0; i < weights.size(); ++i) launch(weights[i]->Copy(copy), i);
      },
      8);
  report_.Print(measurement);
}

}  // namespace skein::cuda
