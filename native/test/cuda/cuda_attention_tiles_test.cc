// The attention of tiles of queries, Hopper's kernel and the tiled one: beside double precision
// over awkward heads, contexts and block sizes, and the bits of a row however its sequence is cut
// in tiles and whatever else is attended to. What no row may read is NaN.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "cuda/device_copy.h"
#include "cuda/device_memory.h"
#include "cuda/kernels/attention.h"
#include "cuda_twin.h"

namespace skein {
namespace {

using cuda::AttentionKernel;
using cuda::QueryTile;

// Rows first .. first + rows - 1 of a sequence are asked for, the keys before them are there.
struct Sequence {
  int first, rows;
};

struct Heads {
  int head_dim;
  std::vector<int32_t> groups;  // query heads of each KV head
  int num_kv_heads() const { return static_cast<int>(groups.size()); }
  int num_heads() const {
    int count = 0;
    for (const int32_t group : groups) count += group;
    return count;
  }
  int kv_head_of(int head) const {
    int kv_head = 0;
    while (head >= groups[static_cast<size_t>(kv_head)]) {
      head -= groups[static_cast<size_t>(kv_head++)];
    }
    return kv_head;
  }
};

template <typename T>
cuda::DeviceMemory Upload(const std::vector<T>& values) {
  cuda::DeviceMemory memory(std::max<size_t>(1, values.size()) * sizeof(T));
  cuda::CopyAndWait(memory.data(), values.data(), values.size() * sizeof(T));
  return memory;
}

std::vector<BFloat16> RandomValues(int64_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<BFloat16> values;
  values.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) values.emplace_back(normal(generator));
  return values;
}

// Softmax of one query over keys key(i), value(i), in double precision.
template <typename At>
std::vector<double> Attend(const BFloat16* q, int head_dim, int num_keys, const At& at) {
  std::vector<double> scores, out(static_cast<size_t>(head_dim));
  double total = 0;
  for (int key = 0; key < num_keys; ++key) {
    double score = 0;
    for (int i = 0; i < head_dim; ++i) {
      score += static_cast<double>(static_cast<float>(q[i])) *
               static_cast<double>(static_cast<float>(at(key, i, false)));
    }
    scores.push_back(score / std::sqrt(static_cast<double>(head_dim)));
  }
  const double most = *std::max_element(scores.begin(), scores.end());
  for (int key = 0; key < num_keys; ++key) {
    const double weight = std::exp(scores[static_cast<size_t>(key)] - most);
    total += weight;
    for (int i = 0; i < head_dim; ++i) {
      out[static_cast<size_t>(i)] +=
          weight * static_cast<double>(static_cast<float>(at(key, i, true)));
    }
  }
  for (double& value : out) value /= total;
  return out;
}

// Relative distance of rows; NaN is infinitely far.
class Distance {
 public:
  void Add(const std::vector<double>& expected, const BFloat16* actual) {
    for (size_t i = 0; i < expected.size(); ++i) {
      const auto value = static_cast<double>(static_cast<float>(actual[i]));
      if (!std::isfinite(value)) is_finite_ = false;
      difference_ += std::pow(value - expected[i], 2);
      norm_ += std::pow(expected[i], 2);
    }
  }
  double value() const {
    return is_finite_ ? std::sqrt(difference_ / norm_) : std::numeric_limits<double>::infinity();
  }

 private:
  double difference_ = 0, norm_ = 0;
  bool is_finite_ = true;
};

class AttentionTilesTest : public CudaOpsTest {
 protected:
  static cuda::Stream& stream() { return *static_cast<cuda::Stream*>(cuda_->stream()); }
};

// Sequences in a paged cache with shuffled blocks; what lies after a sequence's last key is NaN.
class PagedCase {
 public:
  PagedCase(Heads heads, std::vector<Sequence> sequences, int block_size)
      : heads_(std::move(heads)), sequences_(std::move(sequences)), block_size_(block_size) {
    for (const Sequence& sequence : sequences_) {
      first_rows_.push_back(num_rows_);
      num_rows_ += sequence.rows;
      max_blocks_ = std::max(max_blocks_, (sequence.first + sequence.rows) / block_size + 1);
    }
    const int count = static_cast<int>(sequences_.size());
    num_blocks_ = count * max_blocks_ + 1;
    for (int block = 0; block < count * max_blocks_; ++block) table_.push_back(block + 1);
    std::shuffle(table_.begin(), table_.end(), std::mt19937(5));
    const int d = heads_.head_dim, kv_heads = heads_.num_kv_heads();
    const int64_t elements = int64_t{num_blocks_} * kv_heads * block_size * d;
    for (std::vector<BFloat16>* cache : {&keys_, &values_}) {
      *cache = RandomValues(elements, cache == &keys_ ? 1 : 2);
      const BFloat16 nan(std::numeric_limits<float>::quiet_NaN());
      for (int s = 0; s < count; ++s) {
        const Sequence& sequence = sequences_[static_cast<size_t>(s)];
        for (int at = sequence.first + sequence.rows; at < max_blocks_ * block_size; ++at) {
          for (int kv_head = 0; kv_head < kv_heads; ++kv_head) {
            std::fill_n(cache->begin() + Place(s, kv_head, at), d, nan);
          }
        }
      }
    }
    q_ = RandomValues(int64_t{num_rows_} * q_stride(), 3);
    std::vector<int32_t> q_to_kv, starts = {0};
    for (int head = 0; head < heads_.num_heads(); ++head)
      q_to_kv.push_back(heads_.kv_head_of(head));
    for (const int32_t group : heads_.groups) starts.push_back(starts.back() + group);
    device_keys_ = Upload(keys_), device_values_ = Upload(values_), device_q_ = Upload(q_);
    device_table_ = Upload(table_), device_map_ = Upload(q_to_kv), device_starts_ = Upload(starts);
    out_ = cuda::DeviceMemory(static_cast<size_t>(num_rows_ * out_stride()) * 2);
  }

