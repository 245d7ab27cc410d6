// Where the time of a load went, as seen by the thread that loads, in milliseconds.
#pragma once

#include <chrono>
#include <cstdint>

namespace skein {

struct LoadTimes {
  double open_ms = 0;
  double read_ms = 0;      // waiting for bytes of files, their checksums included
  double transfer_ms = 0;  // waiting for a buffer that is still on its way to the device
  double prepare_ms = 0;   // packing, repacking and quantising
  // Checksums and the look for what is no number; of the threads that read, all together: inside
  // `read_ms` where there is one.
  double checksum_ms = 0;
};

// Adds the time of its life to `ms`.
class AddedTime {
 public:
  explicit AddedTime(double& ms) : ms_(ms), start_(std::chrono::steady_clock::now()) {}
  ~AddedTime() {
    ms_ += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start_)
               .count();
  }
  AddedTime(const AddedTime&) = delete;
  AddedTime& operator=(const AddedTime&) = delete;

 private:
  double& ms_;
  const std::chrono::steady_clock::time_point start_;
};

}  // namespace skein
