// The passes for processors with AVX2. A pixel times a weight of 23 bits is two products of 16
// bits, high and low part, of which vpmaddwd adds pairs: half the instructions of 32-bit products.
// The sums wrap as int32 does, and the whole fits into one.
#include "picture/row_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>

namespace skein::picture {
namespace {

#pragma GCC push_options
#pragma GCC target("avx2")

inline __m256i Rounded(__m256i sums) {
  return _mm256_srai_epi32(_mm256_add_epi32(sums, _mm256_set1_epi32(kHalf)), kPrecisionBits);
}

inline __m256i Joined(__m256i high, __m256i low) {
  return _mm256_add_epi32(_mm256_slli_epi32(high, kLowBits), low);
}

inline __m256i FourWeights(const int16_t* weights) {
  int64_t four;
  std::memcpy(&four, weights, sizeof(four));
  return _mm256_set1_epi64x(four);
}

inline __m256i TwoWeights(const int16_t* weights) {
  int32_t two;
  std::memcpy(&two, weights, sizeof(two));
  return _mm256_set1_epi32(two);
}

// Four pixels of three bytes as words by channel: red and green in the lower half, blue in the
// upper.
inline __m256i FourPixels(const uint8_t* pixels) {
  const __m256i order =
      _mm256_setr_epi8(0, -1, 3, -1, 6, -1, 9, -1, 1, -1, 4, -1, 7, -1, 10, -1,  //
                       2, -1, 5, -1, 8, -1, 11, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels));
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), order);
}

void Horizontal(const uint8_t* const* sources, const ResampleWindows& windows,
                uint8_t* const* targets) {
  static_assert(kRowsAtOnce == 4);
  const uint8_t* const source[4] = {sources[0], sources[1], sources[2], sources[3]};
  uint8_t* const target[4] = {targets[0], targets[1], targets[2], targets[3]};
  for (int64_t x = 0; x < windows.output_size(); ++x) {
    const int32_t count = windows.count(x);
    const int16_t *high = windows.high(x), *low = windows.low(x);
    int64_t offset = int64_t{windows.start(x)} * 3;
    __m256i high_sums[4] = {}, low_sums[4] = {};
    for (int32_t k = 0; k < count; k += 4, offset += 12) {
      const __m256i high_weights = FourWeights(high + k), low_weights = FourWeights(low + k);
#pragma GCC unroll 4
      for (int row = 0; row < 4; ++row) {
        const __m256i pixels = FourPixels(source[row] + offset);
        high_sums[row] = _mm256_add_epi32(high_sums[row], _mm256_madd_epi16(pixels, high_weights));
        low_sums[row] = _mm256_add_epi32(low_sums[row], _mm256_madd_epi16(pixels, low_weights));
      }
    }
    __m256i sums[4];
#pragma GCC unroll 4
    for (int row = 0; row < 4; ++row) sums[row] = Joined(high_sums[row], low_sums[row]);
    // Halves of two rows: red, green, red, green; blue, 0, blue, 0.
    const __m256i first = Rounded(_mm256_hadd_epi32(sums[0], sums[1]));
    const __m256i second = Rounded(_mm256_hadd_epi32(sums[2], sums[3]));
    const __m256i words = _mm256_packs_epi32(first, second);
    const __m256i bytes = _mm256_packus_epi16(words, words);
    const __m128i pixels =
        _mm_unpacklo_epi16(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
    // A fourth byte, which the next pixel or nobody needs.
    alignas(16) int32_t four[4];
    _mm_store_si128(reinterpret_cast<__m128i*>(four), pixels);
#pragma GCC unroll 4
    for (int row = 0; row < 4; ++row) std::memcpy(target[row] + x * 3, &four[row], 4);
  }
}

inline void Vertical32(const uint8_t* const* rows, const ResampleWindows& windows, int64_t position,
                       int64_t offset, uint8_t* target) {
  const int32_t count = windows.count(position);
  const int16_t *high = windows.high(position), *low = windows.low(position);
  const __m256i zero = _mm256_setzero_si256();
  __m256i high_sums[4] = {}, low_sums[4] = {};
  for (int32_t k = 0; k < count; k += 2) {
    // An odd row's partner has the weight zero.
    const uint8_t *one = rows[k] + offset, *other = rows[k + 1 < count ? k + 1 : k] + offset;
    const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(one));
    const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(other));
    const __m256i lower = _mm256_unpacklo_epi8(a, b), upper = _mm256_unpackhi_epi8(a, b);
    const __m256i pairs[4] = {_mm256_unpacklo_epi8(lower, zero), _mm256_unpackhi_epi8(lower, zero),
                              _mm256_unpacklo_epi8(upper, zero), _mm256_unpackhi_epi8(upper, zero)};
    const __m256i high_weights = TwoWeights(high + k), low_weights = TwoWeights(low + k);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      high_sums[i] = _mm256_add_epi32(high_sums[i], _mm256_madd_epi16(pairs[i], high_weights));
      low_sums[i] = _mm256_add_epi32(low_sums[i], _mm256_madd_epi16(pairs[i], low_weights));
    }
  }
  __m256i sums[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) sums[i] = Rounded(Joined(high_sums[i], low_sums[i]));
  const __m256i bytes = _mm256_packus_epi16(_mm256_packs_epi32(sums[0], sums[1]),
                                            _mm256_packs_epi32(sums[2], sums[3]));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(target), bytes);
}

void Vertical(const uint8_t* const* rows, const ResampleWindows& windows, int64_t position,
              int64_t offset, int64_t num_bytes, uint8_t* target) {
  constexpr int64_t kWidth = 32;
  if (num_bytes < kWidth) {
    PortableRowKernels().vertical(rows, windows, position, offset, num_bytes, target);
    return;
  }
  int64_t i = 0;
  for (; i + kWidth <= num_bytes; i += kWidth)
    Vertical32(rows, windows, position, offset + i, target + i);
  // The last ones end where the row ends; some of them come twice.
  if (i < num_bytes) {
    const int64_t last = num_bytes - kWidth;
    Vertical32(rows, windows, position, offset + last, target + last);
  }
}

#pragma GCC pop_options

}  // namespace

const RowKernels* Avx2RowKernels() {
  static constexpr RowKernels kKernels = {Horizontal, Vertical};
  return __builtin_cpu_supports("avx2") ? &kKernels : nullptr;
}

}  // namespace skein::picture
#else
namespace skein::picture {

const RowKernels* Avx2RowKernels() { return nullptr; }

}  // namespace skein::picture
#endif
