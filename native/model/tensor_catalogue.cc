#include "model/tensor_catalogue.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/error.h"

namespace skein {
namespace {

bool IsTowerLinear(TensorRole role) {
  return role == TensorRole::kVisionQkv || role == TensorRole::kVisionProj ||
         role == TensorRole::kVisionFc1 || role == TensorRole::kVisionFc2;
}

bool IsDecoderLinear(TensorRole role) {
  return role == TensorRole::kQkv || role == TensorRole::kOProj || role == TensorRole::kGateUp ||
         role == TensorRole::kDown;
}

// Types that convert into each other, or only into themselves.
int ClassOf(DType type) { return type == DType::kInt32 ? 1 : type == DType::kFloat8E4M3 ? 2 : 0; }

int64_t SliceBytes(const Slice& slice) {
  return (slice.row_end - slice.row_start) * (slice.col_end - slice.col_start) *
         static_cast<int64_t>(SizeOf(slice.type));
}

// Far above every known tensor; sums of bytes over as many as a plan can name stay within int64.
constexpr int64_t kMaxElements = int64_t{1} << 40;

bool IsMatrix(int64_t rows, int64_t cols) {
  return rows >= 0 && cols >= 0 && rows <= kMaxElements / std::max<int64_t>(cols, 1);
}

// Requirements of one model on one rank, checked one by one against the catalogue and counted, so
// that extras show.
class ShapeChecker {
 public:
  ShapeChecker(const LoadPlan& plan, const TensorCatalogue& catalogue)
      : plan_(plan), catalogue_(catalogue) {}

  int64_t num_required() const { return num_required_; }

  void Require(TensorRole role, TensorPart part, int64_t layer, int64_t rows, int64_t cols) {
    const int64_t index = catalogue_.Find(role, part, layer);
    if (index < 0) {
      throw Error("INVALID_REQUEST", Format("tensors: %s %s of layer %lld is missing", Name(role),
                                            Name(part), static_cast<long long>(layer)));
    }
    const RankTensor& tensor = plan_.tensors[static_cast<size_t>(index)];
    if (tensor.rows != rows || tensor.cols != cols) {
      throw Error("INVALID_REQUEST",
                  Format("tensors[%lld]: %s is %lld x %lld, the layout needs %lld x %lld",
                         static_cast<long long>(index), Describe(tensor).c_str(),
                         static_cast<long long>(tensor.rows), static_cast<long long>(tensor.cols),
                         static_cast<long long>(rows), static_cast<long long>(cols)));
    }
    const bool is_packed = part == TensorPart::kAwqQweight || part == TensorPart::kAwqQzeros;
    const bool is_weight = part == TensorPart::kWeight;
    const bool is_linear = IsDecoderLinear(role) && is_weight;
    const bool may_quantize = is_linear || (IsTowerLinear(role) && is_weight);
    const bool is_float8 = tensor.stored_type == DType::kFloat8E4M3;
    if (is_packed != (tensor.stored_type == DType::kInt32) || (is_float8 && !is_linear)) {
      throw Error("INVALID_REQUEST",
                  Format("tensors[%lld]: %s is stored as %s", static_cast<long long>(index),
                         Describe(tensor).c_str(), Name(tensor.stored_type)));
    }
    if (tensor.quantize_to_float8 && (is_float8 || !may_quantize)) {
      throw Error("INVALID_REQUEST",
                  Format("tensors[%lld]: %s is not to be quantised", static_cast<long long>(index),
                         Describe(tensor).c_str()));
    }
    ++num_required_;
  }

  void Vector(TensorRole role, int64_t layer, int64_t width) {
    Require(role, TensorPart::kWeight, layer, 1, width);
  }
  void Bias(TensorRole role, int64_t layer, int64_t width) {
    Require(role, TensorPart::kBias, layer, 1, width);
  }

