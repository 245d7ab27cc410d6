// Load plans of a tiny model with a few things changed, over a file of a checkpoint: refused, or
// read as a whole.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "core/aligned_buffer.h"
#include "core/error.h"
#include "fuzz/fuzz_input.h"
#include "fuzz/targets.h"
#include "model/plan_limits.h"
#include "model/tensor_catalogue.h"
#include "model/weight_source.h"
#include "tiny_plan.h"

namespace skein::fuzz {
namespace {

using test::MakeTinyPlan;
using test::TinyModelOptions;

constexpr int64_t kFileBytes = 16 * 1024;
// Tensors beyond this are checked and not read.
constexpr int64_t kMaxElements = 64 * 1024;

// A file of the checkpoint: its bytes do not matter, its end does.
const std::string& FilePath() {
  static const std::string path = [] {
    const int fd = memfd_create("weights", MFD_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && ftruncate(fd, kFileBytes) == 0);
    return "/proc/self/fd/" + std::to_string(fd);
  }();
  return path;
}

// Each tensor from one slice of the file, which all of them share.
LoadPlan FromFile(LoadPlan plan) {
  plan.dummy_weights = false;
  plan.files.push_back({FilePath(), kFileBytes});
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    const RankTensor& tensor = plan.tensors[i];
    if (tensor.tied_to_embedding) continue;
    Slice slice;
    slice.type = tensor.stored_type;
    slice.source_rows = slice.row_end = tensor.rows;
    slice.source_cols = slice.col_end = tensor.cols;
    slice.tensor_index = static_cast<int64_t>(i);
    slice.source_name = "t" + std::to_string(i);
    plan.slices.push_back(slice);
  }
  return plan;
}

const std::vector<LoadPlan>& BasePlans() {
  static const std::vector<LoadPlan> plans = [] {
    std::vector<LoadPlan> made;
    for (const bool has_vision : {false, true}) {
      for (const bool is_awq : {false, true}) {
        TinyModelOptions options;
        options.has_vision = has_vision;
        options.is_awq = is_awq;
        options.is_tied = is_awq;
        options.is_6b_like = !is_awq;
        made.push_back(FromFile(MakeTinyPlan(options, 1, 0)));
        made.push_back(FromFile(MakeTinyPlan(options, 3, 2)));
      }
    }
    return made;
  }();
  return plans;
}

std::vector<int64_t*> SpecNumbers(LoadPlan& plan) {
  TextSpec& t = plan.text;
  VisionSpec& v = plan.vision;
  RankLayout& l = plan.layout;
  return {&t.hidden_size,
          &t.num_layers,
          &t.num_heads,
          &t.num_kv_heads,
          &t.head_dim,
          &t.intermediate_size,
          &t.vocab_size,
          &t.awq_group_size,
          &v.hidden_size,
          &v.num_layers,
          &v.num_heads,
          &v.head_dim,
          &v.intermediate_size,
          &v.patch_size,
          &v.image_size,
          &v.num_channels,
          &v.shuffle_factor,
          &v.projector_hidden_size,
          &l.rank,
          &l.world_size,
          &l.q_head_start,
          &l.num_q_heads,
          &l.kv_head_start,
          &l.num_kv_heads,
          &l.intermediate_size,
          &l.vocab_start,
          &l.vocab_rows,
          &l.vocab_valid_rows,
          &l.vision_head_start,
          &l.vision_num_heads,
          &l.projector_start,
          &l.projector_size,
          &plan.max_num_sequences,
          &plan.max_step_tokens,
          &plan.block_size,
          &plan.max_model_length,
          &plan.num_tile_slots,
          &plan.max_tiles_per_step,
          &plan.max_top_logprobs};
}

void ChangeTensor(FuzzInput& in, RankTensor& tensor) {
  switch (in.In(0, 7)) {
    case 0:
      tensor.role = static_cast<TensorRole>(in.In(1, 255));
      break;
    case 1:
      tensor.part = static_cast<TensorPart>(in.In(1, 255));
      break;
    case 2:
      tensor.stored_type = static_cast<DType>(in.In(1, 5));
      break;
    case 3:
      tensor.tied_to_embedding = in.Flag();
      break;
    default: {
      int64_t* const numbers[] = {&tensor.layer, &tensor.rows, &tensor.cols,
                                  &tensor.awq_group_offset};
      int64_t& number = *numbers[in.In(0, 3)];
      number = in.Count(number);
    }
  }
}

void ChangeSlice(FuzzInput& in, Slice& slice) {
  if (in.In(0, 7) == 0) {
    slice.type = static_cast<DType>(in.In(1, 5));
    return;
  }
  int64_t* const numbers[] = {&slice.file_index,  &slice.data_offset, &slice.source_rows,
                              &slice.source_cols, &slice.row_start,   &slice.row_end,
                              &slice.col_start,   &slice.col_end,     &slice.tensor_index,
                              &slice.dest_row,    &slice.dest_col};
  int64_t& number = *numbers[in.In(0, 10)];
  number = in.Count(number);
}

template <typename T>
T& Any(FuzzInput& in, std::vector<T>& values) {
  return values[static_cast<size_t>(in.In(0, static_cast<int64_t>(values.size()) - 1))];
}

void Change(FuzzInput& in, LoadPlan& plan) {
  switch (in.In(0, 9)) {
    case 0:
    case 1: {
      int64_t& number = *in.Pick(SpecNumbers(plan));
      number = in.Count(number);
      break;
    }
    case 2:
    case 3:
      if (!plan.tensors.empty()) ChangeTensor(in, Any(in, plan.tensors));
      break;
    case 4:
    case 5:
    case 6:
      if (!plan.slices.empty()) ChangeSlice(in, Any(in, plan.slices));
      break;
    case 7:
      if (in.Flag() && !plan.tensors.empty()) plan.tensors.pop_back();
      if (in.Flag() && !plan.slices.empty()) plan.slices.push_back(Any(in, plan.slices));
      break;
    case 8:
      plan.files.front().size_bytes = in.Count(kFileBytes);
      if (in.Flag()) plan.layout.q_to_kv = {static_cast<int32_t>(in.In(0, INT32_MAX))};
      break;
    default:
      plan.has_vision = in.Flag();
      plan.vision.norm_eps = in.Float();
      plan.text.rope_theta = in.Float();
      plan.memory_share = in.Float();
      plan.compute_type = static_cast<DType>(in.In(1, 4));
  }
}

void Load(const LoadPlan& plan) {
  CheckPlanLimits(plan);
  const TensorCatalogue catalogue(plan);
  StepLimitsOf(plan);
  const auto source = MakeFileWeightSource({&plan, &catalogue, nullptr, nullptr});
  bool is_whole = true;
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    const RankTensor& tensor = plan.tensors[i];
    is_whole = is_whole && tensor.rows * tensor.cols <= kMaxElements;
    if (tensor.rows * tensor.cols > kMaxElements) continue;
    const bool is_packed = tensor.stored_type == DType::kInt32;
    const DType type = is_packed ? DType::kInt32 : plan.compute_type;
    AlignedBuffer buffer(static_cast<size_t>(tensor.rows * tensor.cols) * SizeOf(type));
    source->Fill(static_cast<int64_t>(i),
                 MakeMatrix(buffer.data(), type, tensor.rows, tensor.cols));
  }
  if (is_whole) FUZZ_CHECK(source->read_bytes() == catalogue.total_slice_bytes());
}

}  // namespace

void RunLoadPlan(const uint8_t* data, size_t size) {
  FuzzInput in(data, size);
  LoadPlan plan = in.Pick(BasePlans());
  for (int i = 0; i < 8 && !in.is_empty(); ++i) Change(in, plan);
  try {
    Load(plan);
  } catch (const Error& error) {
    FUZZ_CHECK(error.code() == "INVALID_REQUEST" || error.code() == "CORRUPT_WEIGHTS");
  }
}

}  // namespace skein::fuzz
