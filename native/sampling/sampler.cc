// What is asked about each row, and what the ranks' findings decide. Looking at logits and
// exchanging findings is the logits source's, also where the candidates do not hold what a row's
// filter keeps.
#include "sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <limits>
#include <vector>

#include "core/error.h"
#include "sampling/filter.h"
#include "sampling/logit_kernels.h"
#include "sampling/sequence_state.h"

namespace skein {
namespace {

// Candidates per rank where top-p or min-p decides how many tokens stay.
constexpr int64_t kNucleusCandidates = 256;
// A sequence of which so many rows in a row were wide is looked at as wide at once, without
// candidates that would not hold what the filter keeps; but each so many tokens they are tried.
constexpr int32_t kWideRows = 2, kTryEvery = 8;
// Blocks are gathered in words of this many bytes.
constexpr size_t kBlockAlignment = 16;

// One row of the step; the same on every rank.
struct Row {
  SequenceState* state = nullptr;
  NoiseKey noise;
  TokenFilter filter;
  bool is_filtered = false;
  // Its candidates do not hold what the filter keeps.
  bool is_wide = false;
  // After the exchange:
  NoisyToken chosen;
  float max_logit = kBannedLogit;
  Mass model_mass = 0;
  std::vector<Candidate> candidates;  // of all ranks, in order
  // Leading candidates before which no token of any rank is missing.
  int64_t num_covered = 0;
  bool is_complete = false;
};

// Rows of a step, and what is asked of them.
struct StepRows {
  std::vector<Row> rows;
  std::vector<RowRequest> requests;
  size_t block_bytes = 0;
};

class CollectiveSampler final : public Sampler {
 public:
  CollectiveSampler(const SamplerShape& shape, std::unique_ptr<LogitsSource> source);
  void BeginSequence(int32_t slot, const SamplingParams& params, std::span<const int32_t> token_ids,
                     int64_t num_prompt_tokens) override;
  void EndSequence(int32_t slot) override {
    StateOf(slot).End();
    masks_[static_cast<size_t>(slot)].clear();
  }
  void MaskNextToken(int32_t slot, std::span<const uint32_t> mask) override;
  void Sample(const Matrix& logits, std::span<const int32_t> slots, Communicator& communicator,
              std::vector<SampledToken>* out) override;
  bool CanSampleAhead(std::span<const int32_t> slots) const override;
  void PrepareAhead(std::span<const int32_t> slots, int world_size) override;
  void SampleAhead(const Matrix& logits, Communicator& communicator) override {
    source_->Start(logits, communicator);
  }
  bool IsSampled() const override { return source_->IsFound(); }
  void Collect(std::vector<SampledToken>* out) override;
  int64_t TakeDeviceNanoseconds() override { return source_->TakeNanoseconds(); }
  void DropAhead() override {
    source_->DropStarted();
    started_.clear();
  }

 private:
  SequenceState& StateOf(int32_t slot);
  void PlanRows(std::span<const int32_t> slots, bool is_ahead, StepRows* step);
  void PlanRow(Row& row, RowRequest& request, bool is_ahead) const;
  bool IsThoughtWide(int32_t slot) const;
  void Merge(const std::byte* blocks, size_t world_size, StepRows& step);
  void MergeRow(Row& row, const RowRequest& request, size_t index, const std::byte* blocks,
                size_t block_bytes) const;
  void FilterRow(Row& row) const;
  void FilterWideRows(Communicator& communicator);
  void Report(const Row& row, int32_t slot, SampledToken* token) const;

