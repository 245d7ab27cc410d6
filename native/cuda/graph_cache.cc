#include "cuda/graph_cache.h"

#include <algorithm>

#include "cuda/cuda_check.h"

namespace skein::cuda {

namespace {

int64_t FreeBytes() {
  size_t free_bytes = 0, total_bytes = 0;
  SKEIN_CUDA(cudaMemGetInfo(&free_bytes, &total_bytes));
  return static_cast<int64_t>(free_bytes);
}

}  // namespace

void GraphCache::Run(int32_t bucket, const std::function<void()>& body) {
  const auto found = graphs_.find(bucket);
  if (found != graphs_.end()) {
    SKEIN_CUDA(cudaGraphLaunch(found->second, stream_.ForDriver()));
    return;
  }
  body();
  graphs_.emplace(bucket, Record(body));
}

cudaGraphExec_t GraphCache::Record(const std::function<void()>& body) {
  // Other threads may call CUDA meanwhile (an abort does).
  SKEIN_CUDA(cudaStreamBeginCapture(stream_.ForDriver(), cudaStreamCaptureModeThreadLocal));
  cudaGraph_t graph = nullptr;
  try {
    body();
  } catch (...) {
    if (cudaStreamEndCapture(stream_.ForDriver(), &graph) == cudaSuccess) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  SKEIN_CUDA(cudaStreamEndCapture(stream_.ForDriver(), &graph));
  const int64_t free_before = FreeBytes();
  cudaGraphExec_t exec = nullptr;
  cudaError_t status = cudaGraphInstantiate(&exec, graph, 0);
  cudaGraphDestroy(graph);
  SKEIN_CUDA(status);
  // Now rather than in the first replay, which would be slow.
  status = cudaGraphUpload(exec, stream_.ForDriver());
  if (status != cudaSuccess) cudaGraphExecDestroy(exec);
  SKEIN_CUDA(status);
  bytes_ += std::max<int64_t>(0, free_before - FreeBytes());
  return exec;
}

void GraphCache::Clear() {
  for (const auto& [bucket, exec] : graphs_) cudaGraphExecDestroy(exec);
  graphs_.clear();
  bytes_ = 0;
}

}  // namespace skein::cuda
