#include "model/dummy_slices.h"

#include <algorithm>

#include "core/error.h"
#include "model/tensor_catalogue.h"

namespace skein {
namespace {

// A run of output features of a fused linear: `count` of them, the first being number `start` of
// its unfused source.
struct Piece {
  const char* name;
  int64_t start, count;
};

// The output features of a rank's linear, and where its input features start.
struct Placement {
  std::vector<Piece> outputs;
  int64_t input_start = 0;
};

Placement TextPlacement(const LoadPlan& plan, const RankTensor& tensor, int64_t outputs) {
  const RankLayout& layout = plan.layout;
  const int64_t d = plan.text.head_dim;
  switch (tensor.role) {
    case TensorRole::kQkv:
      return {{{"q", layout.q_head_start * d, layout.num_q_heads * d},
               {"k", layout.kv_head_start * d, layout.num_kv_heads * d},
               {"v", layout.kv_head_start * d, layout.num_kv_heads * d}},
              0};
    case TensorRole::kGateUp:
      return {{{"gate", layout.intermediate_start, layout.intermediate_size},
               {"up", layout.intermediate_start, layout.intermediate_size}},
              0};
    case TensorRole::kOProj:
      return {{{"all", 0, outputs}}, layout.q_head_start * d};
    case TensorRole::kDown:
      return {{{"all", 0, outputs}}, layout.intermediate_start};
    case TensorRole::kTokenEmbedding:
    case TensorRole::kLmHead:
      return {{{"all", layout.vocab_start, layout.vocab_valid_rows}}, 0};
    default:
      return {{{"all", 0, outputs}}, 0};
  }
}

Placement VisionPlacement(const LoadPlan& plan, const RankTensor& tensor, int64_t outputs) {
  const RankLayout& layout = plan.layout;
  const int64_t head_start = layout.vision_head_start * plan.vision.head_dim;
  const int64_t width = layout.vision_num_heads * plan.vision.head_dim;
  switch (tensor.role) {
    case TensorRole::kVisionQkv:
      return {{{"q", head_start, width}, {"k", head_start, width}, {"v", head_start, width}}, 0};
    case TensorRole::kVisionQNorm:
    case TensorRole::kVisionKNorm:
      return {{{"all", head_start, outputs}}, 0};
    case TensorRole::kVisionProj:
      return {{{"all", 0, outputs}}, head_start};
    case TensorRole::kVisionFc1:
      return {{{"all", layout.vision_intermediate_start, outputs}}, 0};
    case TensorRole::kVisionFc2:
      return {{{"all", 0, outputs}}, layout.vision_intermediate_start};
    case TensorRole::kProjectorFc1:
      return {{{"all", layout.projector_start, outputs}}, 0};
    case TensorRole::kProjectorFc2:
      return {{{"all", 0, outputs}}, layout.projector_start};
    default:
      return {{{"all", 0, outputs}}, 0};
  }
}

bool IsVision(TensorRole role) { return role >= TensorRole::kVisionClassEmbedding; }

// Biases and the weights of norms and scales run along the outputs, whatever the inputs' cut.
bool IsVector(const RankTensor& tensor) {
  switch (tensor.role) {
    case TensorRole::kFinalNorm:
    case TensorRole::kInputNorm:
    case TensorRole::kPostAttentionNorm:
    case TensorRole::kVisionClassEmbedding:
    case TensorRole::kVisionNorm1:
    case TensorRole::kVisionNorm2:
    case TensorRole::kVisionQNorm:
    case TensorRole::kVisionKNorm:
    case TensorRole::kVisionLayerScale1:
    case TensorRole::kVisionLayerScale2:
    case TensorRole::kProjectorNorm:
      return true;
    default:
      return tensor.part == TensorPart::kBias;
  }
}

bool IsFloat8Scales(TensorPart part) {
  return part == TensorPart::kFloat8Scales || part == TensorPart::kFloat8InputScales;
}

// Makes the slices of one tensor.
class SliceMaker {
 public:
  SliceMaker(const LoadPlan& plan, int64_t tensor_index, std::vector<Slice>* slices)
      : plan_(plan),
        tensor_(plan.tensors[static_cast<size_t>(tensor_index)]),
        tensor_index_(tensor_index),
        slices_(slices) {}

  void Make() {
    if (tensor_.tied_to_embedding) return;
    if (IsFloat8Scales(tensor_.part) &&
        tensor_.rows == static_cast<int64_t>(LinearWidths(plan_, tensor_.role).size())) {
      return Add("all", 0, tensor_.rows, 0, 1, 0, 0);
    }
    const bool is_awq = tensor_.part == TensorPart::kAwqQweight ||
                        tensor_.part == TensorPart::kAwqQzeros ||
                        tensor_.part == TensorPart::kAwqScales;
    const bool outputs_are_columns = is_awq || IsVector(tensor_);
    const bool is_packed = is_awq && tensor_.part != TensorPart::kAwqScales;
    const int64_t outputs = outputs_are_columns ? tensor_.cols * (is_packed ? 8 : 1) : tensor_.rows;
    const Placement placement = IsVision(tensor_.role) ? VisionPlacement(plan_, tensor_, outputs)
                                                       : TextPlacement(plan_, tensor_, outputs);
    int64_t input_start =
        IsVector(tensor_) || IsFloat8Scales(tensor_.part) ? 0 : placement.input_start;
    // Rows of zeros and scales are groups of inputs; the slice's first group may begin on another
    // rank.
    if (is_awq && tensor_.part != TensorPart::kAwqQweight) {
      input_start /= std::max<int64_t>(1, plan_.text.awq_group_size);
    }
    const int64_t pack = is_packed ? 8 : 1;
    int64_t dest = 0;
    for (const Piece& piece : placement.outputs) {
      const int64_t start = piece.start / pack, count = piece.count / pack;
      if (outputs_are_columns) {
        Add(piece.name, input_start, tensor_.rows, start, count, 0, dest);
      } else {
        Add(piece.name, start, count, input_start, tensor_.cols, dest, 0);
      }
      dest += count;
    }
  }

 private:
  void Add(const char* piece, int64_t row, int64_t rows, int64_t col, int64_t cols,
           int64_t dest_row, int64_t dest_col) {
    Slice slice;
    slice.file_index = -1;
    slice.type = tensor_.stored_type;
    slice.source_rows = row + rows;
    slice.source_cols = col + cols;
    slice.row_start = row;
    slice.row_end = row + rows;
    slice.col_start = col;
    slice.col_end = col + cols;
    slice.tensor_index = tensor_index_;
    slice.dest_row = dest_row;
    slice.dest_col = dest_col;
    slice.source_name = Describe(tensor_) + " " + piece;
    slices_->push_back(std::move(slice));
  }

  const LoadPlan& plan_;
  const RankTensor& tensor_;
  const int64_t tensor_index_;
  std::vector<Slice>* slices_;
};

}  // namespace

std::vector<Slice> MakeDummySlices(const LoadPlan& plan) {
  std::vector<Slice> slices;
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    SliceMaker(plan, static_cast<int64_t>(i), &slices).Make();
  }
  return slices;
}

}  // namespace skein