  int out_stride() const { return heads_.num_heads() * heads_.head_dim; }
  int num_rows() const { return num_rows_; }
  const std::vector<Sequence>& sequences() const { return sequences_; }

  // Tiles of these many rows, over and over, of sequence s.
  std::vector<QueryTile> Cut(int s, const std::vector<int>& rows) const {
    const Sequence& sequence = sequences_[static_cast<size_t>(s)];
    std::vector<QueryTile> tiles;
    for (int done = 0, i = 0; done < sequence.rows; ++i) {
      const int count = std::min(rows[static_cast<size_t>(i) % rows.size()], sequence.rows - done);
      tiles.push_back({first_rows_[static_cast<size_t>(s)] + done, count, sequence.first + done,
                       sequence.first + sequence.rows, s});
      done += count;
    }
    return tiles;
  }

  // All rows, NaN where no tile wrote.
  std::vector<BFloat16> Run(const std::vector<QueryTile>& list, int tile_rows,
                            AttentionKernel kernel, cuda::Stream& stream) const {
    const cuda::DeviceMemory tiles = Upload(list);
    SKEIN_CUDA(cudaMemset(out_.data(), 0xff, out_.bytes()));
    SKEIN_CUDA(cudaDeviceSynchronize());
    cuda::PagedPrefillAttention(
        {device_q_.As<const __nv_bfloat16>(), q_stride(), out_.As<__nv_bfloat16>(), out_stride(),
         device_map_.As<int32_t>(), heads_.num_heads(), heads_.head_dim,
         1.0f / std::sqrt(static_cast<float>(heads_.head_dim))},
        {device_keys_.As<const __nv_bfloat16>(), device_values_.As<const __nv_bfloat16>(),
         device_table_.As<int32_t>(), max_blocks_, block_size_, heads_.num_kv_heads(), num_blocks_},
        {device_starts_.As<int32_t>(),
         *std::max_element(heads_.groups.begin(), heads_.groups.end())},
        tiles.As<QueryTile>(), static_cast<int>(list.size()), tile_rows, stream, kernel);
    stream.Synchronize();
    std::vector<BFloat16> values(static_cast<size_t>(num_rows_ * out_stride()));
    cuda::CopyAndWait(values.data(), out_.data(), out_.bytes());
    return values;
  }

  // Of every `step`-th row and the last of each sequence.
  double DistanceOf(const std::vector<BFloat16>& out, int step) const {
    Distance distance;
    for (int s = 0; s < static_cast<int>(sequences_.size()); ++s) {
      const Sequence& sequence = sequences_[static_cast<size_t>(s)];
      for (int i = 0; i < sequence.rows;
           i = std::max(i + 1, std::min(i + step, sequence.rows - 1))) {
        const int64_t row = first_rows_[static_cast<size_t>(s)] + i;
        for (int head = 0; head < heads_.num_heads(); ++head) {
          distance.Add(
              Attend(q_.data() + row * q_stride() + head * heads_.head_dim, heads_.head_dim,
                     sequence.first + i + 1,
                     [&](int key, int column, bool is_value) {
                       const int64_t place = Place(s, heads_.kv_head_of(head), key);
                       return (is_value ? values_ : keys_)[static_cast<size_t>(place + column)];
                     }),
              out.data() + row * out_stride() + head * heads_.head_dim);
        }
      }
    }
    return distance.value();
  }

