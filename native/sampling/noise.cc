// The noise's loops over the arithmetic of core/portable_math.h.
#include "sampling/noise.h"

#include "core/portable_math.h"
#include "core/vector_clones.h"

namespace skein {
namespace {

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

double GumbelOfWord(uint32_t word) { return GumbelOf(word); }

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