  // A linear of the decoder in any format.
  void Linear(TensorRole role, int64_t layer, int64_t out, int64_t in) {
    if (!catalogue_.IsAwq(role, layer)) {
      Require(role, TensorPart::kWeight, layer, out, in);
      const int64_t index = catalogue_.Find(role, TensorPart::kWeight, layer);
      if (plan_.tensors[static_cast<size_t>(index)].stored_type == DType::kFloat8E4M3) {
        Float8Scales(role, layer, out);
      }
      return;
    }
    const int64_t group = plan_.text.awq_group_size;
    const int64_t index = catalogue_.Find(role, TensorPart::kAwqQweight, layer);
    const int64_t offset = plan_.tensors[static_cast<size_t>(index)].awq_group_offset;
    if (group <= 0 || offset < 0 || offset >= group || out % 8 != 0) {
      throw Error("INVALID_REQUEST",
                  Format("tensors[%lld]: %s needs text.awqGroupSize > 0, a group offset below it "
                         "and a multiple of 8 columns; they are %lld, %lld and %lld",
                         static_cast<long long>(index), Name(role), static_cast<long long>(group),
                         static_cast<long long>(offset), static_cast<long long>(out)));
    }
    const int64_t groups = (offset + in + group - 1) / group;
    if (catalogue_.IsMixed(role, layer)) {
      Require(role, TensorPart::kWeight, layer, out, in);
      CheckMixture(role, layer, out);
    }
    Require(role, TensorPart::kAwqQweight, layer, in, out / 8);
    Require(role, TensorPart::kAwqQzeros, layer, groups, out / 8);
    Require(role, TensorPart::kAwqScales, layer, groups, out);
  }

 private:
  // Of the weight: one an output, or one for all outputs of each linear in the product. Of the
  // inputs: none, or one of each linear.
  void Float8Scales(TensorRole role, int64_t layer, int64_t out) {
    const auto linears = static_cast<int64_t>(LinearWidths(plan_, role).size());
    const int64_t index = catalogue_.Find(role, TensorPart::kFloat8Scales, layer);
    const bool is_whole = index >= 0 && plan_.tensors[static_cast<size_t>(index)].rows == linears;
    Require(role, TensorPart::kFloat8Scales, layer, is_whole ? linears : out, 1);
    if (catalogue_.Find(role, TensorPart::kFloat8InputScales, layer) >= 0) {
      Require(role, TensorPart::kFloat8InputScales, layer, linears, 1);
    }
  }

  // Every output is held once: by a row of the weight or by a column of each part of the triple.
  void CheckMixture(TensorRole role, int64_t layer, int64_t out) {
    std::vector<int> held(static_cast<size_t>(out));
    for (const int64_t index : SlicesOf(role, TensorPart::kWeight, layer)) {
      const Slice& s = plan_.slices[static_cast<size_t>(index)];
      for (int64_t i = 0; i < s.row_end - s.row_start; ++i)
        ++held[static_cast<size_t>(s.dest_row + i)];
    }
    for (const auto& [part, width] :
         {std::pair{TensorPart::kAwqQweight, 8}, std::pair{TensorPart::kAwqQzeros, 8},
          std::pair{TensorPart::kAwqScales, 1}}) {
      std::vector<int> both = held;
      for (const int64_t index : SlicesOf(role, part, layer)) {
        const Slice& s = plan_.slices[static_cast<size_t>(index)];
        for (int64_t i = 0; i < (s.col_end - s.col_start) * width; ++i) {
          ++both[static_cast<size_t>(s.dest_col * width + i)];
        }
      }
      if (std::any_of(both.begin(), both.end(), [](int count) { return count != 1; })) {
        throw Error("INVALID_REQUEST",
                    Format("%s of layer %lld: an output is not held once by its weight and its %s",
                           Name(role), static_cast<long long>(layer), Name(part)));
      }
    }
  }

  const std::vector<int64_t>& SlicesOf(TensorRole role, TensorPart part, int64_t layer) const {
    return catalogue_.slices_of(catalogue_.Find(role, part, layer));
  }

