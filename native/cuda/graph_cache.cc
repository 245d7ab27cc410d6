#include "cuda/graph_cache.h"

#include "cuda/cuda_check.h"

namespace skein::cuda {

void GraphCache::Run(const Shape& shape, int generation, const std::function<void()>& body) {
  if (generation != generation_) {
    Clear();
    generation_ = generation;
  }
  const auto found = graphs_.find(shape);
  if (found == graphs_.end()) {
    body();
    graphs_.emplace(shape, nullptr);
    return;
  }
  if (found->second == nullptr) found->second = Record(body);
  SKEIN_CUDA(cudaGraphLaunch(found->second, stream_));
}

cudaGraphExec_t GraphCache::Record(const std::function<void()>& body) {
  // Other threads may call CUDA meanwhile (an abort does).
  SKEIN_CUDA(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
  cudaGraph_t graph = nullptr;
  try {
    body();
  } catch (...) {
    if (cudaStreamEndCapture(stream_, &graph) == cudaSuccess) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  SKEIN_CUDA(cudaStreamEndCapture(stream_, &graph));
  cudaGraphExec_t exec = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&exec, graph, 0);
  cudaGraphDestroy(graph);
  SKEIN_CUDA(status);
  return exec;
}

void GraphCache::Clear() {
  for (const auto& [shape, exec] : graphs_) {
    if (exec != nullptr) cudaGraphExecDestroy(exec);
  }
  graphs_.clear();
}

}  // namespace skein::cuda
