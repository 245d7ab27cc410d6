// AWQ weights of any shape, group and offset: repacked and multiplied on every class of instruction
// set, and compared with plain loops.
#include <cmath>
#include <vector>

#include "core/dtype.h"
#include "cpu/cpu_features.h"
#include "cpu/kernels.h"
#include "cpu/packed_linear.h"
#include "fuzz/fuzz_input.h"
#include "fuzz/targets.h"

namespace skein::fuzz {
namespace {

constexpr int kBitOfColumn[8] = {0, 16, 4, 20, 8, 24, 12, 28};

// One linear as a checkpoint has it, or a slice of one that begins inside a group.
struct Weights {
  int64_t in = 0, out = 0, group = 0, offset = 0;
  std::vector<uint32_t> words, zeros;
  std::vector<float> scales;

  int64_t num_groups() const { return (in + offset + group - 1) / group; }
  int Nibble(const std::vector<uint32_t>& from, int64_t row, int64_t col) const {
    return (from[static_cast<size_t>(row * (out / 8) + col / 8)] >> kBitOfColumn[col % 8]) & 15;
  }
  double At(int64_t row, int64_t col) const {
    const int64_t g = (row + offset) / group;
    const int difference = Nibble(words, row, col) - Nibble(zeros, g, col);
    return difference * static_cast<double>(scales[static_cast<size_t>(g * out + col)]);
  }
};

Weights Draw(FuzzInput& in) {
  Weights to;
  // Mostly small, since small ones are quick, and now and then more than a block.
  const bool is_long = in.In(0, 15) == 0;
  to.in = in.In(1, is_long ? 150 : 40);
  to.out = 8 * in.In(1, 5);
  to.group = in.In(1, is_long ? 140 : 24);
  to.offset = in.In(0, to.group - 1);
  to.words.resize(static_cast<size_t>(to.in * to.out / 8));
  to.zeros.resize(static_cast<size_t>(to.num_groups() * to.out / 8));
  to.scales.resize(static_cast<size_t>(to.num_groups() * to.out));
  // A few bytes decide many words, so that inputs stay short.
  uint32_t state = static_cast<uint32_t>(in.Bits(4)) | 1;
  const auto next = [&] { return state = state * 1664525u + 1013904223u; };
  for (uint32_t& word : to.words) word = next() ^ (next() >> 16);
  for (uint32_t& word : to.zeros) word = next() ^ (next() >> 16);
  for (float& scale : to.scales) scale = static_cast<float>(next() >> 20) / 4096;
  for (int64_t i = in.In(0, 3); i > 0; --i) to.words[in.Bits(2) % to.words.size()] = in.Bits(4);
  return to;
}

RawLinear Raw(Weights& weights) {
  RawLinear raw;
  raw.in_features = weights.in;
  raw.out_features = weights.out;
  raw.group_size = weights.group;
  raw.group_offset = weights.offset;
  raw.qweight = MakeMatrix(weights.words.data(), DType::kInt32, weights.in, weights.out / 8);
  raw.qzeros =
      MakeMatrix(weights.zeros.data(), DType::kInt32, weights.num_groups(), weights.out / 8);
  raw.scales =
      MakeMatrix(weights.scales.data(), DType::kFloat32, weights.num_groups(), weights.out);
  return raw;
}

void Compare(const Weights& weights, const std::vector<float>& x, const std::vector<float>& out,
             int64_t rows) {
  std::vector<double> sums(static_cast<size_t>(rows)), sizes(sums.size());
  for (int64_t o = 0; o < weights.out; ++o) {
    sums.assign(sums.size(), 0);
    sizes.assign(sizes.size(), 0);
    for (int64_t i = 0; i < weights.in; ++i) {
      const double weight = weights.At(i, o);
      for (size_t r = 0; r < sums.size(); ++r) {
        const double term =
            weight * x[r * static_cast<size_t>(weights.in) + static_cast<size_t>(i)];
        sums[r] += term;
        sizes[r] += std::fabs(term);
      }
    }
    for (size_t r = 0; r < sums.size(); ++r) {
      const double found = out[r * static_cast<size_t>(weights.out) + static_cast<size_t>(o)];
      FUZZ_CHECK(std::fabs(found - sums[r]) <= 1e-5 * sizes[r] + 1e-6);
    }
  }
}

}  // namespace

void RunAwq(const uint8_t* data, size_t size) {
  FuzzInput in(data, size);
  Weights weights = Draw(in);
  const auto classes = cpu::AvailableInstructionClasses();
  const cpu::KernelTable& kernels = cpu::GetKernels(in.Pick(classes));
  const DType type = in.Flag() ? DType::kFloat32 : DType::kBFloat16;
  const int64_t rows = in.In(1, 6);
  // Exact in bfloat16, so that both types have one answer.
  std::vector<float> x(static_cast<size_t>(rows * weights.in));
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<float>(static_cast<int>((i * 37 + i / 7) % 33) - 16) / 8;
  }
  static ThreadPool pool(1);
  const cpu::PackedLinear linear(Raw(weights), type, kernels, pool);
  std::vector<float> out(static_cast<size_t>(rows * weights.out), std::nanf(""));
  AlignedBuffer scratch(linear.ScratchBytes());
  linear.Multiply(MakeMatrix(x.data(), DType::kFloat32, rows, weights.in), Activation::kNone,
                  MakeMatrix(out.data(), DType::kFloat32, rows, weights.out), pool, scratch.data());
  Compare(weights, x, out, rows);
}

}  // namespace skein::fuzz
