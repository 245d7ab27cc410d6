// What fuzzing has found worth keeping, run again on every build: each target over each input of
// its corpus. Nothing but the end of the process tells of a failure.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "fuzz/targets.h"

namespace skein::fuzz {
namespace {

class FuzzCorpusTest : public testing::TestWithParam<Target> {};

TEST_P(FuzzCorpusTest, HoldsForEachInput) {
  int num_inputs = 0;
  const std::filesystem::path folder = SKEIN_FUZZ_CORPUS;
  for (const auto& entry : std::filesystem::directory_iterator(folder / GetParam().name)) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    GetParam().run(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    ++num_inputs;
  }
  EXPECT_GT(num_inputs, 10);
}

INSTANTIATE_TEST_SUITE_P(Targets, FuzzCorpusTest, testing::ValuesIn(kTargets),
                         [](const auto& each) { return std::string(each.param.name); });

}  // namespace
}  // namespace skein::fuzz
