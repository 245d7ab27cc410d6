// The best token of rows of logits, in parts; the same bits as cpu/sampling_kernels.h and
// cpu/sampling_noise.h give.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace skein::cuda {

// A row to judge: under noise of this key at this inverse temperature, or, greedy, as it is.
struct BestRow {
  uint64_t seed;
  uint64_t position;
  int64_t row;
  uint32_t choice_index;
  float inverse_temperature;
  bool is_greedy;
};

// The best of one part of a row; id INT32_MAX where the part is empty.
struct BestPart {
  double value;
  float logit;
  int32_t id;
  float max_logit;
  int32_t padding;
};

// Parts that a row of `count` logits is cut in.
int NumBestChunks(int64_t count, int32_t first_id);

// parts [num_rows, NumBestChunks]. logits and rows are on the device; rows are clamped as they are
// read.
void FindBest(const float* logits, int64_t stride, int64_t count, int32_t first_id,
              const BestRow* rows, int num_rows, BestPart* parts, cudaStream_t stream);

}  // namespace skein::cuda
