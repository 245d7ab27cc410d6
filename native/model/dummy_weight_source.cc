// Seeded random weights of realistic size, for benchmarks without a checkpoint. Values are keyed by
// place in the source tensor, so every world size sees one and the same model.
#include <algorithm>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "core/float8.h"
#include "model/weight_source.h"

namespace skein {
namespace {

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
  // float8 weights over all that the type holds; inputs, which norms leave within some ten, too.
  if (tensor.part == TensorPart::kFloat8Scales) return {kSpread / kFloat8Max, 1e-5f};
  if (tensor.part == TensorPart::kFloat8InputScales) return {0.02f, 0.005f};
  if (tensor.stored_type == DType::kFloat8E4M3) return {0.0f, kFloat8Max};
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
    const DType stored = plan_.tensors[static_cast<size_t>(tensor_index)].stored_type;
    for (const RandomBlock& block : BlocksOf(tensor_index)) {
      for (int64_t row = 0; row < block.rows; ++row) {
        FillRow(block, row, dest.Rows(block.dest_row + row, 1).Cols(block.dest_col, block.cols));
        meter_.Add(block.cols * static_cast<int64_t>(SizeOf(stored)));
      }
    }
  }

  // Row by row, as far as a buffer goes.
  void Stream(int64_t tensor_index, const Matrix& dest, WeightStream& stream) override {
    const DType stored = plan_.tensors[static_cast<size_t>(tensor_index)].stored_type;
    for (const RandomBlock& block : BlocksOf(tensor_index)) {
      const Matrix part = dest.Rows(block.dest_row, block.rows).Cols(block.dest_col, block.cols);
      if (part.cols == 0) continue;
      const auto step = static_cast<int64_t>(stream.buffer_bytes() / part.RowBytes());
      for (int64_t start = 0; start < part.rows; start += step) {
        const int64_t rows = std::min(step, part.rows - start);
        const Matrix buffer = MakeMatrix(stream.NextBuffer(), dest.type, rows, part.cols);
        for (int64_t row = 0; row < rows; ++row) {
          FillRow(block, start + row, buffer.Rows(row, 1));
        }
        stream.Send(buffer, part.Rows(start, rows));
        meter_.Add(rows * part.cols * static_cast<int64_t>(SizeOf(stored)));
      }
    }
  }

  std::vector<RandomBlock> TakeBlocks(int64_t tensor_index) override {
    const DType stored = plan_.tensors[static_cast<size_t>(tensor_index)].stored_type;
    std::vector<RandomBlock> blocks = BlocksOf(tensor_index);
    for (const RandomBlock& block : blocks) {
      meter_.Add(block.rows * block.cols * static_cast<int64_t>(SizeOf(stored)));
    }
    return blocks;
  }

  int64_t read_bytes() const override { return 0; }

 private:
  std::vector<RandomBlock> BlocksOf(int64_t tensor_index) const {
    const RankTensor& tensor = plan_.tensors[static_cast<size_t>(tensor_index)];
    const Range range = RangeOf(tensor);
    std::vector<RandomBlock> blocks;
    for (const int64_t index : catalogue_.slices_of(tensor_index)) {
      const Slice& slice = plan_.slices[static_cast<size_t>(index)];
      RandomBlock block;
      if (tensor.stored_type == DType::kInt32) {
        block.kind = tensor.part == TensorPart::kAwqQzeros ? RandomBlock::Kind::kZeroPoints
                                                           : RandomBlock::Kind::kWords;
      }
      block.key = MixBits(plan_.dummy_seed ^ HashName(slice.source_name));
      block.centre = range.centre;
      block.spread = range.spread;
      block.first_row = slice.row_start;
      block.first_col = slice.col_start;
      block.rows = slice.row_end - slice.row_start;
      block.cols = slice.col_end - slice.col_start;
      block.dest_row = slice.dest_row;
      block.dest_col = slice.dest_col;
      blocks.push_back(block);
    }
    return blocks;
  }

  void FillRow(const RandomBlock& block, int64_t row, const Matrix& to) {
    const uint64_t key = RowKey(block.key, block.first_row + row);
    if (block.kind != RandomBlock::Kind::kUniform) {
      auto* words = to.As<uint32_t>();
      for (int64_t i = 0; i < to.cols; ++i) {
        words[i] = block.kind == RandomBlock::Kind::kZeroPoints
                       ? kZeroPointWord
                       : static_cast<uint32_t>(RandomBits(key, block.first_col + i));
      }
      return;
    }
    row_.resize(static_cast<size_t>(to.cols));
    for (int64_t i = 0; i < to.cols; ++i) {
      const float unit = UnitOf(RandomBits(key, block.first_col + i));
      row_[static_cast<size_t>(i)] = block.centre + block.spread * unit;
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
