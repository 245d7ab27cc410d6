// The cuts of the filters. Masses are integers, so both ways to find a cut find the same one.
#include "sampling/filter.h"

#include <algorithm>

namespace skein {
namespace {

// Tokens whose masses are computed at once.
constexpr size_t kMassBlock = 64;

void FillMasses(std::span<const Candidate> tokens, const TokenFilter& filter, Mass* masses) {
  RelativeMasses(tokens, filter.max_logit, filter.inverse_temperature, masses);
}

Mass MassOf(std::span<const Candidate> tokens, const TokenFilter& filter) {
  Mass sum = 0;
  Mass masses[kMassBlock];
  for (size_t start = 0; start < tokens.size(); start += kMassBlock) {
    const auto block = tokens.subspan(start, std::min(kMassBlock, tokens.size() - start));
    FillMasses(block, filter, masses);
    for (size_t i = 0; i < block.size(); ++i) sum += masses[i];
  }
  return sum;
}

// Mass at which the nucleus is full.
double NucleusMass(Mass total, const TokenFilter& filter) {
  return static_cast<double>(filter.top_p) * static_cast<double>(total);
}

bool FailsMinP(const Candidate& c, const TokenFilter& filter) {
  return filter.min_p > 0 &&
         RelativeProbability(c.logit, filter.max_logit, filter.inverse_temperature) < filter.min_p;
}

// Length of the nucleus of tokens[0, count), which get partly ordered: halves the range that holds
// the cut, as quickselect does.
int64_t PartitionNucleus(std::vector<Candidate>& tokens, int64_t count, double wanted,
                         const TokenFilter& filter) {
  int64_t low = 0;
  int64_t high = count;
  Mass before = 0;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    std::nth_element(tokens.begin() + low, tokens.begin() + middle, tokens.begin() + high,
                     Precedes);
    const Mass upper = MassOf({tokens.data() + low, static_cast<size_t>(middle - low)}, filter);
    if (static_cast<double>(before + upper) >= wanted) {
      high = middle;
    } else {
      before += upper;
      low = middle;
    }
  }
  return low + 1;
}

}  // namespace

std::optional<int64_t> CountKept(std::span<const Candidate> best, bool is_complete,
                                 const TokenFilter& filter) {
  const auto size = static_cast<int64_t>(best.size());
  int64_t limit = size;
  Mass total = filter.total_mass;
  if (filter.top_k > 0) {
    if (size < filter.top_k && !is_complete) return std::nullopt;
    limit = std::min(size, filter.top_k);
    is_complete = true;
    if (filter.top_p < 1) total = MassOf(best.first(static_cast<size_t>(limit)), filter);
  }
  const bool has_top_p = filter.top_p < 1;
  const double wanted = NucleusMass(total, filter);
  Mass mass = 0;
  Mass masses[kMassBlock];
  for (int64_t i = 0; i < limit; ++i) {
    const auto index = static_cast<size_t>(i);
    if (i > 0 && has_top_p && static_cast<double>(mass) >= wanted) return i;
    if (i > 0 && FailsMinP(best[index], filter)) return i;
    if (!has_top_p) continue;
    if (index % kMassBlock == 0) {
      FillMasses(best.subspan(index, std::min(kMassBlock, best.size() - index)), filter, masses);
    }
    mass += masses[index % kMassBlock];
  }
  if (is_complete || (has_top_p && static_cast<double>(mass) >= wanted)) return limit;
  return std::nullopt;
}

int64_t PartitionKept(std::vector<Candidate>& all, const TokenFilter& filter) {
  auto kept = static_cast<int64_t>(all.size());
  Mass total = filter.total_mass;
  if (filter.top_k > 0 && filter.top_k < kept) {
    kept = filter.top_k;
    std::nth_element(all.begin(), all.begin() + (kept - 1), all.end(), Precedes);
  }
  if (filter.top_p < 1) {
    if (filter.top_k > 0) total = MassOf({all.data(), static_cast<size_t>(kept)}, filter);
    kept = PartitionNucleus(all, kept, NucleusMass(total, filter), filter);
  }
  if (filter.min_p > 0) {
    const auto end = std::partition(all.begin(), all.begin() + kept, [&](const Candidate& c) {
      return c.logit == filter.max_logit || !FailsMinP(c, filter);
    });
    kept = end - all.begin();
  }
  return kept;
}

}  // namespace skein
