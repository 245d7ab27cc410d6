// The end of a row-parallel product among products, as a decode step has it: what sum, residual and
// norm add to a chain of products of few rows.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "collective/communicator.h"
#include "cuda/device_memory.h"
#include "cuda/stream.h"

namespace skein::cuda {

// The products of a decoder's layer that stand around its two sums, at one rank's share of the
// widths of the 38 B model: o, gate and up, down.
class CollectiveChain {
 public:
  CollectiveChain(Communicator& communicator, Stream& stream);

  // What stands between the products: sum, residual and norm; the two without the sum; nothing.
  enum class Between : uint8_t { kSum, kNormOnly, kNothing };
  // Places the layers on the stream, for 1 to 8 rows.
  void Place(int64_t rows, Between between);
  static constexpr int kLayers = 16;
  static constexpr int kSums = 2 * kLayers;

 private:
  void End(int64_t rows, Between between);

  Communicator& communicator_;
  Stream& stream_;
  const int64_t heads_, inner_;
  // Of kCopies layers, so that no cache holds them.
  DeviceMemory o_, gate_up_, down_;
  DeviceMemory norm_, attention_, partial_, residual_, normed_, product_;
};

}  // namespace skein::cuda
