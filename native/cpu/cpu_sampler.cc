// The exchanges of a step. First, always: per row the rank's highest logit, its highest token under
// noise, and candidates where filters or top log-probabilities need them. Second, where
// log-probabilities or top-p need it: masses relative to the highest logit of all. Third, where the
// candidates do not hold a row's nucleus: that row's logits, whole.
#include "cpu/cpu_sampler.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "core/error.h"
#include "cpu/sampling_filter.h"
#include "cpu/sampling_kernels.h"
#include "cpu/sampling_state.h"

namespace skein {
namespace {

// Candidates per rank where top-p or min-p decides how many tokens stay.
constexpr int64_t kNucleusCandidates = 256;
// A larger top-k gathers the row whole.
constexpr int64_t kMaxTopKCandidates = 1024;
// Logits from which on rows are shared among threads: less takes less time than waking them.
constexpr int64_t kParallelLogits = 1 << 17;

// ---- what is exchanged ----

struct RankHeader {
  int64_t vocab_start = 0;
  int64_t valid_rows = 0;
};

struct RowHeader {
  // Greedy: value and logit are the highest logit. Filtered rows leave it empty.
  NoisyToken best;
  float max_logit = kBannedLogit;
  int32_t padding = 0;
};

struct RowMasses {
  Mass model = 0;   // at temperature 1
  Mass scaled = 0;  // at the row's temperature
};

// One row of the step; the same on every rank but for `logits`.
struct Row {
  SequenceState* state = nullptr;
  float* logits = nullptr;  // [valid rows of the rank]; null where `found` says all that is wanted
  BestFinding found;
  float inverse_temperature = 1;
  TokenFilter filter;
  bool is_filtered = false;
  bool needs_model_mass = false;
  bool needs_scaled_mass = false;
  bool gathers_all = false;
  int64_t num_candidates = 0;  // per rank
  size_t offset = 0;           // in a rank's block of the first exchange
  // After the exchanges:
  NoisyToken chosen;
  float max_logit = kBannedLogit;
  RowMasses masses;
  std::vector<Candidate> candidates;  // of all ranks, in order
  // Leading candidates before which no token of any rank is missing.
  int64_t num_covered = 0;
  bool is_complete = false;
};

class CpuSampler final : public Sampler {
 public:
  CpuSampler(const SamplerShape& shape, ThreadPool& pool, LogitsSource* source);
  void BeginSequence(int32_t slot, const SamplingParams& params, std::span<const int32_t> token_ids,
                     int64_t num_prompt_tokens) override;
  void EndSequence(int32_t slot) override { StateOf(slot).End(); }
  void Sample(const Matrix& logits, std::span<const int32_t> slots, Communicator& communicator,
              std::vector<SampledToken>* out) override;

 private:
  SequenceState& StateOf(int32_t slot);
  // body(index) for each of `count` rows.
  template <typename Body>
  void ForEachRow(size_t count, const Body& body) const {
    if (static_cast<int64_t>(count) * shape_.vocab_valid_rows < kParallelLogits) {
      for (size_t i = 0; i < count; ++i) body(i);
      return;
    }
    pool_.ParallelFor(static_cast<int64_t>(count),
                      [&](int64_t i) { body(static_cast<size_t>(i)); });
  }
  void PlanRows(const Matrix& logits, std::span<const int32_t> slots);
  void PlanRow(Row& row) const;
  void ReadLogits(const Matrix& logits);
  void ExamineRow(const Row& row, std::byte* block) const;
  void ExchangeBest(Communicator& communicator);
  void MergeRow(Row& row, size_t block_bytes) const;
  void ExchangeMasses(Communicator& communicator);
  void FilterRow(Row& row) const;
  void ExchangeLogits(Communicator& communicator);
  void FilterWholeRow(Row& row, size_t index, int64_t stride, size_t block_floats);
  void Report(const Row& row, int32_t slot, SampledToken* token) const;

