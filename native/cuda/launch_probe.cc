#include "cuda/launch_probe.h"

#include <vector>

#include "cuda/cuda_check.h"
#include "cuda/kernels/fence.h"

namespace skein::cuda {

bool HasProgrammaticEdge(cudaGraph_t graph, cudaGraphNode_t from) {
  // Recordings have had such edges since CUDA 12.3.
#if CUDART_VERSION >= 13000
  constexpr auto kGetEdges = cudaGraphGetEdges;
#elif CUDART_VERSION >= 12030
  constexpr auto kGetEdges = cudaGraphGetEdges_v2;
#endif
#if CUDART_VERSION >= 12030
  size_t count = 0;
  SKEIN_CUDA(kGetEdges(graph, nullptr, nullptr, nullptr, &count));
  std::vector<cudaGraphNode_t> begins(count), ends(count);
  std::vector<cudaGraphEdgeData> edges(count);
  SKEIN_CUDA(kGetEdges(graph, begins.data(), ends.data(), edges.data(), &count));
  for (size_t i = 0; i < count; ++i) {
    const bool is_asked = from == nullptr || begins[i] == from;
    if (is_asked && edges[i].type == cudaGraphDependencyTypeProgrammatic) return true;
  }
  return false;
#else
  static_cast<void>(graph);
  static_cast<void>(from);
  return true;
#endif
}

bool IsLaunchedPlainly(const std::function<void(Stream&)>& place) {
  Stream stream;
  // Relaxed: a library may load a kernel's code meanwhile.
  SKEIN_CUDA(cudaStreamBeginCapture(stream.ForDriver(), cudaStreamCaptureModeRelaxed));
  cudaGraph_t graph = nullptr;
  bool is_recorded = true;
  try {
    // A kernel, from which a programmatic edge could lead.
    PlaceFence(stream);
    place(stream);
  } catch (const Error&) {
    is_recorded = false;
  }
  is_recorded &= cudaStreamEndCapture(stream.ForDriver(), &graph) == cudaSuccess;
  static_cast<void>(cudaGetLastError());
  if (graph == nullptr) return false;
  cudaGraphNode_t first = nullptr;
  size_t count = 1;
  // The fence is the one node that none leads to.
  const bool is_plain = is_recorded &&
                        cudaGraphGetRootNodes(graph, &first, &count) == cudaSuccess && count == 1 &&
                        !HasProgrammaticEdge(graph, first);
  cudaGraphDestroy(graph);
  return is_plain;
}

}  // namespace skein::cuda
