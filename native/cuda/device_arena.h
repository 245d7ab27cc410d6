// Device memory that is handed out piece by piece and given back as a whole: weights, activations,
// the KV cache. Grows as it is used: nobody has to know the size beforehand.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "cuda/virtual_range.h"

namespace skein::cuda {

class DeviceArena {
 public:
  // kDense: nothing is lost between allocations. kWithinPieces: an allocation is one piece of
  // physical memory, or part of one, as registering it with NCCL wants.
  enum class Packing { kDense, kWithinPieces };

  explicit DeviceArena(const char* name = "an arena", Packing packing = Packing::kDense)
      : name_(name), packing_(packing) {}
  ~DeviceArena() { Reset(); }
  DeviceArena(const DeviceArena&) = delete;
  DeviceArena& operator=(const DeviceArena&) = delete;

  // Aligned to 256 bytes, not zeroed; valid until Reset. Throws DEVICE_OUT_OF_MEMORY.
  void* Allocate(size_t bytes);
  template <typename T>
  T* New(size_t count) {
    return static_cast<T*>(Allocate(count * sizeof(T)));
  }
  bool Contains(const void* place) const;
  // Hands the same memory out again, from its beginning.
  void Rewind();
  // Gives the memory back to the device. Nothing of it may be in use any more.
  void Reset();
  // Handed out since the last Reset or Rewind, alignment included.
  size_t bytes() const { return bytes_; }
  // What it takes from the device.
  size_t held_bytes() const;
  // Pieces by cudaMalloc, as where there is no virtual memory management; before the first
  // Allocate. For tests.
  void AvoidMapping() { can_map_ = false; }

 private:
  struct Piece {
    char* data;
    size_t bytes;
  };

  void Open();
  // Maps more behind the last piece, so that it has `bytes` from offset_ on. False where pieces do
  // not grow.
  bool ExtendLast(size_t bytes);
  void AddPiece(size_t bytes);
  [[noreturn]] void Refuse(size_t bytes) const;

  const char* const name_;
  const Packing packing_;
  bool can_map_ = true;
  std::unique_ptr<VirtualRange> range_;
  std::vector<Piece> pieces_;
  // The next free place.
  size_t piece_ = 0, offset_ = 0;
  size_t bytes_ = 0;
};

}  // namespace skein::cuda