  const LoadPlan& plan_;
  const TensorCatalogue& catalogue_;
  int64_t num_required_ = 0;
};

void RequireText(const LoadPlan& plan, ShapeChecker& check) {
  const TextSpec& text = plan.text;
  const RankLayout& layout = plan.layout;
  const int64_t h = text.hidden_size;
  const int64_t q = layout.num_q_heads * text.head_dim;
  const int64_t qkv = q + 2 * layout.num_kv_heads * text.head_dim;
  check.Require(TensorRole::kTokenEmbedding, TensorPart::kWeight, 0, layout.vocab_rows, h);
  check.Require(TensorRole::kLmHead, TensorPart::kWeight, 0, layout.vocab_rows, h);
  check.Vector(TensorRole::kFinalNorm, 0, h);
  for (int64_t layer = 0; layer < text.num_layers; ++layer) {
    check.Vector(TensorRole::kInputNorm, layer, h);
    check.Vector(TensorRole::kPostAttentionNorm, layer, h);
    check.Linear(TensorRole::kQkv, layer, qkv, h);
    check.Bias(TensorRole::kQkv, layer, qkv);
    check.Linear(TensorRole::kOProj, layer, h, q);
    check.Linear(TensorRole::kGateUp, layer, 2 * layout.intermediate_size, h);
    check.Linear(TensorRole::kDown, layer, h, layout.intermediate_size);
  }
}

void RequireVision(const LoadPlan& plan, ShapeChecker& check) {
  const VisionSpec& vision = plan.vision;
  const RankLayout& layout = plan.layout;
  const int64_t h = vision.hidden_size;
  const int64_t heads = layout.vision_num_heads * vision.head_dim;
  const int64_t grid = vision.image_size / vision.patch_size;
  const int64_t patch = vision.num_channels * vision.patch_size * vision.patch_size;
  const int64_t width = layout.vision_intermediate_size;
  check.Vector(TensorRole::kVisionClassEmbedding, 0, h);
  check.Require(TensorRole::kVisionPositionEmbedding, TensorPart::kWeight, 0, grid * grid + 1, h);
  check.Require(TensorRole::kVisionPatchEmbedding, TensorPart::kWeight, 0, h, patch);
  check.Bias(TensorRole::kVisionPatchEmbedding, 0, h);
  for (int64_t layer = 0; layer < vision.num_layers; ++layer) {
    for (const TensorRole norm : {TensorRole::kVisionNorm1, TensorRole::kVisionNorm2}) {
      check.Vector(norm, layer, h);
      if (vision.norm_kind == NormKind::kLayer) check.Bias(norm, layer, h);
    }
    check.Require(TensorRole::kVisionQkv, TensorPart::kWeight, layer, 3 * heads, h);
    if (vision.qkv_bias) check.Bias(TensorRole::kVisionQkv, layer, 3 * heads);
    if (vision.qk_normalization) {
      check.Vector(TensorRole::kVisionQNorm, layer, heads);
      check.Vector(TensorRole::kVisionKNorm, layer, heads);
    }
    check.Require(TensorRole::kVisionProj, TensorPart::kWeight, layer, h, heads);
    check.Bias(TensorRole::kVisionProj, layer, h);
    check.Require(TensorRole::kVisionFc1, TensorPart::kWeight, layer, width, h);
    check.Bias(TensorRole::kVisionFc1, layer, width);
    check.Require(TensorRole::kVisionFc2, TensorPart::kWeight, layer, h, width);
    check.Bias(TensorRole::kVisionFc2, layer, h);
    check.Vector(TensorRole::kVisionLayerScale1, layer, h);
    check.Vector(TensorRole::kVisionLayerScale2, layer, h);
  }
  const int64_t folded = h * vision.shuffle_factor * vision.shuffle_factor;
  check.Vector(TensorRole::kProjectorNorm, 0, folded);
  check.Bias(TensorRole::kProjectorNorm, 0, folded);
  check.Require(TensorRole::kProjectorFc1, TensorPart::kWeight, 0, layout.projector_size, folded);
  check.Bias(TensorRole::kProjectorFc1, 0, layout.projector_size);
  check.Require(TensorRole::kProjectorFc2, TensorPart::kWeight, 0, plan.text.hidden_size,
                layout.projector_size);
  check.Bias(TensorRole::kProjectorFc2, 0, plan.text.hidden_size);
}

}  // namespace

TensorCatalogue::TensorCatalogue(const LoadPlan& plan) {
  Index(plan);
  CheckSlices(plan);
  CheckShapes(plan);
}

int64_t TensorCatalogue::Find(TensorRole role, TensorPart part, int64_t layer) const {
  const auto found = index_.find({role, part, layer});
  return found == index_.end() ? -1 : found->second;
}

void TensorCatalogue::Index(const LoadPlan& plan) {
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    const RankTensor& tensor = plan.tensors[i];
    if (!IsMatrix(tensor.rows, tensor.cols)) {
      throw Error("INVALID_REQUEST",
                  Format("tensors[%zu]: %s has %lld x %lld elements", i, Describe(tensor).c_str(),
                         static_cast<long long>(tensor.rows), static_cast<long long>(tensor.cols)));
    }
    const Key key{tensor.role, tensor.part, tensor.layer};
    if (!index_.emplace(key, static_cast<int64_t>(i)).second) {
      throw Error("INVALID_REQUEST",
                  Format("tensors[%zu]: %s is given twice", i, Describe(tensor).c_str()));
    }
    if (tensor.tied_to_embedding && tensor.role != TensorRole::kLmHead) {
      throw Error("INVALID_REQUEST",
                  Format("tensors[%zu]: only the lm-head can be tied to the embedding", i));
    }
  }
}

