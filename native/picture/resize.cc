#include "picture/resize.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "picture/shared_work.h"

namespace skein::picture {
namespace {

// Of rows between the passes: they stay in a core's cache.
constexpr int64_t kBandBytes = 1 << 20;
// Bands share rows with their neighbours, which both compute: at most one row in so many.
constexpr int64_t kMinRowsPerShared = 4;

class Resize {
 public:
  Resize(const RgbView& source, const TileGrid& target, const RowKernels& kernels)
      : source_(source), target_(target), kernels_(kernels) {
    if (source.width != target.width()) horizontal_.emplace(source.width, target.width());
    if (source.height != target.height()) vertical_.emplace(source.height, target.height());
    row_stride_ = (target.width() * 3 + kRowPadding + 63) / 64 * 64;
    band_rows_ = std::min(ChooseBandRows(), target.height());
    const int64_t length = source.width * 3;
    const int64_t tail_rows = std::min((kRowPadding + length - 1) / length, source.height);
    tail_begin_ = source.height - tail_rows;
    tail_.assign(static_cast<size_t>(tail_rows * length + kRowPadding), 0);
    std::memcpy(tail_.data(), SourceRow(tail_begin_), static_cast<size_t>(tail_rows * length));
  }

  int64_t num_bands() const { return (target_.height() + band_rows_ - 1) / band_rows_; }

  // What a thread holds.
  struct Scratch {
    std::vector<uint8_t> rows;
    std::vector<const uint8_t*> pointers;
  };
  Scratch MakeScratch() const {
    Scratch scratch;
    if (horizontal_) scratch.rows.resize(static_cast<size_t>(MaxBandInputs() * row_stride_));
    scratch.pointers.resize(static_cast<size_t>(MaxBandInputs()));
    return scratch;
  }

  void Band(int64_t band, Scratch& scratch) const {
    const int64_t begin = band * band_rows_, end = std::min(begin + band_rows_, target_.height());
    const int64_t first = FirstInput(begin), num_inputs = EndInput(end - 1) - first;
    Widen(first, num_inputs, scratch);
    for (int64_t y = begin; y < end; ++y) Row(y, scratch.pointers.data() + FirstInput(y) - first);
  }

 private:
  int64_t FirstInput(int64_t y) const { return vertical_ ? vertical_->start(y) : y; }
  int64_t EndInput(int64_t y) const {
    return vertical_ ? vertical_->start(y) + vertical_->count(y) : y + 1;
  }
  int64_t MaxCount() const { return vertical_ ? vertical_->max_count() : 1; }

  // Input rows that a number of output rows spans, at most.
  int64_t InputsOf(int64_t rows) const {
    const int64_t moved =
        vertical_ ? (rows * source_.height + target_.height() - 1) / target_.height() + 1 : rows;
    return std::min(moved + MaxCount(), source_.height);
  }
  int64_t MaxBandInputs() const { return InputsOf(band_rows_); }

  int64_t ChooseBandRows() const {
    const int64_t inputs = std::max(kBandBytes / row_stride_, kMinRowsPerShared * MaxCount());
    const int64_t moved = std::max<int64_t>(inputs - MaxCount() - 1, 1);
    return std::max<int64_t>(moved * target_.height() / source_.height, 1);
  }

  // Sets the pointers to the rows of inputs [first, first + count), at the target's width.
  void Widen(int64_t first, int64_t count, Scratch& scratch) const {
    if (!horizontal_) {
      for (int64_t i = 0; i < count; ++i)
        scratch.pointers[static_cast<size_t>(i)] = SourceRow(first + i);
      return;
    }
    for (int64_t begin = 0; begin < count; begin += kRowsAtOnce) {
      const uint8_t* sources[kRowsAtOnce];
      uint8_t* targets[kRowsAtOnce];
      for (int64_t i = 0; i < kRowsAtOnce; ++i) {
        // The last row stands for those that are missing.
        const int64_t row = std::min(begin + i, count - 1);
        sources[i] = PaddedRow(first + row);
        targets[i] = scratch.rows.data() + row * row_stride_;
        scratch.pointers[static_cast<size_t>(row)] = targets[i];
      }
      kernels_.horizontal(sources, *horizontal_, targets);
    }
  }

