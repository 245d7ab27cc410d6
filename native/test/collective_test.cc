// Every kind of communicator against the rank-ordered sum, computed here in plain loops from the
// same inputs: results must be equal bit for bit, on all ranks, for every count and world size.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <random>

#include "collective/communicator.h"
#include "core/error.h"
#include "test/rank_group.h"

namespace skein::test {
namespace {

struct Case {
  CollectiveKind kind;
  int world_size;
};

std::string NameOf(const Case& c) {
  const char* kind = c.kind == CollectiveKind::kNone           ? "Local"
                     : c.kind == CollectiveKind::kSharedMemory ? "SharedMemory"
                                                               : "Gloo";
  return kind + std::to_string(c.world_size);
}

void PrintTo(const Case& c, std::ostream* out) { *out << NameOf(c); }

// Values of very different sizes, so that the order of the sum shows in its bits.
std::vector<float> Input(int rank, int64_t count, uint64_t seed) {
  uint64_t state = seed * 1000 + static_cast<uint64_t>(rank);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    // Sign and fraction from the middle, an exponent between -8 and 7 from the top.
    const auto exponent = static_cast<uint32_t>(119 + (state >> 60));
    const auto rest = static_cast<uint32_t>(state >> 20) & 0x807fffffu;
    value = std::bit_cast<float>(rest | exponent << 23);
  }
  return values;
}

std::vector<float> Rounded(std::vector<float> values) {
  for (float& value : values) value = static_cast<float>(BFloat16(value));
  return values;
}

std::vector<BFloat16> Narrowed(const std::vector<float>& values) {
  std::vector<BFloat16> result;
  for (const float value : values) result.emplace_back(value);
  return result;
}

std::vector<float> Expected(int world_size, int64_t count, uint64_t seed, ReduceOp op,
                            bool bfloat16) {
  const auto load = [&](int rank) {
    auto values = Input(rank, count, seed);
    return bfloat16 ? Rounded(std::move(values)) : values;
  };
  std::vector<float> result = load(0);
  for (int rank = 1; rank < world_size; ++rank) {
    const std::vector<float> in = load(rank);
    for (size_t i = 0; i < in.size(); ++i) {
      result[i] = op == ReduceOp::kSum ? result[i] + in[i] : std::max(result[i], in[i]);
    }
  }
  return result;
}

template <typename T>
void RequireSameBits(const std::vector<T>& got, const std::vector<T>& wanted, const char* what) {
  for (size_t i = 0; i < wanted.size(); ++i) {
    SKEIN_CHECK(std::memcmp(&got[i], &wanted[i], sizeof(T)) == 0, "%s: element %zu of %zu differs",
                what, i, wanted.size());
  }
}

// Around the sizes where the way of exchange changes, and more than one chunk.
constexpr int64_t kCounts[] = {0, 1, 3, 1000, 4099, 8192, 70001};

class CollectiveTest : public testing::TestWithParam<Case> {
 protected:
  void Run(const RankBody& body) { ExpectOnAllRanks(GetParam().kind, GetParam().world_size, body); }
};

TEST_P(CollectiveTest, AllReduceEqualsTheRankOrderedReductionBitForBit) {
  const int n = GetParam().world_size;
  Run([n](Communicator& communicator) {
    uint64_t seed = 0;
    for (const int64_t count : kCounts) {
      for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax}) {
        ++seed;
        auto data = Input(communicator.rank(), count, seed);
        communicator.AllReduce(data.data(), count, DType::kFloat32, op, nullptr);
        RequireSameBits(data, Expected(n, count, seed, op, false), "float32");
        auto narrow = Narrowed(Input(communicator.rank(), count, seed));
        communicator.AllReduce(narrow.data(), count, DType::kBFloat16, op, nullptr);
        RequireSameBits(narrow, Narrowed(Expected(n, count, seed, op, true)), "bfloat16");
      }
    }
  });
}

TEST_P(CollectiveTest, AMillionElementsAreReducedInChunks) {
  const int n = GetParam().world_size;
  Run([n](Communicator& communicator) {
    const int64_t count = 1 << 20;
    auto data = Input(communicator.rank(), count, 3);
    communicator.AllReduce(data.data(), count, DType::kFloat32, ReduceOp::kSum, nullptr);
    if (communicator.rank() == n - 1) {
      RequireSameBits(data, Expected(n, count, 3, ReduceOp::kSum, false), "float32");
    }
    // The other ranks have the same bits if they have the same as the last one.
    std::vector<float> last = data;
    communicator.Broadcast(last.data(), last.size() * 4, n - 1, nullptr);
    RequireSameBits(data, last, "ranks");
  });
}

