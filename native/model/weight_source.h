// Where the elements of a rank tensor come from: files (each byte of a slice is read exactly once,
// and nothing else), or seeded random values. Fills host memory in the type that the caller wants,
// or sends raw rows to where a back end converts them; knows no tensor names and no model.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "core/load_times.h"
#include "core/random_block.h"
#include "core/tensor.h"
#include "model/model_spec.h"
#include "model/tensor_catalogue.h"

namespace skein {

// Called with (loaded, total) bytes.
using LoadProgressCallback = std::function<void(int64_t, int64_t)>;

class WeightSource {
 public:
  virtual ~WeightSource() = default;
  // Fills `dest` (the shape of the tensor, already zero) from the slices of
  // plan.tensors[tensor_index], converted to dest.type.
  virtual void Fill(int64_t tensor_index, const Matrix& dest) = 0;
  // The same by way of a back end's stream, which converts. What is random the back end makes
  // itself (TakeBlocks).
  virtual void Stream(int64_t tensor_index, const Matrix& dest, WeightStream& stream) = 0;
  // What Fill would write, for a back end that makes random values itself; counts as loaded. Empty
  // where the values come from files.
  virtual std::vector<RandomBlock> TakeBlocks(int64_t) { return {}; }
  // Bytes taken from files so far.
  virtual int64_t read_bytes() const = 0;
  // Of what was read of the files for each tensor of the plan (core/byte_checksum.h); empty where
  // nothing comes from files.
  virtual std::vector<uint64_t> checksums() const { return {}; }
  // Of opening, reading and sending so far.
  virtual LoadTimes times() const { return {}; }
};

struct WeightSourceOptions {
  const LoadPlan* plan = nullptr;
  const TensorCatalogue* catalogue = nullptr;
  LoadProgressCallback progress;
  // Set from any thread: the load throws ABORTED at the next chunk.
  const std::atomic<bool>* cancelled = nullptr;
};

// Opens all files. Throws CORRUPT_WEIGHTS naming the file when one is missing or has another size
// than planned.
std::unique_ptr<WeightSource> MakeFileWeightSource(const WeightSourceOptions& options);

// The value of an element depends on the seed, the source tensor and the element's place in it: the
// same model at every world size.
std::unique_ptr<WeightSource> MakeDummyWeightSource(const WeightSourceOptions& options);

// Counts bytes, reports progress at most every 50 ms, and notices cancellation.
class LoadProgressMeter {
 public:
  LoadProgressMeter(const WeightSourceOptions& options, int64_t total);
  // Throws ABORTED once cancelled.
  void Add(int64_t bytes);

 private:
  LoadProgressCallback callback_;
  const std::atomic<bool>* cancelled_;
  int64_t total_, loaded_ = 0, last_report_ns_ = 0;
};

}  // namespace skein
