// Every op that may stand in front of a collective or a library's product, at sizes that take a
// while, with what it reads and writes.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ops/backend.h"
#include "test/cuda/attention_sequences.h"

namespace skein::test {

struct Op {
  std::string name;
  std::function<void()> run;
  // What it reads that kernels in front write, and what it writes; one matrix may be both.
  std::vector<Matrix> inputs, outputs;
  // What it reads before it waits, since no kernel of the step but its own writes there: the cache.
  std::vector<Matrix> kept = {};
};

// Which step the ops are of: decodes beside a prompt, and all ops but those that only a step of
// decodes has; or these.
enum class OpStep { kMixed, kDecodes };

// In the order in which they may run: one changes what one before it reads.
class OpList {
 public:
  explicit OpList(Backend& backend, OpStep step = OpStep::kMixed);
  const std::vector<Op>& ops() const { return ops_; }

  // Random values, made on the device; they live as long as the list.
  Matrix Random(DType type, int64_t rows, int64_t cols, float spread = 1);

 private:
  Matrix New(DType type, int64_t rows, int64_t cols);
  const float* Floats(int64_t count) { return Random(DType::kFloat32, 1, count).As<float>(); }
  const PreparedLinear& Dense(int64_t in, int64_t out);
  const PreparedLinear& Awq(int64_t in, int64_t out);
  void AddProducts();
  void AddElementwise();
  void AddAttention();
  void AddDecodeAttention();
  // A cache of one layer with random keys and values, which it returns as one row.
  Matrix FillCache(const AttentionCase& shape);
  void AddVision();

  Backend& backend_;
  uint64_t seed_ = 0;
  std::vector<std::unique_ptr<DeviceTensor>> kept_;
  std::vector<std::unique_ptr<PreparedLinear>> linears_;
  std::vector<std::unique_ptr<Communicator>> alone_ = MakeLocalGroup(1);
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Sequences> sequences_;
  std::vector<int32_t> q_to_kv_;
  std::vector<Op> ops_;
};

}  // namespace skein::test
