// Which tensors a rank must hold for a model, and in what shape: derived from the specs and the
// layout alone. Finds the plan's tensors by (role, part, layer); refuses plans with missing, extra,
// doubled or misshapen ones. Reads no bytes.
#pragma once

#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "model/model_spec.h"

namespace skein {

const char* Name(TensorRole role);
const char* Name(TensorPart part);
// Outputs on this rank of the linears that a product of the decoder consists of: q, k and v, gate
// and up, or one.
std::vector<int64_t> LinearWidths(const LoadPlan& plan, TensorRole role);
// "qkv weight of layer 3", for messages.
std::string Describe(const RankTensor& tensor);

class TensorCatalogue {
 public:
  // Checks the plan's tensors and slices; its numbers have passed CheckPlanLimits. Throws
  // INVALID_REQUEST (the plan contradicts itself) or CORRUPT_WEIGHTS (a slice lies outside its
  // file).
  explicit TensorCatalogue(const LoadPlan& plan);

  // Index into plan.tensors, or -1.
  int64_t Find(TensorRole role, TensorPart part, int64_t layer) const;
  bool IsAwq(TensorRole role, int64_t layer) const {
    return Find(role, TensorPart::kAwqQweight, layer) >= 0;
  }
  // Of the linears in one product some are packed and some plain: it has an AWQ triple and a
  // weight, and each leaves empty what the other holds.
  bool IsMixed(TensorRole role, int64_t layer) const {
    return IsAwq(role, layer) && Find(role, TensorPart::kWeight, layer) >= 0;
  }
  // Slices of a tensor, as indices into plan.slices, in file order.
  const std::vector<int64_t>& slices_of(int64_t tensor_index) const {
    return slices_of_[static_cast<size_t>(tensor_index)];
  }
  // Bytes of all slices: what a load reads.
  int64_t total_slice_bytes() const { return total_slice_bytes_; }

 private:
  using Key = std::tuple<TensorRole, TensorPart, int64_t>;

  void Index(const LoadPlan& plan);
  void CheckSlices(const LoadPlan& plan);
  void CheckCoverage(const LoadPlan& plan, int64_t tensor_index) const;
  void CheckShapes(const LoadPlan& plan);

  std::map<Key, int64_t> index_;
  std::vector<std::vector<int64_t>> slices_of_;
  int64_t total_slice_bytes_ = 0;
};

}  // namespace skein
