// Random AWQ weights in their packed form, for tests of the products themselves.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "cuda/device_memory.h"
#include "cuda/kernels/awq.h"
#include "cuda_twin.h"

namespace skein {

struct PackedAwq {
  cuda::AwqWeights weights{};
  std::vector<uint32_t> words, tables;

  // Random words; scales of 0.007 to 0.0156 in float16; 128 to 143 in bfloat16. Columns that fill
  // up the last tile have scales of zero.
  PackedAwq(int64_t in, int64_t out, int64_t offset, std::mt19937& generator) {
    weights.in_features = in;
    weights.out_features = out;
    weights.padded_out = (out + 31) / 32 * 32;
    weights.units = (in + offset + 127) / 128;
    weights.group_size = 128;
    weights.group_offset = offset;
    weights.tables_per_unit = 1;
    words.resize(static_cast<size_t>(weights.padded_out * weights.units * 16));
    for (uint32_t& word : words) word = static_cast<uint32_t>(generator());
    tables.resize(static_cast<size_t>(weights.padded_out * weights.units));
    const int64_t per_tile = weights.units * 16;
    for (int64_t i = 0; i < weights.padded_out * weights.units; ++i) {
      const auto bits = static_cast<uint32_t>(generator());
      uint32_t entry = (0x4300u + (bits & 15u)) << 16;
      if (i / per_tile * 16 + i % 16 < out) entry |= 0x2000u | (bits >> 4 & 0x3ffu);
      tables[static_cast<size_t>(i)] = entry;
    }
    words_ = Upload(words);
    tables_ = Upload(tables);
    tickets_ = Upload(std::vector<uint32_t>(cuda::kAwqMaxTickets));
    weights.words = words_.As<uint32_t>();
    weights.tables = tables_.As<uint32_t>();
    weights.tickets = tickets_.As<uint32_t>();
  }

  // The weight of an input and a column, as awq.h has the packed form.
  double Weight(int64_t input, int64_t column) const {
    const int64_t at = input + weights.group_offset, unit = at / 128;
    const int64_t tile = column / 16, row = column % 16, k = at % 16;
    const int64_t lane = row % 8 * 4 + k % 8 / 2;
    const int64_t word =
        ((tile * weights.units + unit) * 2 + at % 128 / 64) * 128 + lane * 4 + at % 64 / 16;
    const int64_t nibble = row / 8 + k / 8 * 2 + k % 2 * 4;
    const uint32_t q = words[static_cast<size_t>(word)] >> (4 * nibble) & 15u;
    const uint32_t entry = tables[static_cast<size_t>((tile * weights.units + unit) * 16 + row)];
    const double scale =
        std::ldexp(1024.0 + (entry & 0x3ffu), static_cast<int>(entry >> 10 & 31u) - 25);
    const double zero = 128.0 + (entry >> 16 & 15u);
    return (entry & 0xffffu) == 0 ? 0.0 : (128.0 + q - zero) * scale;
  }

 private:
  static cuda::DeviceMemory Upload(const std::vector<uint32_t>& values) {
    cuda::DeviceMemory memory(values.size() * sizeof(uint32_t));
    cuda::CopyAndWait(memory.data(), values.data(), memory.bytes());
    return memory;
  }

  cuda::DeviceMemory words_, tables_, tickets_;
};

}  // namespace skein