  SamplerShape shape_;
  ThreadPool& pool_;
  LogitsSource* const source_;
  std::vector<SequenceState> states_;
  std::vector<Row> rows_;
  std::vector<std::byte> send_, received_;
  std::vector<RankHeader> ranks_;
};

CpuSampler::CpuSampler(const SamplerShape& shape, ThreadPool& pool, LogitsSource* source)
    : shape_(shape),
      pool_(pool),
      source_(source),
      states_(static_cast<size_t>(shape.max_sequences)) {
  SKEIN_CHECK(shape.vocab_size > 0 && shape.vocab_size <= kMaxVocabSize, "vocab_size %lld",
              static_cast<long long>(shape.vocab_size));
  SKEIN_CHECK(shape.vocab_start >= 0 && shape.vocab_valid_rows >= 0 &&
                  shape.vocab_start + shape.vocab_valid_rows <= shape.vocab_size,
              "vocabulary rows %lld + %lld", static_cast<long long>(shape.vocab_start),
              static_cast<long long>(shape.vocab_valid_rows));
}

SequenceState& CpuSampler::StateOf(int32_t slot) {
  SKEIN_CHECK(slot >= 0 && slot < shape_.max_sequences, "slot %d of %lld", slot,
              static_cast<long long>(shape_.max_sequences));
  return states_[static_cast<size_t>(slot)];
}

void CpuSampler::BeginSequence(int32_t slot, const SamplingParams& params,
                               std::span<const int32_t> token_ids, int64_t num_prompt_tokens) {
  ValidateSamplingParams(params, shape_);
  SKEIN_CHECK(num_prompt_tokens >= 0 && num_prompt_tokens <= static_cast<int64_t>(token_ids.size()),
              "%lld prompt tokens of %zu", static_cast<long long>(num_prompt_tokens),
              token_ids.size());
  StateOf(slot).Begin(params, token_ids, num_prompt_tokens, shape_);
}

void CpuSampler::PlanRow(Row& row) const {
  const SamplingParams& params = row.state->params();
  row.needs_model_mass = row.state->wants_logprobs();
  row.num_candidates = params.num_top_logprobs;
  if (row.state->is_greedy()) return;
  row.inverse_temperature = 1.0f / params.temperature;
  TokenFilter& filter = row.filter;
  filter.top_k = params.top_k < shape_.vocab_size ? params.top_k : 0;
  filter.top_p = params.top_p;
  filter.min_p = params.min_p;
  filter.inverse_temperature = row.inverse_temperature;
  row.is_filtered = filter.top_k > 0 || filter.top_p < 1 || filter.min_p > 0;
  if (!row.is_filtered) return;
  row.gathers_all = filter.top_k > kMaxTopKCandidates;
  if (row.gathers_all) return;
  row.needs_scaled_mass = filter.top_k == 0 && filter.top_p < 1;
  row.num_candidates =
      std::max(row.num_candidates, filter.top_k > 0 ? filter.top_k : kNucleusCandidates);
}

void CpuSampler::PlanRows(const Matrix& logits, std::span<const int32_t> slots) {
  SKEIN_CHECK(logits.type == DType::kFloat32 && logits.cols >= shape_.vocab_valid_rows &&
                  logits.rows >= static_cast<int64_t>(slots.size()),
              "logits [%lld, %lld]", static_cast<long long>(logits.rows),
              static_cast<long long>(logits.cols));
  rows_.assign(slots.size(), Row());
  size_t offset = sizeof(RankHeader);
  for (size_t i = 0; i < rows_.size(); ++i) {
    Row& row = rows_[i];
    row.state = &StateOf(slots[i]);
    SKEIN_CHECK(row.state->is_active(), "slot %d holds no sequence", slots[i]);
    PlanRow(row);
    row.offset = offset;
    offset += sizeof(RowHeader) + static_cast<size_t>(row.num_candidates) * sizeof(Candidate);
  }
  send_.assign(offset, std::byte{0});
  ReadLogits(logits);
}

// A row is judged where it lies unless its logits change first or more than its best token is
// wanted.
void CpuSampler::ReadLogits(const Matrix& logits) {
  if (source_ == nullptr) {
    for (size_t i = 0; i < rows_.size(); ++i) {
      rows_[i].logits = logits.As<float>() + static_cast<int64_t>(i) * logits.stride;
    }
    return;
  }
  std::vector<BestRequest> requests;
  std::vector<int64_t> whole;
  for (size_t i = 0; i < rows_.size(); ++i) {
    const Row& row = rows_[i];
    const auto index = static_cast<int64_t>(i);
    if (row.is_filtered || row.num_candidates > 0 || row.needs_model_mass ||
        row.state->adjusts_logits()) {
      whole.push_back(index);
    } else {
      requests.push_back(
          {index, row.state->is_greedy(), row.inverse_temperature, row.state->noise_key()});
    }
  }
  std::vector<BestFinding> findings(requests.size());
  std::vector<float*> fetched(whole.size());
  source_->Read(logits, shape_.vocab_valid_rows, static_cast<int32_t>(shape_.vocab_start), requests,
                findings, whole, fetched);
  for (size_t i = 0; i < requests.size(); ++i) {
    rows_[static_cast<size_t>(requests[i].row)].found = findings[i];
  }
  for (size_t i = 0; i < whole.size(); ++i) {
    rows_[static_cast<size_t>(whole[i])].logits = fetched[i];
  }
}

void CpuSampler::ExamineRow(const Row& row, std::byte* block) const {
  const int64_t count = shape_.vocab_valid_rows;
  const auto first_id = static_cast<int32_t>(shape_.vocab_start);
  RowHeader header;
  if (row.logits == nullptr) {
    header.best = row.found.best;
    header.max_logit = row.found.max_logit;
    std::memcpy(block + row.offset, &header, sizeof(header));
    return;
  }
  row.state->Adjust(row.logits);
  const Candidate best = BestCandidate(row.logits, count, first_id);
  header.max_logit = best.logit;
  if (row.state->is_greedy()) {
    header.best = {best.logit, best.logit, best.id};
  } else if (!row.is_filtered) {
    header.best =
        HighestNoisy(row.logits, count, first_id, row.state->noise_key(), row.inverse_temperature);
  }
  std::memcpy(block + row.offset, &header, sizeof(header));
  const auto candidates = BestCandidates(row.logits, count, first_id, row.num_candidates);
  if (!candidates.empty()) {
    std::memcpy(block + row.offset + sizeof(header), candidates.data(),
                candidates.size() * sizeof(Candidate));
  }
}

void CpuSampler::ExchangeBest(Communicator& communicator) {
  const RankHeader own{shape_.vocab_start, shape_.vocab_valid_rows};
  std::memcpy(send_.data(), &own, sizeof(own));
  ForEachRow(rows_.size(), [&](size_t i) { ExamineRow(rows_[i], send_.data()); });

  const auto world_size = static_cast<size_t>(communicator.world_size());
  received_.resize(world_size * send_.size());
  communicator.AllGather(send_.data(), received_.data(), send_.size(), nullptr);
  ranks_.resize(world_size);
  for (size_t r = 0; r < world_size; ++r) {
    std::memcpy(&ranks_[r], received_.data() + r * send_.size(), sizeof(RankHeader));
  }
  for (Row& row : rows_) MergeRow(row, send_.size());
}

void CpuSampler::MergeRow(Row& row, size_t block_bytes) const {
  // The worst candidate of each rank that holds more tokens than it sent; the best of them bounds
  // what is known.
  std::optional<Candidate> bound;
  for (size_t r = 0; r < ranks_.size(); ++r) {
    const std::byte* at = received_.data() + r * block_bytes + row.offset;
    RowHeader header;
    std::memcpy(&header, at, sizeof(header));
    if (ranks_[r].valid_rows == 0) continue;
    row.max_logit = std::max(row.max_logit, header.max_logit);
    TakeHigher(row.chosen, header.best);
    const int64_t sent = std::min(row.num_candidates, ranks_[r].valid_rows);
    if (sent == 0) continue;
    const size_t old_size = row.candidates.size();
    row.candidates.resize(old_size + static_cast<size_t>(sent));
    std::memcpy(row.candidates.data() + old_size, at + sizeof(header),
                static_cast<size_t>(sent) * sizeof(Candidate));
    const Candidate& last = row.candidates.back();
    if (sent < ranks_[r].valid_rows && (!bound || Precedes(last, *bound))) bound = last;
  }
  std::sort(row.candidates.begin(), row.candidates.end(), Precedes);
  row.is_complete = !bound;
  row.num_covered = static_cast<int64_t>(row.candidates.size());
  if (bound) {
    row.num_covered =
        std::upper_bound(row.candidates.begin(), row.candidates.end(), *bound, Precedes) -
        row.candidates.begin();
  }
  row.filter.max_logit = row.max_logit;
}

void CpuSampler::ExchangeMasses(Communicator& communicator) {
  std::vector<Row*> wanted;
  for (Row& row : rows_) {
    if (row.needs_model_mass || row.needs_scaled_mass) wanted.push_back(&row);
  }
  if (wanted.empty()) return;
  std::vector<RowMasses> own(wanted.size());
  ForEachRow(wanted.size(), [&](size_t i) {
    const Row& row = *wanted[i];
    const int64_t count = shape_.vocab_valid_rows;
    if (row.needs_model_mass) {
      own[i].model = SumRelativeMass(row.logits, count, row.max_logit, 1.0f);
    }
    if (row.needs_scaled_mass) {
      own[i].scaled = SumRelativeMass(row.logits, count, row.max_logit, row.inverse_temperature);
    }
  });
  std::vector<RowMasses> all(wanted.size() * ranks_.size());
  communicator.AllGather(own.data(), all.data(), own.size() * sizeof(RowMasses), nullptr);
  for (size_t i = 0; i < wanted.size(); ++i) {
    RowMasses& sum = wanted[i]->masses;
    for (size_t r = 0; r < ranks_.size(); ++r) {
      sum.model += all[r * wanted.size() + i].model;
      sum.scaled += all[r * wanted.size() + i].scaled;
    }
    wanted[i]->filter.total_mass = sum.scaled;
  }
}

void CpuSampler::FilterRow(Row& row) const {
  if (!row.is_filtered || row.gathers_all) return;
  const std::span<const Candidate> covered(row.candidates.data(),
                                           static_cast<size_t>(row.num_covered));
  const auto kept = CountKept(covered, row.is_complete, row.filter);
  if (!kept) {
    row.gathers_all = true;
    return;
  }
  row.chosen = HighestNoisy(covered.first(static_cast<size_t>(*kept)), row.state->noise_key(),
                            row.inverse_temperature);
}

void CpuSampler::ExchangeLogits(Communicator& communicator) {
  std::vector<Row*> wanted;
  for (Row& row : rows_) {
    if (row.gathers_all) wanted.push_back(&row);
  }
  if (wanted.empty()) return;
  int64_t stride = 0;
  for (const RankHeader& rank : ranks_) stride = std::max(stride, rank.valid_rows);
  const size_t row_bytes = static_cast<size_t>(stride) * sizeof(float);
  send_.assign(wanted.size() * row_bytes, std::byte{0});
  for (size_t i = 0; i < wanted.size(); ++i) {
    std::memcpy(send_.data() + i * row_bytes, wanted[i]->logits,
                static_cast<size_t>(shape_.vocab_valid_rows) * sizeof(float));
  }
  received_.resize(ranks_.size() * send_.size());
  communicator.AllGather(send_.data(), received_.data(), send_.size(), nullptr);
  const size_t block_floats = send_.size() / sizeof(float);
  ForEachRow(wanted.size(), [&](size_t i) { FilterWholeRow(*wanted[i], i, stride, block_floats); });
}

void CpuSampler::FilterWholeRow(Row& row, size_t index, int64_t stride, size_t block_floats) {
  auto* floats = reinterpret_cast<float*>(received_.data()) + index * static_cast<size_t>(stride);
  std::vector<Candidate> all;
  all.reserve(static_cast<size_t>(shape_.vocab_size));
  for (size_t r = 0; r < ranks_.size(); ++r) {
    for (int64_t v = 0; v < ranks_[r].valid_rows; ++v) {
      all.push_back(
          {floats[r * block_floats + v], static_cast<int32_t>(ranks_[r].vocab_start + v)});
    }
  }
  const int64_t kept = PartitionKept(all, row.filter);
  const Candidate last = *std::max_element(all.begin(), all.begin() + kept, Precedes);
  for (size_t r = 0; r < ranks_.size(); ++r) {
    float* logits = floats + r * block_floats;
    const auto first_id = static_cast<int32_t>(ranks_[r].vocab_start);
    for (int64_t v = 0; v < ranks_[r].valid_rows; ++v) {
      if (Precedes(last, {logits[v], static_cast<int32_t>(first_id + v)})) logits[v] = kBannedLogit;
    }
    TakeHigher(row.chosen, HighestNoisy(logits, ranks_[r].valid_rows, first_id,
                                        row.state->noise_key(), row.inverse_temperature));
  }
}

void CpuSampler::Report(const Row& row, int32_t slot, SampledToken* token) const {
  token->slot = slot;
  token->token_id = row.chosen.id;
  token->logprob = std::numeric_limits<float>::quiet_NaN();
  token->top_ids.clear();
  token->top_logprobs.clear();
  if (!row.needs_model_mass) return;
  const double log_mass = std::log(static_cast<double>(row.masses.model) * kMassUnit);
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

void CpuSampler::Sample(const Matrix& logits, std::span<const int32_t> slots,
                        Communicator& communicator, std::vector<SampledToken>* out) {
  out->resize(slots.size());
  if (slots.empty()) return;
  PlanRows(logits, slots);
  ExchangeBest(communicator);
  ExchangeMasses(communicator);
  ForEachRow(rows_.size(), [&](size_t i) { FilterRow(rows_[i]); });
  ExchangeLogits(communicator);
  for (size_t i = 0; i < rows_.size(); ++i) {
    const Row& row = rows_[i];
    SKEIN_CHECK(row.chosen.id >= 0 && row.chosen.id < shape_.vocab_size, "no token to choose");
    Report(row, slots[i], &(*out)[i]);
    row.state->Append(row.chosen.id);
  }
}

}  // namespace

std::unique_ptr<Sampler> MakeCpuSampler(const SamplerShape& shape, ThreadPool& pool) {
  return std::make_unique<CpuSampler>(shape, pool, nullptr);
}

std::unique_ptr<Sampler> MakeSamplerOver(const SamplerShape& shape, ThreadPool& pool,
                                         LogitsSource* source) {
  return std::make_unique<CpuSampler>(shape, pool, source);
}

}  // namespace skein