  SamplerShape shape_;
  const std::unique_ptr<LogitsSource> source_;
  std::vector<SequenceState> states_;
  // By slot, of its next token; empty: none.
  std::vector<std::vector<uint32_t>> masks_;
  // By slot: its last rows that were wide, one after the other. The same on every rank.
  std::vector<int32_t> wide_runs_;
  StepRows step_;
  std::vector<RankHeader> ranks_;
  std::vector<WideRow> wide_rows_;
  // Not collected yet, and how many ranks they have.
  std::deque<StepRows> started_;
  size_t started_ranks_ = 1;
};

CollectiveSampler::CollectiveSampler(const SamplerShape& shape,
                                     std::unique_ptr<LogitsSource> source)
    : shape_(shape),
      source_(std::move(source)),
      states_(static_cast<size_t>(shape.max_sequences)),
      masks_(states_.size()),
      wide_runs_(states_.size()) {
  SKEIN_CHECK(shape.vocab_size > 0 && shape.vocab_size <= kMaxVocabSize, "vocab_size %lld",
              static_cast<long long>(shape.vocab_size));
  SKEIN_CHECK(shape.vocab_start >= 0 && shape.vocab_valid_rows >= 0 &&
                  shape.vocab_start + shape.vocab_valid_rows <= shape.vocab_size,
              "vocabulary rows %lld + %lld", static_cast<long long>(shape.vocab_start),
              static_cast<long long>(shape.vocab_valid_rows));
}

SequenceState& CollectiveSampler::StateOf(int32_t slot) {
  SKEIN_CHECK(slot >= 0 && slot < shape_.max_sequences, "slot %d of %lld", slot,
              static_cast<long long>(shape_.max_sequences));
  return states_[static_cast<size_t>(slot)];
}

void CollectiveSampler::BeginSequence(int32_t slot, const SamplingParams& params,
                                      std::span<const int32_t> token_ids,
                                      int64_t num_prompt_tokens) {
  ValidateSamplingParams(params, shape_);
  SKEIN_CHECK(num_prompt_tokens >= 0 && num_prompt_tokens <= static_cast<int64_t>(token_ids.size()),
              "%lld prompt tokens of %zu", static_cast<long long>(num_prompt_tokens),
              token_ids.size());
  StateOf(slot).Begin(params, token_ids, num_prompt_tokens, shape_);
  wide_runs_[static_cast<size_t>(slot)] = 0;
  masks_[static_cast<size_t>(slot)].clear();
  source_->BeginSequence(slot);
}

void CollectiveSampler::MaskNextToken(int32_t slot, std::span<const uint32_t> mask) {
  SKEIN_CHECK(StateOf(slot).is_active(), "slot %d holds no sequence", slot);
  SKEIN_CHECK(static_cast<int64_t>(mask.size()) == MaskWords(shape_.vocab_valid_rows),
              "a mask of %zu words for %lld tokens", mask.size(),
              static_cast<long long>(shape_.vocab_valid_rows));
  masks_[static_cast<size_t>(slot)].assign(mask.begin(), mask.end());
}

bool CollectiveSampler::IsThoughtWide(int32_t slot) const {
  const int32_t run = wide_runs_[static_cast<size_t>(slot)];
  return run >= kWideRows && run % kTryEvery != 0;
}

// Of a row that is started the device decides without the host: so all that is filtered is cut,
// whatever its candidates would hold.
void CollectiveSampler::PlanRow(Row& row, RowRequest& request, bool is_ahead) const {
  const SamplingParams& params = row.state->params();
  request.needs_model_mass = row.state->wants_logprobs();
  request.num_candidates = params.num_top_logprobs;
  request.best = BestKind::kHighest;
  if (row.state->is_greedy()) return;
  request.inverse_temperature = 1.0f / params.temperature;
  request.best = BestKind::kNoisy;
  TokenFilter& filter = row.filter;
  filter.top_k = params.top_k < shape_.vocab_size ? params.top_k : 0;
  filter.top_p = params.top_p;
  filter.min_p = params.min_p;
  filter.inverse_temperature = request.inverse_temperature;
  row.is_filtered = filter.top_k > 0 || filter.top_p < 1 || filter.min_p > 0;
  if (!row.is_filtered) return;
  request.best = BestKind::kNone;
  request.needs_scaled_mass = filter.top_k == 0 && filter.top_p < 1;
  row.is_wide = is_ahead || filter.top_k > kMaxTopKCandidates || IsThoughtWide(request.slot);
  if (row.is_wide) return;
  request.num_candidates =
      std::max(request.num_candidates, filter.top_k > 0 ? filter.top_k : kNucleusCandidates);
}

void CollectiveSampler::PlanRows(std::span<const int32_t> slots, bool is_ahead, StepRows* step) {
  SKEIN_CHECK(slots.size() <= states_.size(), "%zu slots", slots.size());
  std::vector<Row>& rows = step->rows;
  std::vector<RowRequest>& requests = step->requests;
  rows.assign(slots.size(), Row());
  requests.assign(slots.size(), RowRequest());
  size_t offset = FindingOffset(slots.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].state = &StateOf(slots[i]);
    SKEIN_CHECK(rows[i].state->is_active(), "slot %d holds no sequence", slots[i]);
    rows[i].noise = rows[i].state->noise_key();
    requests[i].state = rows[i].state;
    requests[i].slot = slots[i];
    requests[i].mask = masks_[static_cast<size_t>(slots[i])];
    PlanRow(rows[i], requests[i], is_ahead);
    requests[i].candidates_offset = offset;
    offset += static_cast<size_t>(requests[i].num_candidates) * sizeof(Candidate);
  }
  step->block_bytes = (offset + kBlockAlignment - 1) / kBlockAlignment * kBlockAlignment;
}

void CollectiveSampler::Merge(const std::byte* blocks, size_t world_size, StepRows& step) {
  ranks_.resize(world_size);
  for (size_t r = 0; r < world_size; ++r) {
    std::memcpy(&ranks_[r], blocks + r * step.block_bytes, sizeof(RankHeader));
    SKEIN_CHECK(ranks_[r].vocab_start >= 0 && ranks_[r].valid_rows >= 0 &&
                    ranks_[r].valid_rows <= shape_.vocab_size - ranks_[r].vocab_start,
                "rank %zu answers for tokens %lld + %lld", r,
                static_cast<long long>(ranks_[r].vocab_start),
                static_cast<long long>(ranks_[r].valid_rows));
  }
  for (size_t i = 0; i < step.rows.size(); ++i) {
    MergeRow(step.rows[i], step.requests[i], i, blocks, step.block_bytes);
  }
}

void CollectiveSampler::MergeRow(Row& row, const RowRequest& request, size_t index,
                                 const std::byte* blocks, size_t block_bytes) const {
  // The worst candidate of each rank that holds more tokens than it sent; the best of them bounds
  // what is known.
  std::optional<Candidate> bound;
  for (size_t r = 0; r < ranks_.size(); ++r) {
    const std::byte* block = blocks + r * block_bytes;
    RowFinding finding;
    std::memcpy(&finding, block + FindingOffset(index), sizeof(finding));
    if (ranks_[r].valid_rows == 0) continue;
    row.max_logit = std::max(row.max_logit, finding.max_logit);
    row.model_mass += finding.model_mass;
    row.filter.total_mass += finding.scaled_mass;
    TakeHigher(row.chosen, finding.best);
    const int64_t sent = std::min(request.num_candidates, ranks_[r].valid_rows);
    if (sent == 0) continue;
    const size_t old_size = row.candidates.size();
    row.candidates.resize(old_size + static_cast<size_t>(sent));
    std::memcpy(row.candidates.data() + old_size, block + request.candidates_offset,
                static_cast<size_t>(sent) * sizeof(Candidate));
    const Candidate last = row.candidates.back();
    if (sent < ranks_[r].valid_rows && (!bound || Precedes(last, *bound))) bound = last;
    // Each rank's come in order.
    std::inplace_merge(row.candidates.begin(),
                       row.candidates.begin() + static_cast<std::ptrdiff_t>(old_size),
                       row.candidates.end(), Precedes);
  }
  row.is_complete = !bound;
  row.num_covered = static_cast<int64_t>(row.candidates.size());
  if (bound) {
    row.num_covered =
        std::upper_bound(row.candidates.begin(), row.candidates.end(), *bound, Precedes) -
        row.candidates.begin();
  }
  row.filter.max_logit = row.max_logit;
}

void CollectiveSampler::FilterRow(Row& row) const {
  if (!row.is_filtered || row.is_wide) return;
  const std::span<const Candidate> covered(row.candidates.data(),
                                           static_cast<size_t>(row.num_covered));
  const auto kept = CountKept(covered, row.is_complete, row.filter);
  if (!kept) {
    row.is_wide = true;
    return;
  }
  row.chosen = HighestNoisy(covered.first(static_cast<size_t>(*kept)), row.noise,
                            row.filter.inverse_temperature);
}

void CollectiveSampler::FilterWideRows(Communicator& communicator) {
  std::vector<Row>& rows = step_.rows;
  std::vector<size_t> indices;
  wide_rows_.clear();
  int64_t num_tokens = 0;
  for (const RankHeader& rank : ranks_) num_tokens += rank.valid_rows;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i].is_wide) continue;
    indices.push_back(i);
    wide_rows_.push_back({static_cast<int64_t>(i), rows[i].filter, rows[i].noise});
    int64_t& top_k = wide_rows_.back().filter.top_k;
    top_k = std::min(top_k, num_tokens);
  }
  if (indices.empty()) return;
  std::vector<NoisyToken> chosen(indices.size());
  source_->ChooseKept(wide_rows_, communicator, chosen);
  for (size_t i = 0; i < indices.size(); ++i) rows[indices[i]].chosen = chosen[i];
}

