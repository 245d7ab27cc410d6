// Where a sampler's logits lie, and what it asks about them: each row is adjusted and judged in
// place, the ranks' findings are gathered, and only where these do not decide a row is it looked at
// once more. What is found is defined by sequence_state.h and logit_kernels.h to the last bit.
#pragma once

#include <cstddef>
#include <span>

#include "collective/communicator.h"
#include "core/tensor.h"
#include "sampling/filter.h"
#include "sampling/logit_kernels.h"
#include "sampling/sequence_state.h"

namespace skein {

// Which token of a row is wanted by itself: none (a filter decides among the candidates), the
// highest logit's, or the highest's under noise.
enum class BestKind : uint8_t { kNone, kHighest, kNoisy };

// What is asked about one row; the same on every rank but for `state` and `mask`.
struct RowRequest {
  const SequenceState* state = nullptr;
  // Tokens of the rank that may be chosen, as Sampler::MaskNextToken has them; empty: all.
  std::span<const uint32_t> mask;
  int32_t slot = 0;
  BestKind best = BestKind::kNone;
  bool needs_model_mass = false;
  bool needs_scaled_mass = false;
  float inverse_temperature = 1;
  int64_t num_candidates = 0;    // per rank; a rank with fewer tokens sends them all
  size_t candidates_offset = 0;  // in a rank's block
};

// What one rank found in a step is a block of bytes: RankHeader, a RowFinding for each row, then
// the rows' candidates in order, room for num_candidates each.
struct RankHeader {
  int64_t vocab_start = 0;
  int64_t valid_rows = 0;
};

struct RowFinding {
  // As RowRequest::best asks.
  NoisyToken best;
  float max_logit = kBannedLogit;
  int32_t padding = 0;
  // Of this rank's tokens, relative to the highest logit of all ranks.
  Mass model_mass = 0;   // at temperature 1
  Mass scaled_mass = 0;  // at the row's temperature
};

constexpr size_t FindingOffset(size_t row) { return sizeof(RankHeader) + row * sizeof(RowFinding); }

// A row whose candidates do not hold what its filter keeps; the same on every rank.
struct WideRow {
  int64_t row = 0;
  TokenFilter filter;
  NoiseKey noise;
};

class LogitsSource {
 public:
  virtual ~LogitsSource() = default;

  // A step that is started instead of waited for, where the source chooses tokens itself.
  struct Found {
    const std::byte* blocks = nullptr;  // as Examine returns them
    // What rank r chose for the k-th wide row is kept[r * wide rows + k].
    const NoisyToken* kept = nullptr;
    // The tokens that the source itself chose, one a row.
    const int32_t* tokens = nullptr;
  };
  virtual bool chooses() const { return false; }
  // What will be asked, before the logits are there; `wide` are rows of which only their filters
  // and noise are known. Then, when the logits are placed to be computed, Start. Collective. Steps
  // are awaited in the order in which they were started, at most one behind another.
  virtual void Prepare(std::span<const RowRequest> /*requests*/, size_t /*block_bytes*/,
                       std::span<const WideRow> /*wide*/, int /*world_size*/) {}
  virtual void Start(const Matrix& /*logits*/, Communicator& /*communicator*/) {}
  // What a device has spent, by its own clock, on the steps whose findings the host was given since
  // this was last asked; 0 where the host computes itself.
  virtual int64_t TakeNanoseconds() { return 0; }
  virtual bool IsFound() const { return true; }
  // Valid until the step behind the next one is prepared.
  virtual Found Await() { return {}; }
  // Forgets steps that were started; all of them have ended.
  virtual void DropStarted() {}

  // Another sequence has begun in this slot; a token was appended to the slot's sequence.
  virtual void BeginSequence(int32_t /*slot*/) {}
  virtual void AppendToken(int32_t /*slot*/, int32_t /*token_id*/) {}

  // Adjusts row i of `logits` by requests[i].state, bans what its mask lacks, in place, and judges
  // it. Collective: returns the blocks of all ranks [world_size, block_bytes], valid until the next
  // call.
  virtual const std::byte* Examine(const Matrix& logits, std::span<const RowRequest> requests,
                                   size_t block_bytes, Communicator& communicator) = 0;

  // Collective: of all ranks' tokens in these rows of the last Examine, as it adjusted them, the
  // highest under noise among those that the filter keeps.
  virtual void ChooseKept(std::span<const WideRow> rows, Communicator& communicator,
                          std::span<NoisyToken> chosen) = 0;
};

}  // namespace skein