void TensorCatalogue::CheckSlices(const LoadPlan& plan) {
  slices_of_.assign(plan.tensors.size(), {});
  const auto num_tensors = static_cast<int64_t>(plan.tensors.size());
  const auto num_files = static_cast<int64_t>(plan.files.size());
  for (size_t i = 0; i < plan.slices.size(); ++i) {
    const Slice& s = plan.slices[i];
    const bool in_source = IsMatrix(s.source_rows, s.source_cols) && 0 <= s.row_start &&
                           s.row_start <= s.row_end && s.row_end <= s.source_rows &&
                           0 <= s.col_start && s.col_start <= s.col_end &&
                           s.col_end <= s.source_cols;
    const bool has_tensor = 0 <= s.tensor_index && s.tensor_index < num_tensors;
    const bool has_file = plan.dummy_weights || (0 <= s.file_index && s.file_index < num_files);
    if (!in_source || !has_tensor || !has_file || s.data_offset < 0) {
      throw Error("INVALID_REQUEST",
                  Format("slices[%zu] of %s: a range or an index is out of range", i,
                         s.source_name.c_str()));
    }
    const RankTensor& tensor = plan.tensors[static_cast<size_t>(s.tensor_index)];
    const bool in_tensor = 0 <= s.dest_row && 0 <= s.dest_col &&
                           s.dest_row + (s.row_end - s.row_start) <= tensor.rows &&
                           s.dest_col + (s.col_end - s.col_start) <= tensor.cols;
    if (!in_tensor || ClassOf(tensor.stored_type) != ClassOf(s.type)) {
      throw Error("INVALID_REQUEST", Format("slices[%zu] of %s does not fit into %s", i,
                                            s.source_name.c_str(), Describe(tensor).c_str()));
    }
    if (!plan.dummy_weights) {
      const WeightFile& file = plan.files[static_cast<size_t>(s.file_index)];
      const int64_t end =
          s.data_offset + s.source_rows * s.source_cols * static_cast<int64_t>(SizeOf(s.type));
      if (end > file.size_bytes) {
        throw Error("CORRUPT_WEIGHTS",
                    Format("%s: tensor %s ends at byte %lld, but the file has %lld bytes",
                           file.path.c_str(), s.source_name.c_str(), static_cast<long long>(end),
                           static_cast<long long>(file.size_bytes)));
      }
    }
    slices_of_[static_cast<size_t>(s.tensor_index)].push_back(static_cast<int64_t>(i));
    total_slice_bytes_ += SliceBytes(s);
  }
  for (int64_t t = 0; t < num_tensors; ++t) {
    std::vector<int64_t>& list = slices_of_[static_cast<size_t>(t)];
    std::sort(list.begin(), list.end(), [&](int64_t a, int64_t b) {
      const Slice& x = plan.slices[static_cast<size_t>(a)];
      const Slice& y = plan.slices[static_cast<size_t>(b)];
      return std::tie(x.file_index, x.data_offset, x.row_start, x.col_start) <
             std::tie(y.file_index, y.data_offset, y.row_start, y.col_start);
    });
    CheckCoverage(plan, t);
  }
}