void CollectiveSampler::Report(const Row& row, int32_t slot, SampledToken* token) const {
  token->slot = slot;
  token->token_id = row.chosen.id;
  token->logprob = std::numeric_limits<float>::quiet_NaN();
  token->top_ids.clear();
  token->top_logprobs.clear();
  if (!row.state->wants_logprobs()) return;
  const double log_mass = std::log(static_cast<double>(row.model_mass) * kMassUnit);
  const auto logprob = [&](float logit) {
    return static_cast<float>(static_cast<double>(logit) - row.max_logit - log_mass);
  };
  token->logprob = logprob(row.chosen.logit);
  const auto top = std::min<size_t>(row.candidates.size(),
                                    static_cast<size_t>(row.state->params().num_top_logprobs));
  for (size_t i = 0; i < top; ++i) {
    // Banned tokens have no logarithm to report.
    if (row.candidates[i].logit == kBannedLogit) break;
    token->top_ids.push_back(row.candidates[i].id);
    token->top_logprobs.push_back(logprob(row.candidates[i].logit));
  }
}

void CollectiveSampler::Sample(const Matrix& logits, std::span<const int32_t> slots,
                               Communicator& communicator, std::vector<SampledToken>* out) {
  out->resize(slots.size());
  if (slots.empty()) return;
  SKEIN_CHECK(logits.type == DType::kFloat32 && logits.cols >= shape_.vocab_valid_rows &&
                  logits.rows >= static_cast<int64_t>(slots.size()) && started_.empty(),
              "logits [%lld, %lld] of %zu slots", static_cast<long long>(logits.rows),
              static_cast<long long>(logits.cols), slots.size());
  PlanRows(slots, false, &step_);
  Merge(source_->Examine(logits, step_.requests, step_.block_bytes, communicator),
        static_cast<size_t>(communicator.world_size()), step_);
  for (Row& row : step_.rows) FilterRow(row);
  FilterWideRows(communicator);
  for (size_t i = 0; i < step_.rows.size(); ++i) {
    const Row& row = step_.rows[i];
    SKEIN_CHECK(row.chosen.id >= 0 && row.chosen.id < shape_.vocab_size, "no token to choose");
    Report(row, slots[i], &(*out)[i]);
    row.state->Append(row.chosen.id);
    masks_[static_cast<size_t>(slots[i])].clear();
    int32_t& wide_run = wide_runs_[static_cast<size_t>(slots[i])];
    wide_run = row.is_wide ? wide_run + 1 : 0;
    source_->AppendToken(slots[i], row.chosen.id);
  }
}

