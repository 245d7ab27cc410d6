// A picture of RGB bytes resized as Pillow's bicubic resize does, in every byte, straight into
// tiles; and turned.
#pragma once

#include <cstdint>

#include "picture/row_kernels.h"

namespace skein::picture {

// [height, width, 3].
struct RgbView {
  const uint8_t* data;
  int64_t width, height;
};

// [rows * columns, tile_height, tile_width, 3]: what is resized to [rows * tile_height, columns *
// tile_width] is cut into these, row by row, left to right.
struct TileGrid {
  uint8_t* data;
  int64_t columns, rows, tile_width, tile_height;

  int64_t width() const { return columns * tile_width; }
  int64_t height() const { return rows * tile_height; }
  int64_t num_bytes() const { return width() * height() * 3; }
};

// Horizontal pass first, rounded to bytes, then vertical; a pass that would not change the size is
// skipped. This is Pillow's order up to 12.1, and what the models were trained on. Pillow 12.2
// and 12.3 take the vertical pass first for pictures more than 100 times as high as wide that lose
// height, Pillow 13 wherever that is cheaper: up to 2 grey levels' difference in smooth pictures,
// more in noise.
//
// Takes as many threads as it is given, fewer where the system has none left; the bytes do not
// depend on them. Of rows between the passes each holds about a megabyte.
void ResizeIntoTiles(const RgbView& source, const TileGrid& target, int num_threads,
                     const RowKernels& kernels = BestRowKernels());

// EXIF's orientations 1 to 8: the picture as it is to be looked at. `target`: [height, width, 3],
// of 5 to 8 with width and height exchanged.
void TurnUpright(const RgbView& source, int orientation, int num_threads, uint8_t* target);

}  // namespace skein::picture
