// Two exchanges at most: the findings without masses, which also give the highest logit of all
// ranks; then, where masses are asked for, these. So a step of greedy, unfiltered and top-k rows
// takes one. Wide rows are gathered whole.
#include "cpu/host_logits.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace skein {
namespace {

// Logits from which on rows are shared among threads: less takes less time than waking them.
constexpr int64_t kParallelLogits = 1 << 17;

struct RowMasses {
  Mass model = 0;
  Mass scaled = 0;
};

class HostLogits final : public LogitsSource {
 public:
  HostLogits(const SamplerShape& shape, ThreadPool& pool) : shape_(shape), pool_(pool) {}

  const std::byte* Examine(const Matrix& logits, std::span<const RowRequest> requests,
                           size_t block_bytes, Communicator& communicator) override {
    logits_ = logits;
    own_.assign(block_bytes, std::byte{0});
    const RankHeader header{shape_.vocab_start, shape_.vocab_valid_rows};
    std::memcpy(own_.data(), &header, sizeof(header));
    ForEachRow(requests.size(), [&](size_t i) { ExamineRow(requests[i], i); });
    blocks_.resize(block_bytes * static_cast<size_t>(communicator.world_size()));
    communicator.AllGather(own_.data(), blocks_.data(), block_bytes, nullptr);
    ExchangeMasses(requests, communicator);
    return blocks_.data();
  }

  void ChooseKept(std::span<const WideRow> rows, Communicator& communicator,
                  std::span<NoisyToken> chosen) override {
    ranks_.resize(static_cast<size_t>(communicator.world_size()));
    size_t row_floats = 0;
    for (size_t r = 0; r < ranks_.size(); ++r) {
      std::memcpy(&ranks_[r], blocks_.data() + r * (blocks_.size() / ranks_.size()),
                  sizeof(RankHeader));
      row_floats = std::max(row_floats, static_cast<size_t>(ranks_[r].valid_rows));
    }
    sent_.assign(rows.size() * row_floats, 0.0f);
    for (size_t i = 0; i < rows.size(); ++i) {
      std::memcpy(sent_.data() + i * row_floats, RowOf(rows[i].row),
                  static_cast<size_t>(shape_.vocab_valid_rows) * sizeof(float));
    }
    gathered_.resize(sent_.size() * ranks_.size());
    communicator.AllGather(sent_.data(), gathered_.data(), sent_.size() * sizeof(float), nullptr);
    pool_.ParallelFor(static_cast<int64_t>(rows.size()), [&](int64_t row) {
      const auto i = static_cast<size_t>(row);
      chosen[i] = ChooseOfWholeRow(rows[i], gathered_.data() + i * row_floats);
    });
  }

 private:
  float* RowOf(int64_t row) const { return logits_.As<float>() + row * logits_.stride; }

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

  void ExamineRow(const RowRequest& request, size_t index) {
    const int64_t count = shape_.vocab_valid_rows;
    const auto first_id = static_cast<int32_t>(shape_.vocab_start);
    float* logits = RowOf(static_cast<int64_t>(index));
    request.state->Adjust(logits);
    if (!request.mask.empty()) BanUnmasked(logits, count, request.mask.data());
    RowFinding finding;
    const Candidate best = BestCandidate(logits, count, first_id);
    finding.max_logit = best.logit;
    if (request.best == BestKind::kHighest) {
      finding.best = {best.logit, best.logit, best.id};
    } else if (request.best == BestKind::kNoisy) {
      finding.best = HighestNoisy(logits, count, first_id, request.state->noise_key(),
                                  request.inverse_temperature);
    }
    std::memcpy(own_.data() + FindingOffset(index), &finding, sizeof(finding));
    const auto candidates = BestCandidates(logits, count, first_id, request.num_candidates);
    if (!candidates.empty()) {
      std::memcpy(own_.data() + request.candidates_offset, candidates.data(),
                  candidates.size() * sizeof(Candidate));
    }
  }

  // floats: the row's logits of rank 0; those of the next rank lie as far on as all that is sent.
  NoisyToken ChooseOfWholeRow(const WideRow& row, const float* floats) const {
    std::vector<Candidate> all;
    all.reserve(static_cast<size_t>(shape_.vocab_size));
    for (size_t r = 0; r < ranks_.size(); ++r) {
      for (int64_t v = 0; v < ranks_[r].valid_rows; ++v) {
        all.push_back({floats[r * sent_.size() + static_cast<size_t>(v)],
                       static_cast<int32_t>(ranks_[r].vocab_start + v)});
      }
    }
    const auto kept = static_cast<size_t>(PartitionKept(all, row.filter));
    return HighestNoisy({all.data(), kept}, row.noise, row.filter.inverse_temperature);
  }

  void ExchangeMasses(std::span<const RowRequest> requests, Communicator& communicator) {
    std::vector<size_t> wanted;
    for (size_t i = 0; i < requests.size(); ++i) {
      if (requests[i].needs_model_mass || requests[i].needs_scaled_mass) wanted.push_back(i);
    }
    if (wanted.empty()) return;
    const auto world_size = static_cast<size_t>(communicator.world_size());
    std::vector<RowMasses> own(wanted.size()), all(wanted.size() * world_size);
    ForEachRow(wanted.size(), [&](size_t i) {
      const RowRequest& request = requests[wanted[i]];
      const float* logits = RowOf(static_cast<int64_t>(wanted[i]));
      const int64_t count = shape_.vocab_valid_rows;
      float max_logit = kBannedLogit;
      for (size_t r = 0; r < world_size; ++r) {
        max_logit = std::max(max_logit, FindingOf(r, wanted[i], world_size).max_logit);
      }
      if (request.needs_model_mass) {
        own[i].model = SumRelativeMass(logits, count, max_logit, 1.0f);
      }
      if (request.needs_scaled_mass) {
        own[i].scaled = SumRelativeMass(logits, count, max_logit, request.inverse_temperature);
      }
    });
    communicator.AllGather(own.data(), all.data(), own.size() * sizeof(RowMasses), nullptr);
    for (size_t r = 0; r < world_size; ++r) {
      for (size_t i = 0; i < wanted.size(); ++i) {
        RowFinding finding = FindingOf(r, wanted[i], world_size);
        finding.model_mass = all[r * wanted.size() + i].model;
        finding.scaled_mass = all[r * wanted.size() + i].scaled;
        std::memcpy(FindingAt(r, wanted[i], world_size), &finding, sizeof(finding));
      }
    }
  }

  std::byte* FindingAt(size_t rank, size_t row, size_t world_size) {
    return blocks_.data() + rank * (blocks_.size() / world_size) + FindingOffset(row);
  }
  RowFinding FindingOf(size_t rank, size_t row, size_t world_size) {
    RowFinding finding;
    std::memcpy(&finding, FindingAt(rank, row, world_size), sizeof(finding));
    return finding;
  }

  SamplerShape shape_;
  ThreadPool& pool_;
  Matrix logits_;
  std::vector<std::byte> own_, blocks_;
  std::vector<RankHeader> ranks_;
  std::vector<float> sent_, gathered_;
};

}  // namespace

std::unique_ptr<LogitsSource> MakeHostLogits(const SamplerShape& shape, ThreadPool& pool) {
  return std::make_unique<HostLogits>(shape, pool);
}

}  // namespace skein
