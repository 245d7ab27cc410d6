// Rows of logits adjusted and judged where they lie: penalties, maxima, the best token, masses and
// the best candidates in order; the same bits as sampling/sequence_state.h,
// sampling/logit_kernels.h and sampling/noise.h give.
#pragma once

#include <cstdint>

#include "cuda/stream.h"

namespace skein::cuda {

// Most candidates of a row.
constexpr int kMaxRowCandidates = 1024;
// Most biased tokens of a sequence.
constexpr int kMaxTokenBiases = 1024;

// What a sequence slot remembers of a token, in one word: how often it was generated, and
constexpr uint32_t kInPrompt = 1u << 31;
constexpr uint32_t kIsBiased = 1u << 30;
constexpr uint32_t kIsStopToken = 1u << 29;
constexpr uint32_t kGeneratedMask = kIsStopToken - 1;

struct WordUpdate {
  int64_t position;  // in the words of all slots
  uint32_t word;
  uint32_t padding;
};

// A slot's biases lie in order of their index; of equal indices in the order they are added.
struct TokenBias {
  int32_t index;
  float value;
};

// SamplingRow::counted_token: all are counted; the one that lies in SamplingStep::last_tokens.
constexpr int32_t kNoneToCount = -2;
constexpr int32_t kCountLastToken = -1;

enum BestChoice : int32_t { kNoBest = 0, kHighestLogit = 1, kHighestNoisy = 2 };

// What is asked about a row.
struct SamplingRow {
  uint64_t seed;
  uint64_t position;
  int64_t row;                // of the logits
  int64_t candidates_offset;  // bytes, in the rank's block
  uint32_t choice_index;
  float inverse_temperature;
  float repetition_penalty;
  float presence_penalty;
  float frequency_penalty;
  int32_t slot;
  int32_t num_biases;
  // Which of the step's masks it has; -1: none.
  int32_t mask;
  // The token that the slot was given last, where its word does not count it yet; or one of the two
  // below.
  int32_t counted_token;
  // Its place among the rows that a cut decides (sampling_choice.h); -1: none.
  int32_t cut;
  BestChoice best;
  int32_t num_candidates;
  bool adjusts;
  bool bans_stop_tokens;
  bool needs_model_mass;
  bool needs_scaled_mass;
};

// The rank's block, as sampling/logits_source.h lays it out.
struct BlockHeader {
  int64_t vocab_start;
  int64_t valid_rows;
};
struct BestToken {
  double value;
  float logit;
  int32_t id;  // INT32_MAX: none
};
struct Finding {
  BestToken best;
  float max_logit;
  int32_t padding;
  unsigned long long model_mass;
  unsigned long long scaled_mass;
};
struct TokenLogit {
  float logit;
  int32_t id;
};

// What sampling takes on the device. Null pointers: nobody asks.
struct SamplingClock {
  uint64_t* began_ns;  // by the device's clock, from ExamineRows on
  // In the host's pinned memory: nanoseconds from then until the rows are finished, and until
  // tokens are chosen where the device does that (sampling_choice.h).
  uint64_t* host_ns;
};

// A step's memory on the device. Sizes by `count`, the row's logits on this rank, and first_id, the
// token of the first; both must be the same in all calls of a step.
struct SamplingStep {
  float* logits;
  int64_t stride;
  int32_t count;
  int32_t first_id;
  int32_t num_rows;
  const SamplingRow* rows;     // [num_rows]
  uint32_t* words;             // [slots, count]
  const TokenBias* biases;     // [slots, kMaxTokenBiases]
  const int32_t* last_tokens;  // [slots]
  // Bit i % 32 of word i / 32: whether token i of the rank may be chosen.
  const uint32_t* masks;  // [masks of the step, (count + 31) / 32]
  // The rank's highest logit of each row as an ordered integer; 0 before ExamineRows.
  uint32_t* max_keys;   // [num_rows]
  BestToken* parts;     // [num_rows, NumChunks]
  uint32_t* tile_keys;  // [num_rows, NumTiles]
  char* block;          // BlockHeader, Finding [num_rows], candidates; findings hold no mass yet
  bool needs_masses;    // of any row
  // The max_keys of all ranks, for FinishRows.
  const uint32_t* rank_max_keys;  // [world_size, num_rows]
  int32_t world_size;
  SamplingClock clock;
};

// Parts and tiles of 32 tokens that a row is cut in.
int NumChunks(int64_t count, int64_t first_id);
int NumTiles(int64_t count, int64_t first_id);

void UpdateWords(const WordUpdate* updates, int64_t count, uint32_t* words, Stream& stream);
// Adjusts, clamps and masks the rows in place; fills max_keys, parts and tile_keys.
void ExamineRows(const SamplingStep& step, Stream& stream);
// After it, and after the maxima of all ranks are known: fills the findings and the candidates.
void FinishRows(const SamplingStep& step, Stream& stream);

}  // namespace skein::cuda
