#include "ops/counting_backend.h"

#include <algorithm>

#include "core/error.h"

namespace skein {
namespace {

// Where matrices are said to lie that nobody reads: an address of the first page, which is never
// mapped.
void* Nowhere() { return reinterpret_cast<void*>(uintptr_t{64}); }

class CountedTensor final : public DeviceTensor {
 public:
  // `held`, which outlives this, is less by `bytes` once it goes.
  CountedTensor(DType type, int64_t rows, int64_t cols, int64_t* held, int64_t bytes)
      : view_(MakeMatrix(Nowhere(), type, rows, cols)), held_(held), bytes_(bytes) {}
  ~CountedTensor() override { *held_ -= bytes_; }
  Matrix view() const override { return view_; }

 private:
  const Matrix view_;
  int64_t* const held_;
  const int64_t bytes_;
};

class CountedLinear final : public PreparedLinear {
 public:
  CountedLinear(const RawLinear& raw, int64_t bytes)
      : in_(raw.in_features), out_(raw.out_features), bytes_(static_cast<size_t>(bytes)) {}
  int64_t in_features() const override { return in_; }
  int64_t out_features() const override { return out_; }
  size_t weight_bytes() const override { return bytes_; }

 private:
  const int64_t in_, out_;
  const size_t bytes_;
};

// There to say that the back end has one: tensors are made, not sent.
class NoStream final : public WeightStream {
 public:
  size_t buffer_bytes() const override { return 0; }
  char* NextBuffer() override { throw Error("INTERNAL", "weights are sent nowhere"); }
  void Send(const Matrix&, const Matrix&) override { NextBuffer(); }
};

int64_t BytesOf(DType type, int64_t rows, int64_t cols) {
  return rows * cols * static_cast<int64_t>(SizeOf(type));
}

}  // namespace

void CountingBackend::Refuse() { throw Error("INTERNAL", "a back end that counts runs no step"); }

void CountingBackend::Count() {
  most_staged_ = std::max(most_staged_, staged_);
  const int64_t unused = std::min(most_staged_, rules_->MaxUnusedStagedBytes());
  peak_ = std::max(peak_, kept_ + std::max(staged_, unused));
}

WeightStream* CountingBackend::weight_stream() {
  if (!rules_->adopts_weights()) return nullptr;
  if (weight_stream_ == nullptr) weight_stream_ = std::make_unique<NoStream>();
  return weight_stream_.get();
}

std::unique_ptr<DeviceTensor> CountingBackend::NewWeight(DType type, int64_t rows, int64_t cols,
                                                         TensorUse use) {
  const int64_t bytes = BytesOf(type, rows, cols);
  int64_t& held = use == TensorUse::kKept ? kept_ : staged_;
  held += bytes;
  Count();
  // An arena for what is kept gives nothing back before the next model.
  const bool stays = use == TensorUse::kKept && rules_->adopts_weights();
  return std::make_unique<CountedTensor>(type, rows, cols, &held, stays ? 0 : bytes);
}

std::unique_ptr<DeviceTensor> CountingBackend::MakeRandomTensor(DType type, int64_t rows,
                                                                int64_t cols,
                                                                std::span<const RandomBlock>,
                                                                TensorUse use) {
  return NewWeight(type, rows, cols, use);
}

std::unique_ptr<DeviceTensor> CountingBackend::Upload(const Matrix& host) {
  return NewWeight(host.type, host.rows, host.cols, TensorUse::kKept);
}

std::unique_ptr<DeviceTensor> CountingBackend::Allocate(DType type, int64_t rows, int64_t cols) {
  // Activations counts them.
  return std::make_unique<CountedTensor>(type, rows, cols, &kept_, 0);
}

std::unique_ptr<PreparedLinear> CountingBackend::PrepareLinear(const RawLinear& raw,
                                                               DType compute_type) {
  const MemoryRules::LinearBytes bytes = rules_->Count(raw, compute_type);
  kept_ += bytes.allocated;
  staged_ += bytes.transient;
  Count();
  staged_ -= bytes.transient;
  return std::make_unique<CountedLinear>(raw, bytes.weight);
}

}  // namespace skein