// A cut by number takes as many passes again as one by mass, where candidates nearly always decide.
bool CollectiveSampler::CanSampleAhead(std::span<const int32_t> slots) const {
  return source_->chooses() && std::all_of(slots.begin(), slots.end(), [&](int32_t slot) {
           if (slot < 0 || slot >= shape_.max_sequences) return false;
           const SequenceState& state = states_[static_cast<size_t>(slot)];
           if (!state.is_active() || !masks_[static_cast<size_t>(slot)].empty()) return false;
           const int32_t top_k = state.params().top_k;
           return state.is_greedy() || top_k == 0 || top_k >= shape_.vocab_size;
         });
}

void CollectiveSampler::PrepareAhead(std::span<const int32_t> slots, int world_size) {
  StepRows& step = started_.emplace_back();
  started_ranks_ = static_cast<size_t>(world_size);
  PlanRows(slots, true, &step);
  wide_rows_.clear();
  for (size_t i = 0; i < step.rows.size(); ++i) {
    const Row& row = step.rows[i];
    if (row.is_wide) wide_rows_.push_back({static_cast<int64_t>(i), row.filter, row.noise});
  }
  source_->Prepare(step.requests, step.block_bytes, wide_rows_, world_size);
  // Where the sequences are then does not depend on what is sampled.
  for (Row& row : step.rows) row.state->Advance();
}

void CollectiveSampler::Collect(std::vector<SampledToken>* out) {
  SKEIN_CHECK(!started_.empty(), "no step was started");
  const LogitsSource::Found found = source_->Await();
  StepRows& step = started_.front();
  Merge(found.blocks, started_ranks_, step);
  const auto num_wide = static_cast<size_t>(std::count_if(
      step.rows.begin(), step.rows.end(), [](const Row& row) { return row.is_wide; }));
  out->resize(step.rows.size());
  size_t wide = 0;
  for (size_t i = 0; i < step.rows.size(); ++i) {
    Row& row = step.rows[i];
    for (size_t r = 0; row.is_wide && r < started_ranks_; ++r) {
      TakeHigher(row.chosen, found.kept[r * num_wide + wide]);
    }
    wide += row.is_wide ? 1 : 0;
    SKEIN_CHECK(row.chosen.id >= 0 && row.chosen.id < shape_.vocab_size, "no token to choose");
    SKEIN_CHECK(row.chosen.id == found.tokens[i],
                "slot %d: token %d, but the device went on with %d", step.requests[i].slot,
                row.chosen.id, found.tokens[i]);
    Report(row, step.requests[i].slot, &(*out)[i]);
    row.state->CountGenerated(row.chosen.id);
  }
  started_.pop_front();
}

}  // namespace

std::unique_ptr<Sampler> MakeSamplerOver(const SamplerShape& shape,
                                         std::unique_ptr<LogitsSource> source) {
  return std::make_unique<CollectiveSampler>(shape, std::move(source));
}

}  // namespace skein