 private:
  // Keys and values of the same rows lie behind the queries.
  int q_stride() const {
    return (heads_.num_heads() + 2 * heads_.num_kv_heads()) * heads_.head_dim;
  }
  int64_t Place(int s, int kv_head, int position) const {
    const int32_t block = table_[static_cast<size_t>(s * max_blocks_ + position / block_size_)];
    return ((int64_t{block} * heads_.num_kv_heads() + kv_head) * block_size_ +
            position % block_size_) *
           heads_.head_dim;
  }

  const Heads heads_;
  const std::vector<Sequence> sequences_;
  const int block_size_;
  int num_rows_ = 0, max_blocks_ = 0, num_blocks_ = 0;
  std::vector<int> first_rows_;
  std::vector<int32_t> table_;
  std::vector<BFloat16> keys_, values_, q_;
  cuda::DeviceMemory device_keys_, device_values_, device_q_, device_table_, device_map_,
      device_starts_, out_;
};

std::vector<QueryTile> AllTiles(const PagedCase& c, const std::vector<int>& rows) {
  std::vector<QueryTile> tiles;
  for (int s = 0; s < static_cast<int>(c.sequences().size()); ++s) {
    const std::vector<QueryTile> more = c.Cut(s, rows);
    tiles.insert(tiles.end(), more.begin(), more.end());
  }
  return tiles;
}

TEST_F(AttentionTilesTest, PagedAgreesWithDoublePrecision) {
  const std::vector<Sequence> sequences = {{0, 1},    {0, 15},    {127, 1}, {128, 2}, {5, 200},
                                           {300, 90}, {1000, 41}, {0, 650}, {383, 1}};
  std::vector<Heads> all_heads = {{128, {5, 5}}, {64, {7, 7}},  {128, {4, 5, 1}}, {128, {1}},
                                  {128, {16}},   {128, {0, 7}}, {80, {2}},        {72, {3}},
                                  {8, {4}},      {20, {2}}};
  all_heads.resize(static_cast<size_t>(Times(10, 2)));
  for (const Heads& heads : all_heads) {
    // 12 keys a block are no whole sixteens.
    for (const int block_size : {16, 32, 48, 12}) {
      if (block_size != 16 && (IsUnderChecker() || heads.head_dim % 64 != 0)) continue;
      const PagedCase c(heads, sequences, block_size);
      for (const AttentionKernel kernel : {AttentionKernel::kBest, AttentionKernel::kTiled}) {
        for (const int tile_rows : {64, 128}) {
          const auto out = c.Run(AllTiles(c, {tile_rows}), tile_rows, kernel, stream());
          EXPECT_LT(c.DistanceOf(out, Times(97, 400)), 3 * kRounding)
              << "head_dim " << heads.head_dim << ", " << heads.groups.size() << " KV heads of "
              << heads.groups[0] << ", blocks of " << block_size << ", "
              << (kernel == AttentionKernel::kBest ? "best" : "tiled") << ", tiles of "
              << tile_rows;
        }
      }
    }
  }
}

TEST_F(AttentionTilesTest, PagedBitsAreTheRowsOwn) {
  for (const Heads& heads : {Heads{128, {5, 5}}, Heads{64, {3, 2}}}) {
    const PagedCase c(heads, {{0, 700}, {77, 300}, {500, 1}, {0, 129}}, 16);
    for (const AttentionKernel kernel : {AttentionKernel::kBest, AttentionKernel::kTiled}) {
      const std::vector<BFloat16> whole = c.Run(AllTiles(c, {128}), 128, kernel, stream());
      const auto expect_same = [&](std::vector<QueryTile> tiles, int tile_rows) {
        std::shuffle(tiles.begin(), tiles.end(), generator_);
        const std::vector<BFloat16> out = c.Run(tiles, tile_rows, kernel, stream());
        for (const QueryTile& tile : tiles) {
          const auto begin = static_cast<size_t>(tile.query_row * c.out_stride());
          const auto bytes = static_cast<size_t>(tile.num_rows * c.out_stride()) * 2;
          EXPECT_EQ(std::memcmp(out.data() + begin, whole.data() + begin, bytes), 0)
              << tile.num_rows << " rows at " << tile.first_position << " of sequence "
              << tile.table_row << ", head_dim " << heads.head_dim;
        }
      };
      expect_same(AllTiles(c, {128}), 128);
      expect_same(AllTiles(c, {64}), 64);
      if (IsUnderChecker()) continue;
      expect_same(AllTiles(c, {1, 63, 17, 128, 2}), 128);
      expect_same(AllTiles(c, {13}), 64);
      expect_same(AllTiles(c, {1}), 64);
      // Alone.
      for (int s = 0; s < 4; ++s) expect_same(c.Cut(s, {100}), 128);
    }
  }
}

// Tiles of no rows make a zero row of each of theirs, and nothing else.
TEST_F(AttentionTilesTest, PaddedRowsAreZero) {
  const PagedCase c(Heads{128, {5, 5}}, {{90, 1}, {0, 1}, {0, 1}}, 16);
  for (const AttentionKernel kernel : {AttentionKernel::kBest, AttentionKernel::kTiled}) {
    const std::vector<BFloat16> alone = c.Run(c.Cut(0, {1}), 64, kernel, stream());
    std::vector<QueryTile> tiles = c.Cut(0, {1});
    tiles.push_back({1, 0, 0, 0, 0});
    const std::vector<BFloat16> out = c.Run(tiles, 64, kernel, stream());
    const auto width = static_cast<size_t>(c.out_stride());
    for (size_t i = 0; i < width; ++i) {
      ASSERT_EQ(static_cast<float>(out[i]), static_cast<float>(alone[i]));
      ASSERT_EQ(static_cast<float>(out[width + i]), 0.0f);
      ASSERT_TRUE(std::isnan(static_cast<float>(out[2 * width + i])));
    }
  }
}

// The second sequence is all NaN: the others neither multiply with it nor mask it away too late.
TEST_F(AttentionTilesTest, ContiguousAgreesAndKeepsToItsSequence) {
  struct Case {
    int rows, heads, head_dim;
  };
  for (const Case& at : {Case{1025, 2, 128}, Case{300, 3, 64}, Case{177, 2, 80}, Case{40, 1, 20},
                         Case{176, 1, 128}, Case{1, 2, 64}}) {
    if (IsUnderChecker() && at.rows > 500) continue;
    constexpr int kSequences = 3;
    const int width = at.heads * at.head_dim, stride = 3 * width;
    std::vector<BFloat16> qkv = RandomValues(int64_t{kSequences} * at.rows * stride, 4);
    std::fill_n(qkv.begin() + int64_t{at.rows} * stride, at.rows * stride,
                BFloat16(std::numeric_limits<float>::quiet_NaN()));
    const cuda::DeviceMemory device = Upload(qkv);
    const cuda::DeviceMemory out(static_cast<size_t>(kSequences * at.rows * width) * 2);
    const auto* base = device.As<const __nv_bfloat16>();
    for (const AttentionKernel kernel : {AttentionKernel::kBest, AttentionKernel::kTiled}) {
      std::vector<BFloat16> first;
      for (const std::vector<int>& cut : {std::vector<int>{128}, {64}, {5, 100, 64, 1}}) {
        std::vector<QueryTile> list;
        for (int s = 0; s < kSequences; ++s) {
          for (int done = 0, i = 0; done < at.rows; ++i) {
            const int rows = std::min(cut[static_cast<size_t>(i) % cut.size()], at.rows - done);
            list.push_back({s * at.rows + done, rows, done, at.rows, s * at.rows});
            done += rows;
          }
        }
        const cuda::DeviceMemory tiles = Upload(list);
        SKEIN_CUDA(cudaMemset(out.data(), 0xff, out.bytes()));
        SKEIN_CUDA(cudaDeviceSynchronize());
        cuda::ContiguousAttention({base, stride, out.As<__nv_bfloat16>(), width, nullptr, at.heads,
                                   at.head_dim, 1.0f / std::sqrt(static_cast<float>(at.head_dim))},
                                  {base + width, base + 2 * width, stride, at.rows, kSequences},
                                  tiles.As<QueryTile>(), static_cast<int>(list.size()),
                                  cut[0] == 64 ? 64 : 128, stream(), kernel);
        stream().Synchronize();
        std::vector<BFloat16> values(static_cast<size_t>(kSequences * at.rows * width));
        cuda::CopyAndWait(values.data(), out.data(), out.bytes());
        Distance distance;
        for (const int s : {0, 2}) {
          for (int row = 0; row < at.rows;
               row += row == at.rows - 1 ? 1 : std::min(67, at.rows - 1 - row)) {
            for (int head = 0; head < at.heads; ++head) {
              const BFloat16* of = qkv.data() + int64_t{s} * at.rows * stride + head * at.head_dim;
              distance.Add(
                  Attend(of + int64_t{row} * stride, at.head_dim, at.rows,
                         [&](int key, int column, bool is_value) {
                           return of[int64_t{key} * stride + (is_value ? 2 : 1) * width + column];
                         }),
                  values.data() + (int64_t{s} * at.rows + row) * width + head * at.head_dim);
            }
          }
        }
        EXPECT_LT(distance.value(), 3 * kRounding)
            << at.rows << " rows, head_dim " << at.head_dim << ", tiles of " << cut[0];
        if (first.empty()) first = values;
        const size_t bytes = static_cast<size_t>(at.rows * width) * 2;
        EXPECT_EQ(std::memcmp(values.data(), first.data(), bytes), 0)
            << at.rows << " rows, head_dim " << at.head_dim << ", tiles of " << cut[0];
      }
    }
  }
}

}  // namespace
}  // namespace skein
