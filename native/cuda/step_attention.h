// A step's attention over the paged cache: tiles of prompts and decodes, each by its kernels, and
// the memory in which what they cut meets.
#pragma once

#include <functional>
#include <optional>

#include "cuda/decode_attention.h"
#include "cuda/fixed_runs.h"

namespace skein::cuda {

class StepAttention {
 public:
  // `before_move` runs before memory moves, which recorded graphs would not survive.
  // deterministic: no row's bits depend on how its sequence was cut into chunks.
  StepAttention(Stream& stream, int num_processors, bool deterministic,
                const std::function<void()>& before_move);

  // Later steps within the limits move nothing.
  void Reserve(const StepLimits& limits);
  void Run(const AttentionArguments& arguments, const PagedKeys& keys,
           const DeviceTables::HeadMap& map, const DeviceMetadata& metadata);
  void Run(const AttentionArguments& arguments, const PagedFloat8Keys& keys,
           const DeviceTables::HeadMap& map, const DeviceMetadata& metadata);
  // Of a step that has decodes only: it does what RotaryStoreKv does, too.
  void RunRotating(const AttentionArguments& arguments, const PagedKeys& keys,
                   const DeviceTables::HeadMap& map, const DeviceMetadata& metadata,
                   const DecodeRotary& rotary) {
    decodes_.Run(arguments, keys, map, metadata, rotary);
  }

 private:
  Stream& stream_;
  DecodeAttention decodes_;
  std::optional<FixedRunsMemory> fixed_runs_;  // none unless deterministic
};

}  // namespace skein::cuda
