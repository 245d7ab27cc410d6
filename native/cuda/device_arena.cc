#include "cuda/device_arena.h"

#include <algorithm>

#include "cuda/cuda_check.h"
#include "cuda/packed_sizes.h"

namespace skein::cuda {
namespace {

constexpr size_t kAlignment = 256;
// What an arena grows by at least: what may lie idle at its end.
constexpr auto kPieceBytes = static_cast<size_t>(kArenaPieceBytes);

}  // namespace

void* DeviceArena::Allocate(size_t bytes) {
  const size_t padded = (std::max<size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  if (pieces_.empty()) Open();
  while (piece_ < pieces_.size() && pieces_[piece_].bytes - offset_ < padded) {
    if (ExtendLast(padded)) break;
    ++piece_;
    offset_ = 0;
  }
  if (piece_ == pieces_.size()) AddPiece(padded);
  void* place = pieces_[piece_].data + offset_;
  offset_ += padded;
  bytes_ += padded;
  return place;
}

void DeviceArena::Open() {
  if (!can_map_ || range_ != nullptr) return;
  range_ = VirtualRange::Reserve();
  can_map_ = range_ != nullptr;
}

bool DeviceArena::ExtendLast(size_t bytes) {
  if (range_ == nullptr || packing_ == Packing::kWithinPieces) return false;
  Piece& piece = pieces_[piece_];
  const size_t missing = bytes - (piece.bytes - offset_);
  if (!range_->Grow(std::max(missing, kPieceBytes)) && !range_->Grow(missing)) Refuse(bytes);
  piece.bytes = range_->mapped_bytes();
  return true;
}

void DeviceArena::AddPiece(size_t bytes) {
  if (range_ != nullptr) {
    const size_t before = range_->mapped_bytes();
    if (!range_->Grow(std::max(bytes, kPieceBytes)) && !range_->Grow(bytes)) Refuse(bytes);
    pieces_.push_back({range_->data() + before, range_->mapped_bytes() - before});
    return;
  }
  for (const size_t size : {std::max(bytes, kPieceBytes), bytes}) {
    void* data = nullptr;
    if (cudaMalloc(&data, size) == cudaSuccess) {
      pieces_.push_back({static_cast<char*>(data), size});
      return;
    }
    cudaGetLastError();  // Or the next launch would report it again.
  }
  Refuse(bytes);
}

void DeviceArena::Refuse(size_t bytes) const {
  size_t free_bytes = 0, total_bytes = 0;
  SKEIN_CUDA(cudaMemGetInfo(&free_bytes, &total_bytes));
  throw Error("DEVICE_OUT_OF_MEMORY",
              Format("%s: %zu bytes beside the %zu that it has; %zu of the device's %zu are free",
                     name_, bytes, held_bytes(), free_bytes, total_bytes));
}

bool DeviceArena::Contains(const void* place) const {
  return std::any_of(pieces_.begin(), pieces_.end(), [place](const Piece& piece) {
    return place >= piece.data && place < piece.data + piece.bytes;
  });
}

size_t DeviceArena::held_bytes() const {
  size_t bytes = 0;
  for (const Piece& piece : pieces_) bytes += piece.bytes;
  return bytes;
}

void DeviceArena::Rewind() {
  piece_ = 0;
  offset_ = 0;
  bytes_ = 0;
}

void DeviceArena::Reset() {
  if (range_ != nullptr) {
    range_->Unmap();
  } else {
    for (const Piece& piece : pieces_) cudaFree(piece.data);
  }
  pieces_.clear();
  Rewind();
}

}  // namespace skein::cuda
