// Seeded random weights of realistic size, for benchmarks without a checkpoint. Values are keyed by
// place in the source tensor, so every world size sees one and the same model.
#include <cstring>
#include <vector>

#include "core/error.h"
#include "model/weight_source.h"

namespace skein {
namespace {

// SplitMix64's finaliser: a well mixed 64-bit hash of a counter.
uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

uint64_t HashName(const std::string& name) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3ull;
  return hash;
}

// Uniform in [centre - spread, centre + spread].
struct Range {
  float centre, spread;
};

// 0.02 is the standard deviation that such models are initialised with; a uniform range is sqrt(3)
// times as wide. AWQ weights are (q - 8) * scale with q uniform in 0..15: a scale of 0.0043 gives
// the same deviation.
Range RangeOf(const RankTensor& tensor) {
  constexpr float kSpread = 0.0346f;
  if (tensor.part == TensorPart::kAwqScales) return {0.0043f, 0.001f};
  if (tensor.part == TensorPart::kBias) return {0.0f, kSpread};
  switch (tensor.role) {
    case TensorRole::kFinalNorm:
    case TensorRole::kInputNorm:
    case TensorRole::kPostAttentionNorm:
    case TensorRole::kVisionNorm1:
    case TensorRole::kVisionNorm2:
    case TensorRole::kVisionQNorm:
    case TensorRole::kVisionKNorm:
    case TensorRole::kProjectorNorm:
      return {1.0f, 0.1f};
    case TensorRole::kVisionLayerScale1:
    case TensorRole::kVisionLayerScale2:
      return {0.1f, 0.02f};
    default:
      return {0.0f, kSpread};
  }
}

class DummyWeightSource final : public WeightSource {
 public:
  explicit DummyWeightSource(const WeightSourceOptions& options)
      : plan_(*options.plan),
        catalogue_(*options.catalogue),
        meter_(options, options.catalogue->total_slice_bytes()) {}

  void Fill(int64_t tensor_index, const Matrix& dest) override {
    const RankTensor& tensor = plan_.tensors[static_cast<size_t>(tensor_index)];
    for (const int64_t index : catalogue_.slices_of(tensor_index)) {
      const Slice& slice = plan_.slices[static_cast<size_t>(index)];
      const int64_t rows = slice.row_end - slice.row_start, cols = slice.col_end - slice.col_start;
      const Matrix part = dest.Rows(slice.dest_row, rows).Cols(slice.dest_col, cols);
      for (int64_t row = 0; row < rows; ++row) {
        FillRow(tensor, slice, slice.row_start + row, part.Rows(row, 1));
        meter_.Add(cols * static_cast<int64_t>(SizeOf(slice.type)));
      }
    }
  }

  int64_t read_bytes() const override { return 0; }

 private:
  void FillRow(const RankTensor& tensor, const Slice& slice, int64_t row, const Matrix& to) {
    const uint64_t key =
        Mix(plan_.dummy_seed ^ HashName(slice.source_name)) ^ Mix(static_cast<uint64_t>(row));
    const auto first = static_cast<uint64_t>(slice.col_start);
    if (tensor.stored_type == DType::kInt32) {
      auto* words = to.As<uint32_t>();
      for (int64_t i = 0; i < to.cols; ++i) {
        words[i] = tensor.part == TensorPart::kAwqQzeros
                       ? 0x88888888u
                       : static_cast<uint32_t>(Mix(key + first + static_cast<uint64_t>(i)));
      }
      return;
    }
    const Range range = RangeOf(tensor);
    row_.resize(static_cast<size_t>(to.cols));
    for (int64_t i = 0; i < to.cols; ++i) {
      // 24 random bits: every value is exact in float32.
      const auto bits = Mix(key + first + static_cast<uint64_t>(i)) >> 40;
      const float unit = static_cast<float>(bits) * 0x1p-23f - 1.0f;
      row_[static_cast<size_t>(i)] = range.centre + range.spread * unit;
    }
    ConvertElements(row_.data(), DType::kFloat32, to.data, to.type, to.cols);
  }

  const LoadPlan& plan_;
  const TensorCatalogue& catalogue_;
  LoadProgressMeter meter_;
  std::vector<float> row_;
};

}  // namespace

std::unique_ptr<WeightSource> MakeDummyWeightSource(const WeightSourceOptions& options) {
  return std::make_unique<DummyWeightSource>(options);
}

}  // namespace skein
