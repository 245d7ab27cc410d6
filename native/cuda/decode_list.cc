#include "cuda/decode_list.h"

#include <algorithm>

#include "core/error.h"

namespace skein::cuda {
namespace {

// A grid's second dimension.
constexpr int64_t kMostShares = 65535;

template <typename T>
T Ceil(T a, T b) {
  return (a + b - 1) / b;
}

// The largest share's keys, nearly: runs are not all of one length.
int64_t KeysOfShare(int context_length, int runs, int shares) {
  return runs == 0 ? 0 : Ceil<int64_t>(int64_t{context_length} * Ceil(runs, shares), runs);
}

// At most `wanted` shares, and no more than there are runs.
int SharesOf(int runs, int64_t wanted) {
  return static_cast<int>(std::clamp<int64_t>(wanted, 1, std::max(1, runs)));
}

// While a list is dealt, it begins with an entry for each tile, whose `index` is the number of its
// runs. These functions set `count`; the sum of all is at most cut.num_shares.

// Where there is room for one wave only: all of it, as evenly as it goes, for within a wave a block
// more costs nothing.
void DealWholeWave(std::span<DecodeShare> tiles, int64_t keys, const DecodeCut& cut) {
  const int64_t spare = cut.num_shares - static_cast<int64_t>(tiles.size());
  int64_t left = spare;
  for (DecodeShare& tile : tiles) {
    tile.count = SharesOf(tile.index, 1 + tile.context_length * spare / keys);
    left -= tile.count - 1;
  }
  // What rounding left makes the largest smaller. Of those that can be.
  const auto keys_of = [](const DecodeShare& tile) {
    return tile.count < tile.index ? KeysOfShare(tile.context_length, tile.index, tile.count) : 0;
  };
  const auto is_smaller = [&](const DecodeShare& a, const DecodeShare& b) {
    return keys_of(a) < keys_of(b);
  };
  std::make_heap(tiles.begin(), tiles.end(), is_smaller);
  for (; left > 0 && keys_of(tiles.front()) > 0; --left) {
    std::pop_heap(tiles.begin(), tiles.end(), is_smaller);
    ++tiles.back().count;
    std::push_heap(tiles.begin(), tiles.end(), is_smaller);
  }
}

// One wave, if there is one of which no share is much larger than an even share: blocks that start
// together and end together are the fastest way, and have the fewest starts.
bool DealOneWave(std::span<DecodeShare> tiles, int64_t keys, const DecodeCut& cut) {
  int total = 0, working = 0;
  for (DecodeShare& tile : tiles) {
    tile.count = SharesOf(tile.index, tile.context_length * int64_t{cut.at_once} / keys);
    total += tile.count;
    if (tile.index > 0) working += tile.count;
    if (working > cut.at_once || total > cut.num_shares) return false;
    const int64_t largest = KeysOfShare(tile.context_length, tile.index, tile.count);
    if (largest * cut.at_once * 10 > keys * 13) return false;
  }
  return true;
}

// Otherwise shares of about the same size, as small as there is room for: those that start last
// then end soon after one another.
void DealEvenly(std::span<DecodeShare> tiles, int64_t keys, const DecodeCut& cut) {
  // Rounded up, all together exceed this by less than one a tile.
  const int64_t spare = cut.num_shares - static_cast<int64_t>(tiles.size());
  for (DecodeShare& tile : tiles) {
    const int runs = std::max(1, tile.index);
    const int most = SharesOf(runs, Ceil<int64_t>(tile.context_length * spare, keys));
    // No more than it takes for the largest to be as small: a start takes time.
    tile.count = Ceil(runs, Ceil(runs, most));
  }
}

}  // namespace

DecodeCut CutDecodes(int num_tiles, int blocks_per_share, int blocks_at_once, int run_keys,
                     int max_keys, int waves) {
  const int at_once = std::max(1, blocks_at_once / std::max(1, blocks_per_share));
  const int64_t tiles = num_tiles, max_runs = std::max(1, RunsOf(max_keys, run_keys));
  if (waves == 0) waves = tiles > 2 * at_once ? kDecodeWaves - 1 : kDecodeWaves;
  // Few sequences fill a wave evenly, the more of them the less so; and idle blocks take time, most
  // of all one that is not of the first wave: behind it no block of the next kernel starts early.
  const int64_t wanted = 4 * tiles;
  const int64_t spare = std::clamp<int64_t>(wanted, at_once, int64_t{waves} * at_once);
  const int64_t room = wanted <= at_once ? at_once : tiles + spare;
  SKEIN_CHECK(tiles <= kMostShares, "%d sequences", num_tiles);
  return {static_cast<int>(std::min({room, tiles * max_runs, kMostShares})), at_once, run_keys};
}

int DealDecodes(std::span<const DecodeTile> tiles, const DecodeCut& cut,
                std::span<DecodeShare> shares) {
  SKEIN_CHECK(shares.size() == static_cast<size_t>(cut.num_shares) && tiles.size() <= shares.size(),
              "%zu shares of %d, %zu sequences", shares.size(), cut.num_shares, tiles.size());
  // Entries and then shares where the list is to be: nothing is allocated.
  const std::span<DecodeShare> dealt = shares.first(tiles.size());
  int64_t keys = 0;
  for (size_t i = 0; i < tiles.size(); ++i) {
    const DecodeTile& tile = tiles[i];
    keys += tile.context_length;
    dealt[i] = {static_cast<int32_t>(i),
                tile.context_length,
                tile.query_row,
                tile.table_row,
                RunsOf(tile.context_length, cut.run_keys),
                1};
  }
  if (keys > 0) {
    if (cut.num_shares <= cut.at_once) {
      DealWholeWave(dealt, keys, cut);
    } else if (!DealOneWave(dealt, keys, cut)) {
      DealEvenly(dealt, keys, cut);
    }
  }
  size_t total = 0;
  for (DecodeShare& tile : dealt) {
    total += static_cast<size_t>(tile.count);
    // What they are put in order by.
    tile.index = static_cast<int32_t>(KeysOfShare(tile.context_length, tile.index, tile.count));
  }
  SKEIN_CHECK(total <= shares.size(), "%zu shares dealt of %zu", total, shares.size());
  std::sort(dealt.begin(), dealt.end(), [](const DecodeShare& a, const DecodeShare& b) {
    return a.index != b.index ? a.index > b.index : a.tile < b.tile;
  });
  std::fill(shares.begin() + static_cast<int64_t>(total), shares.end(),
            DecodeShare{-1, 0, 0, 0, 0, 0});
  // From the end, for shares lie at or behind the entries that they are made of. Of tiles that are
  // alike first the first share of each, which is the largest of its tile, and then the second.
  size_t end = total;
  for (size_t last = dealt.size(); last > 0;) {
    const DecodeShare alike = dealt[last - 1];
    size_t first = last - 1;
    while (first > 0 && dealt[first - 1].index == alike.index &&
           dealt[first - 1].count == alike.count) {
      --first;
    }
    for (int32_t index = alike.count; index-- > 0;) {
      for (size_t i = last; i-- > first;) {
        DecodeShare share = dealt[i];
        share.index = index;
        shares[--end] = share;
      }
    }
    last = first;
  }
  return static_cast<int>(total);
}

}  // namespace skein::cuda
