// Compiled as sampling.cu is, without fused multiply-add.
#include <algorithm>

#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/sampling_choice.h"
#include "cuda/kernels/sampling_rows.cuh"

namespace skein::cuda {
namespace {

constexpr int kThreads = 128;
constexpr size_t kMostCopyBlocks = 64;

__device__ __forceinline__ const Finding* FindingOf(const ChoiceStep& step, int32_t rank,
                                                    int32_t row) {
  const char* block = step.blocks + static_cast<size_t>(rank) * step.block_bytes;
  // A rank without tokens has found nothing.
  if (reinterpret_cast<const BlockHeader*>(block)->valid_rows == 0) return nullptr;
  return reinterpret_cast<const Finding*>(block + sizeof(BlockHeader)) + row;
}

// A thread a row.
__global__ void __launch_bounds__(kThreads)
    PrepareKernel(const ChoiceStep step, CutRow* cut_rows, Cut* cuts) {
  LetNextStart();
  WaitForPrevious();
  const auto row = static_cast<int32_t>(blockIdx.x * kThreads + threadIdx.x);
  if (row >= step.num_rows || step.rows[row].cut < 0) return;
  float max_logit = -FLT_MAX;
  unsigned long long mass = 0;
  for (int32_t rank = 0; rank < step.world_size; ++rank) {
    const Finding* finding = FindingOf(step, rank, row);
    if (finding == nullptr) continue;
    max_logit = finding->max_logit > max_logit ? finding->max_logit : max_logit;
    mass += finding->scaled_mass;
  }
  CutRow& cut_row = cut_rows[step.rows[row].cut];
  cut_row.max_logit = max_logit;
  cuts[step.rows[row].cut].wanted_mass =
      static_cast<double>(cut_row.top_p) * static_cast<double>(mass);
}

__device__ void CopyToHost(void* to, const void* from, size_t bytes, size_t first, size_t step) {
  for (size_t i = first; i < bytes / sizeof(uint4); i += step) {
    static_cast<uint4*>(to)[i] = static_cast<const uint4*>(from)[i];
  }
}

// A thread a row; the blocks behind these copy what was found.
__global__ void __launch_bounds__(kThreads) ChooseKernel(const ChoiceStep step, int row_blocks) {
  LetNextStart();
  WaitForPrevious();
  if (static_cast<int>(blockIdx.x) >= row_blocks) {
    const size_t first =
        static_cast<size_t>(blockIdx.x - static_cast<unsigned>(row_blocks)) * kThreads +
        threadIdx.x;
    const size_t stride =
        static_cast<size_t>(gridDim.x - static_cast<unsigned>(row_blocks)) * kThreads;
    const auto ranks = static_cast<size_t>(step.world_size);
    CopyToHost(step.host_blocks, step.blocks, ranks * step.block_bytes, first, stride);
    CopyToHost(step.host_kept, step.kept,
               ranks * static_cast<size_t>(step.num_kept) * sizeof(BestToken), first, stride);
    return;
  }
  const auto row = static_cast<int32_t>(blockIdx.x * kThreads + threadIdx.x);
  if (row >= step.num_rows) return;
  const SamplingRow& asked = step.rows[row];
  BestToken best = NoToken();
  for (int32_t rank = 0; rank < step.world_size; ++rank) {
    if (asked.cut >= 0) {
      TakeHigher(best, step.kept[rank * step.num_kept + asked.cut]);
    } else if (const Finding* finding = FindingOf(step, rank, row); finding != nullptr) {
      TakeHigher(best, finding->best);
    }
  }
  step.last_tokens[asked.slot] = best.id;
  step.host_tokens[row] = best.id;
  if (row == 0) StopClock(step.clock);
}

int RowBlocks(const ChoiceStep& step) { return (step.num_rows + kThreads - 1) / kThreads; }

}  // namespace

void PrepareCuts(const ChoiceStep& step, CutRow* cut_rows, Cut* cuts, Stream& stream) {
  if (step.num_rows == 0) return;
  LaunchOverlapped(PrepareKernel, dim3(static_cast<unsigned>(RowBlocks(step))), dim3(kThreads), 0,
                   stream, step, cut_rows, cuts);
}

void ChooseTokens(const ChoiceStep& step, Stream& stream) {
  if (step.num_rows == 0) return;
  const size_t items = static_cast<size_t>(step.world_size) * step.block_bytes / sizeof(uint4);
  const size_t copies = std::clamp((items + kThreads - 1) / kThreads, size_t{1}, kMostCopyBlocks);
  LaunchOverlapped(ChooseKernel,
                   dim3(static_cast<unsigned>(RowBlocks(step)) + static_cast<unsigned>(copies)),
                   dim3(kThreads), 0, stream, step, RowBlocks(step));
}

}  // namespace skein::cuda
