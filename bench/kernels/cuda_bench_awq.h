// AWQ weights for benches.
#pragma once

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "cuda/kernels/awq.h"
#include "cuda_bench.h"

namespace skein::cuda {

// Copies of one weight that together are larger than any cache.
struct BenchWeight {
  std::string name;
  std::vector<AwqWeights> copies;
  std::vector<DeviceMemory> memory;
  double bytes = 0;

  BenchWeight(std::string shape_name, int64_t in, int64_t out, int num_copies)
      : name(std::move(shape_name)) {
    AwqWeights weights{};
    weights.in_features = in;
    weights.out_features = out;
    weights.padded_out =
        (out + 2 * kAwqTileColumns - 1) / (2 * kAwqTileColumns) * 2 * kAwqTileColumns;
    weights.units = (in + kAwqUnitInputs - 1) / kAwqUnitInputs;
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

  // A random piece, over and over. Its length is no multiple of a column's, so columns differ.
  template <typename Draw>
  static void Fill(uint32_t* device, size_t count, const Draw& draw) {
    std::vector<uint32_t> piece(std::min<size_t>(count, (1u << 20) - 77));
    for (uint32_t& word : piece) word = draw();
    for (size_t done = 0; done < count; done += piece.size()) {
      SKEIN_CUDA(cudaMemcpy(device + done, piece.data(), std::min(piece.size(), count - done) * 4,
                            cudaMemcpyHostToDevice));
    }
  }
};

}  // namespace skein::cuda
