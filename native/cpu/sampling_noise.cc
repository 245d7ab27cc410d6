// Philox and the logarithm, written so that the compiler's vector loops and the scalar path share
// one definition.
#include "cpu/sampling_noise.h"

#include <bit>

#include "core/vector_clones.h"
#define SKEIN_INLINE inline __attribute__((always_inline))

namespace skein {
namespace {

// One round of the generator on the counter (c0, c1, c2, c3).
SKEIN_INLINE void PhiloxRound(uint32_t k0, uint32_t k1, uint32_t& c0, uint32_t& c1, uint32_t& c2,
                              uint32_t& c3) {
  const uint64_t a = uint64_t{0xD2511F53u} * c0;
  const uint64_t b = uint64_t{0xCD9E8D57u} * c2;
  c0 = static_cast<uint32_t>(b >> 32) ^ c1 ^ k0;
  c2 = static_cast<uint32_t>(a >> 32) ^ c3 ^ k1;
  c1 = static_cast<uint32_t>(b);
  c3 = static_cast<uint32_t>(a);
}

SKEIN_INLINE void PhiloxRounds(uint64_t seed, uint32_t& c0, uint32_t& c1, uint32_t& c2,
                               uint32_t& c3) {
  uint32_t k0 = static_cast<uint32_t>(seed);
  uint32_t k1 = static_cast<uint32_t>(seed >> 32);
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    PhiloxRound(k0, k1, c0, c1, c2, c3);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

// An integer below 2^52, exactly, without an instruction that only some machines have.
double ToDouble(uint64_t value) {
  return std::bit_cast<double>(uint64_t{0x4330000000000000} | value) - 0x1p52;
}

// Natural logarithm of a positive normal number, to about 1e-15 relative: x = 2^e * m with m in
// [sqrt(1/2), sqrt(2)), ln m by the series in s = (m - 1) / (m + 1) with the coefficients of
// fdlibm's e_log.c.
double NaturalLog(double x) {
  const uint64_t bits = std::bit_cast<uint64_t>(x);
  const uint64_t sqrt_half = 0x3FE6A09E667F3BCD;
  const uint64_t biased = (bits - sqrt_half + (uint64_t{1024} << 52)) >> 52;  // e + 1024
  const double e = ToDouble(biased) - 1024.0;
  const double f = std::bit_cast<double>(bits - ((biased - 1024) << 52)) - 1.0;
  const double s = f / (2.0 + f);
  const double z = s * s;
  double r = 1.479819860511658591e-01;
  r = r * z + 1.531383769920937332e-01;
  r = r * z + 1.818357216161805012e-01;
  r = r * z + 2.222219843214978396e-01;
  r = r * z + 2.857142874366239149e-01;
  r = r * z + 3.999999999940941908e-01;
  r = r * z + 6.666666666666735130e-01;
  return e * 0.693147180559945309417 + (2.0 * s + s * (z * r));
}

SKEIN_VECTOR_CLONES void RandomWordsFrom(uint64_t seed, uint32_t first_counter,
                                         uint32_t choice_index, uint32_t position_low,
                                         uint32_t position_high, uint32_t* __restrict words) {
#pragma omp simd
  for (uint32_t i = 0; i < kNoiseBlock / 4; ++i) {
    uint32_t c0 = first_counter + i;
    uint32_t c1 = choice_index;
    uint32_t c2 = position_low;
    uint32_t c3 = position_high;
    PhiloxRounds(seed, c0, c1, c2, c3);
    words[4 * i] = c0;
    words[4 * i + 1] = c1;
    words[4 * i + 2] = c2;
    words[4 * i + 3] = c3;
  }
}

SKEIN_VECTOR_CLONES void RandomWordsOfTokens(uint64_t seed, const uint32_t* __restrict tokens,
                                             int64_t count, uint32_t choice_index,
                                             uint32_t position_low, uint32_t position_high,
                                             uint32_t* __restrict words) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    uint32_t c0 = tokens[i] / 4;
    uint32_t c1 = choice_index;
    uint32_t c2 = position_low;
    uint32_t c3 = position_high;
    PhiloxRounds(seed, c0, c1, c2, c3);
    const uint32_t low = (tokens[i] & 1) == 0 ? c0 : c1;
    const uint32_t high = (tokens[i] & 1) == 0 ? c2 : c3;
    words[i] = (tokens[i] & 2) == 0 ? low : high;
  }
}

}  // namespace

void Philox4x32(uint64_t seed, uint32_t counter[4]) {
  PhiloxRounds(seed, counter[0], counter[1], counter[2], counter[3]);
}

void RandomWordBlock(const NoiseKey& key, int64_t first_token, uint32_t* words) {
  RandomWordsFrom(key.seed, static_cast<uint32_t>(first_token / 4), key.choice_index,
                  static_cast<uint32_t>(key.position), static_cast<uint32_t>(key.position >> 32),
                  words);
}

double GumbelOfWord(uint32_t word) {
  const double u = (ToDouble(word) + 0.5) * 0x1p-32;
  return -NaturalLog(-NaturalLog(u));
}

void RandomWords(const NoiseKey& key, std::span<const uint32_t> tokens, uint32_t* words) {
  RandomWordsOfTokens(key.seed, tokens.data(), static_cast<int64_t>(tokens.size()),
                      key.choice_index, static_cast<uint32_t>(key.position),
                      static_cast<uint32_t>(key.position >> 32), words);
}

double GumbelNoise(const NoiseKey& key, int64_t token) {
  uint32_t counter[4] = {static_cast<uint32_t>(token / 4), key.choice_index,
                         static_cast<uint32_t>(key.position),
                         static_cast<uint32_t>(key.position >> 32)};
  Philox4x32(key.seed, counter);
  return GumbelOfWord(counter[token % 4]);
}

}  // namespace skein
