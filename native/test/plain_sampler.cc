// Penalties, filters and the choice, one after the other.
#include "test/plain_sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "sampling/noise.h"

namespace skein::test {
namespace {

std::vector<double> AdjustPlainly(const Sequence& s, const std::vector<float>& logits) {
  std::vector<double> x(logits.begin(), logits.end());
  for (double& v : x) {
    if (std::isnan(v)) v = -std::numeric_limits<double>::infinity();
  }
  std::map<int32_t, int> seen, generated;
  for (size_t i = 0; i < s.token_ids.size(); ++i) {
    ++seen[s.token_ids[i]];
    if (static_cast<int64_t>(i) >= s.num_prompt_tokens) ++generated[s.token_ids[i]];
  }
  for (const auto& [id, count] : seen) {
    double& v = x[static_cast<size_t>(id)];
    v = v < 0 ? v * s.params.repetition_penalty : v / s.params.repetition_penalty;
  }
  for (const auto& [id, count] : generated) {
    x[static_cast<size_t>(id)] -= s.params.presence_penalty + s.params.frequency_penalty * count;
  }
  for (size_t i = 0; i < s.params.logit_bias_ids.size(); ++i) {
    x[static_cast<size_t>(s.params.logit_bias_ids[i])] += s.params.logit_bias_values[i];
  }
  if (static_cast<int64_t>(s.token_ids.size()) - s.num_prompt_tokens < s.params.min_tokens) {
    for (const int32_t id : s.params.stop_token_ids) {
      x[static_cast<size_t>(id)] = -std::numeric_limits<double>::infinity();
    }
  }
  for (size_t id = 0; id < s.allowed.size(); ++id) {
    if (!s.allowed[id]) x[id] = -std::numeric_limits<double>::infinity();
  }
  return x;
}

}  // namespace

std::vector<int32_t> FilterPlainly(const std::vector<double>& x, std::vector<int32_t> ids,
                                   const SamplingParams& p, double* margin) {
  const auto weight = [&](int32_t id) {
    return std::exp((x[static_cast<size_t>(id)] - x[static_cast<size_t>(ids[0])]) / p.temperature);
  };
  if (p.top_k > 0 && p.top_k < static_cast<int32_t>(ids.size())) {
    ids.resize(static_cast<size_t>(p.top_k));
  }
  double total = 0;
  for (const int32_t id : ids) total += weight(id);
  double before = 0;
  std::vector<int32_t> kept;
  for (const int32_t id : ids) {
    if (!kept.empty() && p.top_p < 1)
      *margin = std::min(*margin, std::abs(before / total - p.top_p));
    if (!kept.empty() && p.min_p > 0) *margin = std::min(*margin, std::abs(weight(id) - p.min_p));
    if (!kept.empty() && p.top_p < 1 && before >= p.top_p * total) break;
    if (!kept.empty() && weight(id) < p.min_p) break;
    kept.push_back(id);
    before += weight(id);
  }
  return kept;
}

PlainResult SamplePlainly(const Sequence& s, const std::vector<float>& logits) {
  const std::vector<double> x = AdjustPlainly(s, logits);
  std::vector<int32_t> ids(x.size());
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
  const auto value = [&](int32_t id) { return x[static_cast<size_t>(id)]; };
  std::stable_sort(ids.begin(), ids.end(),
                   [&](int32_t a, int32_t b) { return value(a) > value(b); });
  PlainResult result;
  double sum = 0;
  for (const double v : x) sum += std::exp(v - value(ids[0]));
  const double log_sum = value(ids[0]) + std::log(sum);
  for (const int32_t id : ids) result.top.emplace_back(value(id) - log_sum, id);
  result.token_id = ids[0];
  if (s.params.temperature >= 1e-5f) {
    const auto kept = FilterPlainly(x, ids, s.params, &result.margin);
    const NoiseKey key{s.params.seed, s.params.choice_index, s.token_ids.size()};
    double best = -std::numeric_limits<double>::infinity();
    double second = best;
    for (const int32_t id : kept) {
      const double noisy = value(id) / s.params.temperature + GumbelNoise(key, id);
      if (noisy > best) {
        second = best;
        best = noisy;
        result.token_id = id;
      } else {
        second = std::max(second, noisy);
      }
    }
    result.margin = std::min(result.margin, (best - second) / std::max(1.0, std::abs(best)));
  } else if (ids.size() > 1 && value(ids[0]) != value(ids[1])) {
    result.margin = value(ids[0]) - value(ids[1]);
  }
  result.logprob = value(result.token_id) - log_sum;
  return result;
}

}  // namespace skein::test
