// Recordings of steps as CUDA graphs, one per shape of step. Owns the graphs; what they refer to
// must outlive them.
#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <map>
#include <utility>

namespace skein::cuda {

class GraphCache {
 public:
  explicit GraphCache(cudaStream_t stream) : stream_(stream) {}
  ~GraphCache() { Clear(); }
  GraphCache(const GraphCache&) = delete;
  GraphCache& operator=(const GraphCache&) = delete;

  // (rows, splits of the context): the shape of a step.
  using Shape = std::pair<int32_t, int>;

  // The first time a shape runs eagerly, so that buffers grow and libraries set themselves up; the
  // second time it is recorded and replayed; then replayed. `generation` of the buffers that ops
  // use: a change drops all recordings.
  void Run(const Shape& shape, int generation, const std::function<void()>& body);
  void Clear();

 private:
  cudaGraphExec_t Record(const std::function<void()>& body);

  cudaStream_t stream_;
  int generation_ = 0;
  // Null: has run eagerly, is not recorded yet.
  std::map<Shape, cudaGraphExec_t> graphs_;
};

}  // namespace skein::cuda
