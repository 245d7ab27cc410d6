// What tests of many shapes leave out under compute-sanitizer's racecheck, which takes some hundred
// times as long as the kernels alone.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <vector>

namespace skein {

// bench/gpu sets it for racecheck.
inline bool IsUnderChecker() {
  static const bool is_set = std::getenv("SKEIN_UNDER_CHECKER") != nullptr;
  return is_set;
}

// How often a test repeats something; `few` under a checker.
inline int Times(int many, int few) { return IsUnderChecker() ? few : many; }

// What a test goes over; `few` under a checker, to be chosen so that every kernel still runs.
inline std::vector<int64_t> Values(std::vector<int64_t> many, std::vector<int64_t> few) {
  return IsUnderChecker() ? few : many;
}

// World sizes of a sampler's test; alone under a checker. Ranks are threads there, and racecheck
// loses track of what many launches of several threads do.
inline std::vector<int> WorldSizes(std::vector<int> many) {
  return IsUnderChecker() ? std::vector<int>{1} : many;
}

}  // namespace skein
