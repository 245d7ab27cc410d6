// Recordings of steps as CUDA graphs, one per bucket of rows. Owns the graphs; what they refer to
// must outlive them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>

#include "cuda/stream.h"

namespace skein::cuda {

class GraphCache {
 public:
  explicit GraphCache(Stream& stream) : stream_(stream) {}
  ~GraphCache() { Clear(); }
  GraphCache(const GraphCache&) = delete;
  GraphCache& operator=(const GraphCache&) = delete;

  // The first step of a bucket runs eagerly, so that libraries choose their algorithms and modules
  // are loaded, and is recorded right after; later ones replay.
  void Run(int32_t bucket, const std::function<void()>& body);
  bool Has(int32_t bucket) const { return graphs_.contains(bucket); }
  void Clear();
  // Device memory that the recordings took, as far as the driver's count of free memory shows it.
  int64_t bytes() const { return bytes_; }

 private:
  cudaGraphExec_t Record(const std::function<void()>& body);

  Stream& stream_;
  std::map<int32_t, cudaGraphExec_t> graphs_;
  int64_t bytes_ = 0;
};

}  // namespace skein::cuda
