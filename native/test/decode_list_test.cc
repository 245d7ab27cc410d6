// The list of decode work: every run of every sequence once, within its room, evenly, in order,
// whatever the contexts.
#include "cuda/decode_list.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <vector>

#include "core/error.h"

namespace skein::cuda {
namespace {

constexpr int kRunKeys = 256, kHeads = 8, kBlocksAtOnce = 396, kMaxKeys = 131072;
constexpr DecodeShare kUntouched{-7, -7, -7, -7, -7, -7};

struct Dealt {
  DecodeCut cut;
  int used = 0;
  std::vector<DecodeShare> shares;
};

// As the engine cuts on a GPU of 132 multiprocessors, for 8 KV heads.
Dealt Deal(const std::vector<int>& contexts, int run_keys = kRunKeys, int waves = 0,
           int blocks_at_once = kBlocksAtOnce) {
  std::vector<DecodeTile> tiles;
  for (const int context : contexts) {
    const auto i = static_cast<int32_t>(tiles.size());
    tiles.push_back({3 * i, context, 5 * i});
  }
  Dealt dealt;
  dealt.cut =
      CutDecodes(static_cast<int>(tiles.size()), kHeads, blocks_at_once, run_keys, kMaxKeys, waves);
  dealt.shares.assign(static_cast<size_t>(dealt.cut.num_shares), kUntouched);
  dealt.used = DealDecodes(tiles, dealt.cut, dealt.shares);
  return dealt;
}

std::vector<int> SharesByTile(const Dealt& dealt, size_t tiles) {
  std::vector<int> counts(tiles, 0);
  for (int i = 0; i < dealt.used; ++i) ++counts[static_cast<size_t>(dealt.shares[i].tile)];
  return counts;
}

int KeysOf(const DecodeShare& share, int run_keys) {
  int keys = 0;
  for (int run = share.index; run < RunsOf(share.context_length, run_keys); run += share.count) {
    const KeyRun of_run = RunAt(run, run_keys);
    keys += std::min(of_run.begin + of_run.length, share.context_length) - of_run.begin;
  }
  return keys;
}

int LargestShare(const Dealt& dealt) {
  int largest = 0;
  for (int i = 0; i < dealt.used; ++i) {
    largest = std::max(largest, KeysOf(dealt.shares[static_cast<size_t>(i)], dealt.cut.run_keys));
  }
  return largest;
}

// What any list must be.
void ExpectWhole(const Dealt& dealt, const std::vector<int>& contexts) {
  ASSERT_LE(dealt.used, dealt.cut.num_shares);
  std::map<int, std::vector<int>> runs;  // of each tile, those that a share takes
  std::map<int, int> keys;
  for (int i = 0; i < dealt.cut.num_shares; ++i) {
    const DecodeShare& share = dealt.shares[static_cast<size_t>(i)];
    if (i >= dealt.used) {
      ASSERT_EQ(share.tile, -1) << "idle ones are at the end, " << i << " of " << dealt.used;
      continue;
    }
    ASSERT_GE(share.tile, 0);
    ASSERT_LT(static_cast<size_t>(share.tile), contexts.size());
    ASSERT_EQ(share.query_row, 3 * share.tile);
    ASSERT_EQ(share.table_row, 5 * share.tile);
    ASSERT_EQ(share.context_length, contexts[static_cast<size_t>(share.tile)]);
    const int num_runs = RunsOf(share.context_length, dealt.cut.run_keys);
    ASSERT_GE(share.index, 0);
    ASSERT_LT(share.index, share.count);
    ASSERT_LE(share.count, std::max(1, num_runs)) << "a share without a run";
    std::vector<int>& of_tile = runs[share.tile];
    for (int run = share.index; run < num_runs; run += share.count) of_tile.push_back(run);
    keys[share.tile] += KeysOf(share, dealt.cut.run_keys);
  }
  ASSERT_EQ(runs.size(), contexts.size()) << "a padded row, too, is somebody's";
  for (auto& [tile, of_tile] : runs) {
    std::sort(of_tile.begin(), of_tile.end());
    const int context = contexts[static_cast<size_t>(tile)];
    ASSERT_EQ(of_tile.size(), static_cast<size_t>(RunsOf(context, dealt.cut.run_keys)));
    for (size_t i = 0; i < of_tile.size(); ++i) ASSERT_EQ(of_tile[i], static_cast<int>(i));
    ASSERT_EQ(keys[tile], context);
  }
}

TEST(DecodeList, SharesEvenLoadsOutInOneWave) {
  for (const int context : {1400, 8192}) {
    const std::vector<int> contexts(16, context);
    const Dealt dealt = Deal(contexts);
    ExpectWhole(dealt, contexts);
    EXPECT_EQ(SharesByTile(dealt, 16), std::vector<int>(16, 3)) << "48 of 49 that run together";
    // The first share of each, which has the most keys, then the second.
    for (int i = 0; i < dealt.used; ++i) {
      EXPECT_EQ(dealt.shares[static_cast<size_t>(i)].tile, i % 16);
      EXPECT_EQ(dealt.shares[static_cast<size_t>(i)].index, i / 16);
    }
  }
}

// An even cut of two blocks a multiprocessor, eight at least, is what few sequences got without a
// list: none gets fewer shares where those fit a wave. The wave is full, where runs are enough, and
// no block is of a second wave, idle ones neither.
TEST(DecodeList, GivesFewSequencesAWholeWave) {
  for (int sequences = 1; sequences <= 12; ++sequences) {
    // Which kernel the engine takes for so many, and so blocks of another size.
    const bool is_wide = sequences <= 2;
    const int run_keys = is_wide ? 128 : 256, blocks_at_once = is_wide ? 264 : 396;
    const int even = std::max(8, (264 + sequences * kHeads - 1) / (sequences * kHeads));
    for (const int context : {128, 1400, 8192, 32768}) {
      SCOPED_TRACE(testing::Message() << sequences << " of " << context);
      const std::vector<int> contexts(static_cast<size_t>(sequences), context);
      const Dealt dealt = Deal(contexts, run_keys, 0, blocks_at_once);
      ExpectWhole(dealt, contexts);
      EXPECT_LE(dealt.cut.num_shares * kHeads, blocks_at_once);
      const int at_once = blocks_at_once / kHeads, runs = RunsOf(context, run_keys);
      EXPECT_EQ(dealt.used, std::min(at_once, sequences * runs));
      const int fair = std::min(even, at_once / sequences);
      for (const int count : SharesByTile(dealt, contexts.size())) {
        EXPECT_GE(count, std::min(fair, runs));
      }
    }
  }
  EXPECT_EQ(Deal({8192}, 128, 0, 264).used, 33);
  EXPECT_EQ(Deal({1400}, 128, 0, 264).used, 11) << "as many as runs";
  EXPECT_EQ(SharesByTile(Deal({1, 1, 1, 32768}), 4), (std::vector<int>{1, 1, 1, 46}));
  EXPECT_EQ(SharesByTile(Deal({0, 0, 0, 32768}), 4), (std::vector<int>{1, 1, 1, 46})) << "padded";
  std::vector<int> mixed;
  for (int i = 0; i < 12; ++i) mixed.push_back(128 + i * 733);
  const Dealt dealt = Deal(mixed);
  ExpectWhole(dealt, mixed);
  EXPECT_EQ(dealt.used, 49);
  const int total = std::accumulate(mixed.begin(), mixed.end(), 0);
  EXPECT_LE(LargestShare(dealt), total / 49 * 3 / 2);
}

// 33 would fill two thirds of a wave, and leave its other third idle.
TEST(DecodeList, CutsFinerThanAWaveThatWouldBeUneven) {
  for (const int context : {1400, 8192}) {
    const std::vector<int> contexts(33, context);
    const Dealt dealt = Deal(contexts);
    ExpectWhole(dealt, contexts);
    EXPECT_GE(dealt.used, 2 * 33);
    EXPECT_GT(dealt.used, dealt.cut.at_once);
  }
}

TEST(DecodeList, GivesOneLongContextMostOfTheShares) {
  for (const int sequences : {16, 40, 64, 256}) {
    std::vector<int> contexts(static_cast<size_t>(sequences), 1400);
    contexts[static_cast<size_t>(sequences) / 2] = 32768;
    const Dealt dealt = Deal(contexts);
    ExpectWhole(dealt, contexts);
    int total = 0;
    for (const int context : contexts) total += context;
    // What a wave of even shares would have, or a short sequence as a whole.
    const int bound = std::max(total / dealt.cut.at_once, 1400);
    EXPECT_LE(LargestShare(dealt), bound * 13 / 10) << sequences << " sequences";
  }
}

TEST(DecodeList, HasFewIdleSharesForManyShortSequences) {
  for (const int context : {1, 128, 190, 256}) {
    const std::vector<int> contexts(256, context);
    const Dealt dealt = Deal(contexts);
    ExpectWhole(dealt, contexts);
    EXPECT_EQ(dealt.used, 256) << "one run each";
    EXPECT_LE(dealt.cut.num_shares, 256 * 3 / 2);
  }
}

TEST(DecodeList, LargestSharesStartFirst) {
  std::vector<int> contexts;
  for (int i = 0; i < 64; ++i) contexts.push_back(128 + i * 128);
  const Dealt dealt = Deal(contexts);
  ExpectWhole(dealt, contexts);
  // By their largest share, in even parts, for runs are of two lengths here.
  const auto size_of = [&](const DecodeShare& share) {
    const int runs = RunsOf(share.context_length, kRunKeys);
    return share.context_length * ((runs + share.count - 1) / share.count) / runs;
  };
  for (int i = 1; i < dealt.used; ++i) {
    const DecodeShare &before = dealt.shares[static_cast<size_t>(i - 1)],
                      &share = dealt.shares[static_cast<size_t>(i)];
    EXPECT_GE(size_of(before) + 1, size_of(share)) << "share " << i;
  }
  // The longest are cut, the shortest are not.
  const std::vector<int> counts = SharesByTile(dealt, contexts.size());
  EXPECT_GE(counts.back(), 2);
  EXPECT_EQ(counts.front(), 1);
}

TEST(DecodeList, PaddedRowsComeAfterTheOthers) {
  const std::vector<int> contexts = {0, 700, 0, 9000, 0};
  const Dealt dealt = Deal(contexts);
  ExpectWhole(dealt, contexts);
  for (int i = 0; i < dealt.used; ++i) {
    const int32_t context = dealt.shares[static_cast<size_t>(i)].context_length;
    EXPECT_EQ(context == 0, i >= dealt.used - 3) << "share " << i;
  }
  const std::vector<int> padded(7, 0);
  const Dealt all = Deal(padded);
  ExpectWhole(all, padded);
  EXPECT_EQ(all.used, 7);
  ExpectWhole(Deal({}), {});
}

TEST(DecodeList, IsWholeForAnyContexts) {
  std::mt19937 random(7);
  for (int round = 0; round < 3000; ++round) {
    std::vector<int> contexts(1 + random() % (round % 3 == 0 ? 300 : 40));
    for (int& context : contexts) {
      // From a few keys to the longest there may be, each length as likely as each other twice as
      // long.
      context = static_cast<int>(random() % (kMaxKeys >> random() % 17)) + 1;
      if (random() % 8 == 0) context = 0;
    }
    const int run_keys = random() % 2 == 0 ? 128 : 256;
    const Dealt dealt = Deal(contexts, run_keys, 1 + static_cast<int>(random() % 4));
    ASSERT_NO_FATAL_FAILURE(ExpectWhole(dealt, contexts)) << "round " << round;
    const Dealt again = Deal(contexts, run_keys);
    const Dealt twice = Deal(contexts, run_keys);
    ASSERT_TRUE(std::equal(again.shares.begin(), again.shares.end(), twice.shares.begin(),
                           [](const DecodeShare& a, const DecodeShare& b) {
                             return a.tile == b.tile && a.index == b.index && a.count == b.count;
                           }));
  }
}

// How many shares there are follows the shape of a step alone.
TEST(DecodeList, HasRoomByTheShape) {
  const auto shares = [](int tiles, int max_keys) {
    return CutDecodes(tiles, kHeads, kBlocksAtOnce, kRunKeys, max_keys).num_shares;
  };
  EXPECT_EQ(shares(256, kMaxKeys), 256 + 2 * 49);
  EXPECT_EQ(shares(64, kMaxKeys), 64 + 3 * 49);
  EXPECT_EQ(shares(16, kMaxKeys), 16 + 4 * 16);
  EXPECT_EQ(shares(13, kMaxKeys), 13 + 4 * 13);
  EXPECT_EQ(shares(12, kMaxKeys), 49);
  EXPECT_EQ(shares(1, kMaxKeys), 49);
  EXPECT_EQ(shares(4, 1024), 4 * 4) << "no more than there can be runs";
  EXPECT_EQ(shares(0, kMaxKeys), 0);
  EXPECT_EQ(CutDecodes(5, 500, kBlocksAtOnce, kRunKeys, kMaxKeys).at_once, 1);
  EXPECT_EQ(CutDecodes(60000, 1, 60000, kRunKeys, kMaxKeys).num_shares, 65535) << "of a grid";
}

TEST(DecodeList, RefusesWhatDoesNotFit) {
  const std::vector<DecodeTile> tiles(5, DecodeTile{0, 300, 0});
  std::vector<DecodeShare> shares(4);
  EXPECT_THROW(DealDecodes(tiles, {4, 49, kRunKeys}, shares), Error) << "more sequences";
  shares.resize(5);
  EXPECT_EQ(DealDecodes(tiles, {5, 49, kRunKeys}, shares), 5) << "room for no more than one each";
  EXPECT_THROW(DealDecodes(tiles, {6, 49, kRunKeys}, shares), Error) << "another list";
  // A wave of two each, for which there is no room.
  const std::vector<DecodeTile> even(5, DecodeTile{0, 512, 0});
  shares.resize(9);
  EXPECT_LE(DealDecodes(even, {9, 10, kRunKeys}, shares), 9);
  EXPECT_THROW(CutDecodes(65536, 1, kBlocksAtOnce, kRunKeys, kMaxKeys), Error);
}

}  // namespace
}  // namespace skein::cuda
