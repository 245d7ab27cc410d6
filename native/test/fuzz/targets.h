// What is fuzzed at the native edge: each target takes any bytes, and ends the process where
// something does not hold. libFuzzer drives them with sanitizers (fuzz/README.md), the native tests
// over the corpus.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace skein::fuzz {

struct Target {
  const char* name;
  void (*run)(const uint8_t* data, size_t size);
};

// Step plans on the sequences, blocks and pictures of an epoch: what is accepted lays out rows
// within the limits.
void RunStepPlan(const uint8_t* data, size_t size);
// Load plans: shapes, slices and files of a checkpoint, read as far as they are accepted.
void RunLoadPlan(const uint8_t* data, size_t size);
// AWQ weights of any shape and group, repacked and multiplied, against plain loops.
void RunAwq(const uint8_t* data, size_t size);
// Addresses that other ranks send.
void RunRankAddress(const uint8_t* data, size_t size);

constexpr Target kTargets[] = {{"step_plan", RunStepPlan},
                               {"load_plan", RunLoadPlan},
                               {"awq", RunAwq},
                               {"rank_address", RunRankAddress}};

// An invariant, in every build.
#define FUZZ_CHECK(condition)                                                            \
  do {                                                                                   \
    if (!(condition)) {                                                                  \
      std::fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                      \
    }                                                                                    \
  } while (false)

}  // namespace skein::fuzz