// Every element of a tensor comes from exactly one slice; rows of padding (vocabulary) from none.
void TensorCatalogue::CheckCoverage(const LoadPlan& plan, int64_t tensor_index) const {
  const RankTensor& tensor = plan.tensors[static_cast<size_t>(tensor_index)];
  const bool is_vocab =
      tensor.role == TensorRole::kTokenEmbedding || tensor.role == TensorRole::kLmHead;
  const int64_t rows = tensor.tied_to_embedding ? 0
                       : is_vocab               ? plan.layout.vocab_valid_rows
                                                : tensor.rows;
  const std::vector<int64_t>& list = slices_of(tensor_index);
  int64_t covered = 0;
  for (size_t i = 0; i < list.size(); ++i) {
    const Slice& a = plan.slices[static_cast<size_t>(list[i])];
    const int64_t a_rows = a.row_end - a.row_start, a_cols = a.col_end - a.col_start;
    covered += a_rows * a_cols;
    bool is_misplaced = a.dest_row + a_rows > rows;
    for (size_t j = 0; j < i && !is_misplaced; ++j) {
      const Slice& b = plan.slices[static_cast<size_t>(list[j])];
      is_misplaced =
          a.dest_row < b.dest_row + (b.row_end - b.row_start) && b.dest_row < a.dest_row + a_rows &&
          a.dest_col < b.dest_col + (b.col_end - b.col_start) && b.dest_col < a.dest_col + a_cols;
    }
    if (is_misplaced) {
      throw Error(
          "INVALID_REQUEST",
          Format("slices[%lld] of %s overlaps another slice or padding of %s",
                 static_cast<long long>(list[i]), a.source_name.c_str(), Describe(tensor).c_str()));
    }
  }
  // What a mixture leaves empty is checked with its shapes, over all its parts.
  const bool may_have_gaps = tensor.part != TensorPart::kBias && IsMixed(tensor.role, tensor.layer);
  if (covered != rows * tensor.cols && !may_have_gaps) {
    throw Error("INVALID_REQUEST",
                Format("tensors[%lld]: slices cover %lld of %lld elements of %s",
                       static_cast<long long>(tensor_index), static_cast<long long>(covered),
                       static_cast<long long>(rows * tensor.cols), Describe(tensor).c_str()));
  }
}

void TensorCatalogue::CheckShapes(const LoadPlan& plan) {
  ShapeChecker check(plan, *this);
  RequireText(plan, check);
  if (plan.has_vision) RequireVision(plan, check);
  if (check.num_required() != static_cast<int64_t>(plan.tensors.size())) {
    throw Error("INVALID_REQUEST",
                Format("tensors: %zu are given, this model has %lld on a rank", plan.tensors.size(),
                       static_cast<long long>(check.num_required())));
  }
}

}  // namespace skein
