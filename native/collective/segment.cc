// Creating, sealing and attaching the shared segment.
#include "collective/segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "core/error.h"

namespace skein {
namespace {

constexpr uint64_t kMagic = 0x736b65696e736731;  // "skeinsg1"
constexpr size_t kPage = 4096;
constexpr size_t kHeaderBytes = (sizeof(SegmentHeader) + kPage - 1) / kPage * kPage;

// Two slots of 256 KiB a rank (a chunk of every rank then fits the cache that cores share); less
// from 17 ranks on, so that a group never needs more than about 8 MiB.
size_t SlotBytes(int world_size) {
  constexpr size_t kSlot = 256 * 1024;
  constexpr size_t kAllSlots = 8 * 1024 * 1024;
  return std::min(kSlot, kAllSlots / 2 / static_cast<size_t>(world_size) / kPage * kPage);
}

size_t SegmentBytes(int world_size) {
  return kHeaderBytes + 2 * static_cast<size_t>(world_size) * SlotBytes(world_size);
}

[[noreturn]] void ThrowErrno(const char* what) {
  const int code = errno;
  throw Error("COLLECTIVE_ERROR",
              Format("shared memory: %s failed: %s", what, std::strerror(code)));
}

void* MapShared(int fd, size_t bytes) {
  void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) ThrowErrno("mmap");
  return base;
}

// Closes on any way out of a function that may throw.
struct FdGuard {
  int fd;
  ~FdGuard() {
    if (fd >= 0) close(fd);
  }
  int Release() { return std::exchange(fd, -1); }
};

}  // namespace

Segment::~Segment() {
  munmap(base_, bytes_);
  CloseFd();
}

void Segment::CloseFd() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

std::byte* Segment::Slot(int rank, int parity) const {
  return static_cast<std::byte*>(base_) + kHeaderBytes +
         (static_cast<size_t>(rank) * 2 + static_cast<size_t>(parity)) * slot_bytes_;
}

void Segment::Initialize(int world_size, uint64_t group_epoch, uint64_t nonce) {
  auto* header = new (base_) SegmentHeader{};
  header->magic = kMagic;
  header->nonce = nonce;
  header->group_epoch = group_epoch;
  header->world_size = world_size;
  header->slot_bytes = static_cast<int64_t>(slot_bytes_);
}

std::shared_ptr<Segment> Segment::CreateLocal(int world_size) {
  const size_t bytes = SegmentBytes(world_size);
  void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) ThrowErrno("mmap");
  std::shared_ptr<Segment> segment(new Segment(base, bytes, SlotBytes(world_size), -1));
  segment->Initialize(world_size, 0, 0);
  return segment;
}

std::shared_ptr<Segment> Segment::CreateShared(int world_size, uint64_t group_epoch,
                                               uint64_t nonce) {
  FdGuard guard{memfd_create("skein-group", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  if (guard.fd < 0) ThrowErrno("memfd_create");
  if (fchmod(guard.fd, 0600) != 0) ThrowErrno("fchmod");
  const size_t bytes = SegmentBytes(world_size);
  if (ftruncate(guard.fd, static_cast<off_t>(bytes)) != 0) ThrowErrno("ftruncate");
  if (fallocate(guard.fd, 0, 0, static_cast<off_t>(bytes)) != 0) ThrowErrno("fallocate");
  if (fcntl(guard.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    ThrowErrno("fcntl(F_ADD_SEALS)");
  }
  void* base = MapShared(guard.fd, bytes);
  std::shared_ptr<Segment> segment(
      new Segment(base, bytes, SlotBytes(world_size), guard.Release()));
  segment->Initialize(world_size, group_epoch, nonce);
  return segment;
}

std::shared_ptr<Segment> Segment::Attach(int64_t pid, int fd, int world_size, uint64_t group_epoch,
                                         uint64_t nonce) {
  const std::string path = Format("/proc/%lld/fd/%d", static_cast<long long>(pid), fd);
  FdGuard guard{open(path.c_str(), O_RDWR | O_CLOEXEC)};
  if (guard.fd < 0) {
    throw Error("COLLECTIVE_ERROR", Format("shared memory: rank 0's segment cannot be opened (%s: "
                                           "%s); ranks that share memory must run on one "
                                           "host, as one user, and see each other's processes",
                                           path.c_str(), std::strerror(errno)));
  }
  const size_t bytes = SegmentBytes(world_size);
  struct stat info {};
  if (fstat(guard.fd, &info) != 0) ThrowErrno("fstat");
  if (static_cast<size_t>(info.st_size) != bytes) {
    throw Error("COLLECTIVE_ERROR", "shared memory: rank 0's segment is of another group (size)");
  }
  void* base = MapShared(guard.fd, bytes);
  std::shared_ptr<Segment> segment(new Segment(base, bytes, SlotBytes(world_size), -1));
  const SegmentHeader& header = segment->header();
  if (header.magic != kMagic || header.nonce != nonce || header.group_epoch != group_epoch ||
      header.world_size != world_size ||
      header.slot_bytes != static_cast<int64_t>(segment->slot_bytes())) {
    throw Error("COLLECTIVE_ERROR", "shared memory: rank 0's segment is of another group");
  }
  return segment;
}

}  // namespace skein
