// A model as one rank holds it after Load: weights, and what the limits of its steps decide:
// activations and the parts that run over them. Lives through epochs; the limits may change between
// two.
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "engine/engine.h"
#include "engine/picture_encoder.h"
#include "model/decoder.h"

namespace skein {

// What is kept free of blocks for what cannot be counted once a model is loaded: the driver's
// context with the kernels, cuBLASLt's own, the graphs of decode steps; and NCCL's buffers, which
// grow with the number of its channels. Room, not a measure: memory_use() tells what it came to.
int64_t DeviceReserveBytes(int64_t world_size);

class LoadedModel {
 public:
  LoadedModel(Backend& backend, const LoadPlan& plan,
              const std::function<void(int64_t, int64_t)>& progress,
              const std::atomic<bool>& cancelled);

  // The plan without its lists of files, tensors and slices.
  const LoadPlan& plan() const { return plan_; }
  const LoadResult& result() const { return result_; }
  // Of the activations: what pictures take, their cached outputs included.
  int64_t picture_bytes() const { return picture_bytes_; }
  bool HasLimitsOf(const LoadPlan& plan) const;
  // Lays out what the limits decide anew; the weights stay where they are. Between epochs only.
  // When it throws, the model is of no use any more.
  void SetLimits(Backend& backend, const LoadPlan& plan);
  // Anew, for a device that is limited to a share (0: what was counted when it was loaded stays).
  void CountAvailable(const Backend& backend, double memory_share);
  Decoder& decoder() { return *decoder_; }
  // Null for a text-only model.
  PictureEncoder* encoder() { return encoder_ ? &*encoder_ : nullptr; }
  Sampler& sampler() { return *sampler_; }
  KvCacheShape kv_shape(int64_t num_blocks) const;

 private:
  void LoadWeights(Backend& backend, const std::function<void(int64_t, int64_t)>& progress,
                   const std::atomic<bool>& cancelled);
  void LayOut(Backend& backend);

  LoadPlan plan_;
  std::optional<Activations> activations_;
  ModelWeights weights_;
  std::optional<Decoder> decoder_;
  std::optional<PictureEncoder> encoder_;
  std::unique_ptr<Sampler> sampler_;
  LoadResult result_;
  int64_t picture_bytes_ = 0;
};

}  // namespace skein