TEST_P(CollectiveTest, AnElementsSumDoesNotDependOnItsPlaceOrOnTheCount) {
  Run([](Communicator& communicator) {
    const int64_t count = 50000;
    auto whole = Input(communicator.rank(), count, 77);
    auto pieces = whole;
    communicator.AllReduce(whole.data(), count, DType::kFloat32, ReduceOp::kSum, nullptr);
    int64_t start = 0;
    for (int64_t piece = 1; start < count; piece = piece * 3 + 1) {
      const int64_t size = std::min(piece, count - start);
      communicator.AllReduce(pieces.data() + start, size, DType::kFloat32, ReduceOp::kSum, nullptr);
      start += size;
    }
    RequireSameBits(pieces, whole, "pieces");
  });
}

TEST_P(CollectiveTest, AllGatherAndBroadcastMoveEveryByte) {
  const int n = GetParam().world_size;
  Run([n](Communicator& communicator) {
    for (const int64_t count : {1, 3, 5000, 150007}) {
      const auto own = Input(communicator.rank(), count, 5);
      std::vector<float> all(static_cast<size_t>(n * count));
      communicator.AllGather(own.data(), all.data(), own.size() * 4, nullptr);
      std::vector<float> in_place(all.size());
      std::copy(own.begin(), own.end(), in_place.begin() + communicator.rank() * count);
      communicator.AllGather(in_place.data() + communicator.rank() * count, in_place.data(),
                             own.size() * 4, nullptr);
      std::vector<float> wanted;
      for (int rank = 0; rank < n; ++rank) {
        const auto in = Input(rank, count, 5);
        wanted.insert(wanted.end(), in.begin(), in.end());
      }
      RequireSameBits(all, wanted, "all-gather");
      RequireSameBits(in_place, wanted, "all-gather in place");
      for (int root = 0; root < n; ++root) {
        auto data = Input(communicator.rank(), count, 9);
        communicator.Broadcast(data.data(), data.size() * 4, root, nullptr);
        RequireSameBits(data, Input(root, count, 9), "broadcast");
      }
    }
  });
}

// A rank that is delayed at random must never see another's next exchange in place of this one's.
TEST_P(CollectiveTest, RanksOfUnequalPaceStayInStep) {
  const int n = GetParam().world_size;
  Run([n](Communicator& communicator) {
    std::mt19937 random(static_cast<unsigned>(communicator.rank()));
    for (int step = 0; step < 300; ++step) {
      if (random() % 16 == 0) usleep(random() % 300);
      float values[5];
      for (float& value : values) value = static_cast<float>(step + communicator.rank());
      communicator.AllReduce(values, 1 + step % 5, DType::kFloat32, ReduceOp::kSum, nullptr);
      SKEIN_CHECK(values[step % 5] == static_cast<float>(n * step + n * (n - 1) / 2), "step %d",
                  step);
      if (step % 7 == 0) Meet(communicator);
      int32_t word = step * 100 + communicator.rank();
      communicator.Broadcast(&word, 4, step % n, nullptr);
      SKEIN_CHECK(word == step * 100 + step % n, "broadcast of step %d", step);
    }
  });
}

TEST_P(CollectiveTest, TimeSpentWaitingIsCounted) {
  Run([](Communicator& communicator) {
    Meet(communicator);
    communicator.TakeWaitNanoseconds();
    if (communicator.rank() == 0) usleep(60000);
    float value = 1;
    communicator.AllReduce(&value, 1, DType::kFloat32, ReduceOp::kSum, nullptr);
    const int64_t waited = communicator.TakeWaitNanoseconds();
    if (communicator.rank() != 0) SKEIN_CHECK(waited > 30000000, "waited %ld ns", long{waited});
    SKEIN_CHECK(communicator.TakeWaitNanoseconds() == 0, "not reset");
  });
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const CollectiveKind kind :
       {CollectiveKind::kNone, CollectiveKind::kSharedMemory, CollectiveKind::kGloo}) {
    for (const int world_size : {1, 2, 3, 4, 5, 8}) cases.push_back({kind, world_size});
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Kinds, CollectiveTest, testing::ValuesIn(Cases()),
                         [](const auto& info) { return NameOf(info.param); });

}  // namespace
}  // namespace skein::test
