// How large what the CUDA back end packs and reserves is: arithmetic that the code which allocates
// shares with memory_rules.cc, which tells it where there is no CUDA. Includes none of it.
#pragma once

#include <algorithm>
#include <cstdint>

namespace skein::cuda {

constexpr int64_t RoundUpTo(int64_t value, int64_t step) {
  return (value + step - 1) / step * step;
}

// ---- dense ----
constexpr int64_t DenseBytes(int64_t in, int64_t out) { return in * out * 2; }
// A bias has a copy in each type that an output may have.
constexpr int64_t LinearBiasBytes(int64_t out) { return out * (4 + 2); }

// ---- float8 ----
// Bytes from a row of codes to the next: every row begins at a multiple of 16.
constexpr int64_t Float8Stride(int64_t cols) { return RoundUpTo(cols, 16); }
// Codes, and a scale an output.
constexpr int64_t Float8Bytes(int64_t in, int64_t out) { return out * (Float8Stride(in) + 4); }
// Rows of inputs that have become float8, with a scale each. A product reads the scales of a whole
// tile of rows, and of eight behind it.
constexpr int64_t kFloat8FewestRows = 64;
constexpr int64_t kFloat8ReadAhead = 256 + 8;

// What holds any of several numbers of rows, each with its own greatest number of inputs.
struct Float8Room {
  int64_t rows = 0, code_bytes = 0;

  constexpr void Add(int64_t more_rows, int64_t inputs) {
    if (inputs == 0) return;
    more_rows = std::max(more_rows, kFloat8FewestRows);
    rows = std::max(rows, more_rows);
    code_bytes = std::max(code_bytes, more_rows * Float8Stride(inputs));
  }
  constexpr int64_t scale_bytes() const { return rows == 0 ? 0 : (rows + kFloat8ReadAhead) * 4; }
};

// The widest inputs of float8 linears; 0 where there are none.
struct Float8Inputs {
  int64_t decoder = 0, tower = 0;

  constexpr void Add(bool is_tower, int64_t inputs) {
    int64_t& widest = is_tower ? tower : decoder;
    widest = std::max(widest, inputs);
  }
  // For a step's tokens, and the rows of its tiles.
  constexpr void AddTo(Float8Room& room, int64_t tokens, int64_t tile_rows) const {
    room.Add(tokens, decoder);
    room.Add(tile_rows, tower);
  }
};

// ---- AWQ ----
inline constexpr int kAwqTileColumns = 16;
// Inputs of a unit: what one warp multiplies a tile of columns by at a time.
inline constexpr int kAwqUnitInputs = 128;
// Group sizes are multiples of it.
inline constexpr int kAwqGroupStep = 32;
// Rows of x that one AwqProduct takes.
inline constexpr int kAwqMaxRows = 64;
// Blocks of one launch that wait for one another's partial sums, and so the tickets of a weight.
inline constexpr int kAwqMaxTickets = 256;

// Columns in pairs of tiles, inputs in units that a slice may begin inside of; a table of scales
// and zeros for each unit, or for each 32 inputs where groups are no multiples of a unit.
struct AwqPacking {
  int64_t padded_out, units;
  int32_t tables_per_unit;

  constexpr AwqPacking(int64_t in, int64_t out, int64_t group_size, int64_t group_offset)
      : padded_out(RoundUpTo(out, 2 * kAwqTileColumns)),
        units(RoundUpTo(in + group_offset, kAwqUnitInputs) / kAwqUnitInputs),
        tables_per_unit(group_size % kAwqUnitInputs == 0 ? 1 : kAwqUnitInputs / kAwqGroupStep) {}
  constexpr int64_t words() const { return padded_out * units * kAwqUnitInputs / 8; }
  constexpr int64_t tables() const { return padded_out * units * tables_per_unit; }
  constexpr int64_t bytes() const { return (words() + tables() + kAwqMaxTickets) * 4; }
};

// Columns of the widest weight that a buffer of dequantised ones holds: half of the 38 B model's
// `down`, and more of its other weights, which have fewer inputs.
inline constexpr int64_t kAwqBufferColumns = 2560;
constexpr int64_t AwqBufferBytes(int64_t in, int64_t out) {
  return std::min(kAwqBufferColumns, RoundUpTo(out, kAwqTileColumns)) * in * 2;
}
// Room for partial sums of a weight's products.
constexpr int64_t AwqPartialRoom(int64_t in, int64_t out) {
  const int64_t slices =
      std::max<int64_t>(16, RoundUpTo(in, 8 * kAwqUnitInputs) / (8 * kAwqUnitInputs));
  return std::min(int64_t{64} << 20, slices * kAwqMaxRows * (out + 2 * kAwqTileColumns) * 4);
}

// ---- arenas ----
// An arena grows by pieces of at least so much: the last one is partly idle.
inline constexpr int64_t kArenaPieceBytes = int64_t{64} << 20;

}  // namespace skein::cuda
