// The two passes of a resize over rows of RGB bytes. Sums are of integers: every implementation
// gives the same bytes.
#pragma once

#include <cstdint>

#include "picture/resample_windows.h"

namespace skein::picture {

// Rows that the horizontal pass takes at once, so that they share the reading of the weights.
inline constexpr int kRowsAtOnce = 4;
// Behind the end of a row the horizontal pass may read so many bytes of its input, which count for
// nothing, and write one of its output.
inline constexpr int64_t kRowPadding = 16;

struct RowKernels {
  // [width, 3] to [windows.output_size(), 3], kRowsAtOnce times. The same row may be given more
  // than once.
  void (*horizontal)(const uint8_t* const* sources, const ResampleWindows& windows,
                     uint8_t* const* targets);
  // Output row `position` from the rows of its window: bytes [offset, offset + num_bytes) of each
  // into `target`.
  void (*vertical)(const uint8_t* const* rows, const ResampleWindows& windows, int64_t position,
                   int64_t offset, int64_t num_bytes, uint8_t* target);
};

const RowKernels& PortableRowKernels();
// Null where this processor has no AVX2.
const RowKernels* Avx2RowKernels();
// The fastest that this processor has.
const RowKernels& BestRowKernels();

}  // namespace skein::picture