  const uint8_t* SourceRow(int64_t y) const { return source_.data + y * source_.width * 3; }

  // A source row behind which kRowPadding bytes may be read.
  const uint8_t* PaddedRow(int64_t y) const {
    return y < tail_begin_ ? SourceRow(y) : tail_.data() + (y - tail_begin_) * source_.width * 3;
  }

  // Output row y from the rows of its window, into every tile that it crosses.
  void Row(int64_t y, const uint8_t* const* rows) const {
    const int64_t segment = target_.tile_width * 3;
    const int64_t tile_bytes = segment * target_.tile_height;
    uint8_t* into = target_.data + (y / target_.tile_height) * target_.columns * tile_bytes +
                    (y % target_.tile_height) * segment;
    for (int64_t column = 0; column < target_.columns; ++column, into += tile_bytes) {
      const int64_t offset = column * segment;
      if (vertical_) {
        kernels_.vertical(rows, *vertical_, y, offset, segment, into);
      } else {
        std::memcpy(into, rows[0] + offset, static_cast<size_t>(segment));
      }
    }
  }

  RgbView source_;
  TileGrid target_;
  const RowKernels& kernels_;
  std::optional<ResampleWindows> horizontal_, vertical_;
  int64_t row_stride_;
  int64_t band_rows_;
  // The last rows once more, with kRowPadding bytes behind them.
  int64_t tail_begin_;
  std::vector<uint8_t> tail_;
};

void MovePixel(const uint8_t* source, uint8_t* target) { std::memcpy(target, source, 3); }

}  // namespace

void ResizeIntoTiles(const RgbView& source, const TileGrid& target, int num_threads,
                     const RowKernels& kernels) {
  const Resize resize(source, target, kernels);
  const int workers = NumWorkers(resize.num_bands(), num_threads);
  std::vector<Resize::Scratch> scratch;
  for (int i = 0; i < workers; ++i) scratch.push_back(resize.MakeScratch());
  ShareWork(resize.num_bands(), workers, [&](int64_t band, int worker) {
    resize.Band(band, scratch[static_cast<size_t>(worker)]);
  });
}

// In squares, so that what is read by columns stays in the cache.
void TurnUpright(const RgbView& source, int orientation, int num_threads, uint8_t* target) {
  constexpr int64_t kSide = 128;
  const int64_t width = source.width, height = source.height;
  const bool is_exchanged = orientation >= 5;
  const bool mirrors_x =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool mirrors_y =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const int64_t turned_width = is_exchanged ? height : width;
  const int64_t turned_height = is_exchanged ? width : height;
  // Where a step to the right, and one down, leads in the stored picture.
  const int64_t step_x = (mirrors_x ? -1 : 1) * 3, step_y = (mirrors_y ? -1 : 1) * width * 3;
  const int64_t step_right = is_exchanged ? step_y : step_x;
  const int64_t step_down = is_exchanged ? step_x : step_y;
  const uint8_t* origin =
      source.data + ((mirrors_y ? height - 1 : 0) * width + (mirrors_x ? width - 1 : 0)) * 3;
  const int64_t num_bands = (turned_height + kSide - 1) / kSide;
  ShareWork(num_bands, NumWorkers(num_bands, num_threads), [&](int64_t band, int) {
    const int64_t top = band * kSide, bottom = std::min(top + kSide, turned_height);
    for (int64_t left = 0; left < turned_width; left += kSide) {
      const int64_t right = std::min(left + kSide, turned_width);
      for (int64_t y = top; y < bottom; ++y) {
        const uint8_t* from = origin + y * step_down + left * step_right;
        uint8_t* into = target + (y * turned_width + left) * 3;
        for (int64_t x = left; x < right; ++x, from += step_right, into += 3) MovePixel(from, into);
      }
    }
  });
}

}  // namespace skein::picture
