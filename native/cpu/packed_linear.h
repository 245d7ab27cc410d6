// Weights of one linear in panels of output features, as the product kernels of an instruction
// class want them, and the product itself over all rows and panels. Holds no copy of the weights as
// loaded.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/aligned_buffer.h"
#include "core/thread_pool.h"
#include "cpu/cpu_linear.h"
#include "cpu/kernels.h"

namespace skein::cpu {

// How a linear is cut and how large it becomes, told from its shape and format alone.
struct PackedLayout {
  PackedLayout(const RawLinear& raw, DType compute_type, int64_t panel_width);

  WeightKind kind;
  std::vector<InputBlock> blocks;
  int64_t padded_in = 0;  // input features with the padding of the blocks
  int64_t num_panels = 0, panel_bytes = 0;
  // AWQ only: of a panel, and bytes of all.
  int64_t num_groups = 0, zero_bytes = 0, scale_bytes = 0;
  int64_t bytes() const { return num_panels * panel_bytes + zero_bytes + scale_bytes; }
};

class PackedLinear final : public CpuLinear {
 public:
  // compute_type is float32 or bfloat16. For AWQ it is the type that x is rounded to; the weights
  // are exact in both. float8 weights count for their values, without scales.
  PackedLinear(const RawLinear& raw, DType compute_type, const KernelTable& kernels,
               ThreadPool& pool);

  int64_t in_features() const override { return in_features_; }
  int64_t out_features() const override { return out_features_; }
  size_t weight_bytes() const override {
    return panels_.bytes() + bias_.bytes() + zeros_.bytes() + scales_.bytes();
  }

  // Input features with the padding of the blocks.
  int64_t padded_in() const { return layout_.padded_in; }
  // Bytes of packed x for as many rows as Multiply takes at a time.
  size_t ScratchBytes() const override;
  void Multiply(const Matrix& x, Activation activation, const Matrix& out, ThreadPool& pool,
                void* scratch) const override;

 private:
  // As many rows as are packed at a time.
  struct Pass {
    const void* x = nullptr;  // packed
    int64_t tile_rows = 0;
    Activation activation = Activation::kNone;
    Matrix out;
  };

  void PackDensePanel(const RawLinear& raw, int64_t panel);
  void PackAwq(const RawLinear& raw, ThreadPool& pool);
  void PackAwqPanels(const RawLinear& raw, int64_t begin, int64_t end);
  void PackAwqTables(const RawLinear& raw, int64_t panel);
  void PackRows(const Matrix& x, int64_t tile_rows, ThreadPool& pool, void* scratch) const;
  int64_t PanelsPerRun(int64_t rows, int num_threads) const;
  // All rows of the pass times the panels of one task.
  void MultiplyRun(const Pass& pass, int64_t first_panel, int64_t end_panel) const;
  // Blocks begin .. end - 1 of one panel, into the panel's columns of the output.
  void MultiplyPanel(const Pass& pass, int64_t panel, int64_t begin, int64_t end,
                     const Matrix& out) const;
  // Bias and activation of a finished panel.
  void Finish(const Pass& pass, int64_t panel, const Matrix& out) const;
  int64_t InputBytes() const;

  const KernelTable& kernels_;
  const PackedLayout layout_;
  DType compute_type_;
  int64_t in_features_, out_features_;
  AlignedBuffer panels_;  // [panels] of panel_bytes
  AlignedBuffer bias_;    // [out] float32, or empty
  // AWQ only: [panels, groups, panel width].
  bool scales_are_half_ = false;
  AlignedBuffer zeros_;   // uint8
  AlignedBuffer scales_;  // float16 or float32, as loaded
};

}  // namespace skein::cpu
