// The noise of Gumbel-max sampling: a pure function of (seed, choice index, absolute position,
// token id), so that what a request gets depends neither on its batch nor on how the vocabulary is
// cut.
//
// Generator: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
// Key: the seed's low and high word. Counter: (token id / 4, choice index, position's low word,
// position's high word). Word r = token id mod 4 of the result gives u = (r + 1/2) / 2^32, never 0
// or 1, and the noise is -ln(-ln u), between -3.14 and 22.88. All in plain IEEE operations,
// logarithm included: the same bits on every machine and in every vector width.
#pragma once

#include <cstdint>
#include <span>

namespace skein {

struct NoiseKey {
  uint64_t seed = 0;
  uint32_t choice_index = 0;
  // Number of the sequence's tokens before the one that is sampled.
  uint64_t position = 0;
};

// Above every value that the noise can take.
constexpr double kMaxGumbel = 22.9;
// Tokens whose random words are drawn together; a block begins at a multiple of it.
constexpr int64_t kNoiseBlock = 256;

// words [kNoiseBlock]: of the tokens first_token, first_token + 1, ...
void RandomWordBlock(const NoiseKey& key, int64_t first_token, uint32_t* words);
// The noise that a word stands for. Grows with the word (but for rounding: to 1e-12).
double GumbelOfWord(uint32_t word);
// Of any tokens: words [tokens.size()].
void RandomWords(const NoiseKey& key, std::span<const uint32_t> tokens, uint32_t* words);
double GumbelNoise(const NoiseKey& key, int64_t token);

// The generator itself: counter [4] becomes the result.
void Philox4x32(uint64_t seed, uint32_t counter[4]);

}  // namespace skein
