// Attention of the step's decodes: the kernel for the GPU and the step, and the memory in which
// what is cut meets.
#pragma once

#include <functional>
#include <utility>

#include "cuda/decode_workspace.h"
#include "cuda/device_tables.h"
#include "cuda/kernels/attention.h"
#include "cuda/step_metadata.h"
#include "cuda/stream.h"
#include "ops/backend.h"

namespace skein::cuda {

class DecodeAttention {
 public:
  // `before_move` runs before the memory moves, which recorded graphs would not survive.
  DecodeAttention(Stream& stream, std::function<void()> before_move)
      : stream_(stream), before_move_(std::move(before_move)) {}

  // Later steps within the limits move nothing.
  void Reserve(const StepLimits& limits);
  // Nothing, where the step has no decodes. With `rotary` it does what RotaryStoreKv does, too.
  void Run(const AttentionArguments& arguments, const PagedKeys& keys,
           const DeviceTables::HeadMap& map, const DeviceMetadata& metadata,
           const DecodeRotary& rotary = {});
  void Run(const AttentionArguments& arguments, const PagedFloat8Keys& keys,
           const DeviceTables::HeadMap& map, const DeviceMetadata& metadata);

 private:
  DecodeWorkspace WorkspaceFor(int variant, const AttentionArguments& arguments,
                               const DeviceTables::HeadMap& map, const DeviceMetadata& metadata,
                               int block_size, int num_kv_heads);

  Stream& stream_;
  const std::function<void()> before_move_;
  DecodeWorkspaceMemory workspace_;
};

}  // namespace skein::cuda
