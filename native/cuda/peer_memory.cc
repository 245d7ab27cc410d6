#include "cuda/peer_memory.h"

#include <cuda_runtime.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <random>

#include "cuda/cuda_check.h"

namespace skein::cuda {

struct PeerMemory::Allocation {
  uint64_t nonce = 0;
  int device = 0;
  void* data = nullptr;

  ~Allocation() {
    if (data != nullptr) cudaFree(data);
  }
};

// The same program runs on every rank, so its bytes are handed on as they are.
struct PeerMemory::Handle {
  char tag[16];
  int64_t pid;
  uint64_t nonce, bytes;
  char bus_id[24];
  bool has_ipc;
  cudaIpcMemHandle_t ipc;
};

namespace {

constexpr char kTag[16] = "skein-peer-1";

// What this process has allocated, by nonce.
template <typename Allocation>
class Registry {
 public:
  void Add(const std::shared_ptr<Allocation>& allocation) {
    const std::lock_guard lock(mutex_);
    std::erase_if(known_, [](const auto& each) { return each.second.expired(); });
    known_[allocation->nonce] = allocation;
  }
  std::shared_ptr<Allocation> Find(uint64_t nonce) {
    const std::lock_guard lock(mutex_);
    const auto found = known_.find(nonce);
    return found == known_.end() ? nullptr : found->second.lock();
  }
  static Registry& Get() {
    static Registry registry;
    return registry;
  }

 private:
  std::mutex mutex_;
  std::map<uint64_t, std::weak_ptr<Allocation>> known_;
};

uint64_t NewNonce() {
  std::random_device random;
  return static_cast<uint64_t>(random()) << 32 | random();
}

// Whether kernels of the current device may reach the memory of `device`.
bool CanReach(int device) {
  int own = 0, can_reach = 0;
  SKEIN_CUDA(cudaGetDevice(&own));
  if (own == device) return true;
  SKEIN_CUDA(cudaDeviceCanAccessPeer(&can_reach, own, device));
  return can_reach != 0;
}

// For memory of this process.
void EnableAccess(int device) {
  int own = 0;
  SKEIN_CUDA(cudaGetDevice(&own));
  if (own == device) return;
  const cudaError_t status = cudaDeviceEnablePeerAccess(device, 0);
  if (status == cudaErrorPeerAccessAlreadyEnabled) {
    cudaGetLastError();
  } else {
    SKEIN_CUDA(status);
  }
}

// Clears the error, which is no fault of what comes next.
std::string Text(cudaError_t status) {
  cudaGetLastError();
  return cudaGetErrorString(status);
}

}  // namespace

PeerMemory::PeerMemory(size_t bytes) : own_(std::make_shared<Allocation>()) {
  own_->nonce = NewNonce();
  SKEIN_CUDA(cudaGetDevice(&own_->device));
  SKEIN_CUDA(cudaMalloc(&own_->data, bytes));
  SKEIN_CUDA(cudaMemset(own_->data, 0xff, bytes));
  // Peers may write as soon as they know the handle.
  SKEIN_CUDA(cudaDeviceSynchronize());
  Registry<Allocation>::Get().Add(own_);
}

PeerMemory::~PeerMemory() {
  for (void* memory : opened_) cudaIpcCloseMemHandle(memory);
}

std::string PeerMemory::handle() const {
  Handle handle{};
  std::memcpy(handle.tag, kTag, sizeof(kTag));
  handle.pid = getpid();
  handle.nonce = own_->nonce;
  SKEIN_CUDA(cudaDeviceGetPCIBusId(handle.bus_id, sizeof(handle.bus_id), own_->device));
  const cudaError_t status = cudaIpcGetMemHandle(&handle.ipc, own_->data);
  handle.has_ipc = status == cudaSuccess;
  if (!handle.has_ipc) cudaGetLastError();
  return std::string(reinterpret_cast<const char*>(&handle), sizeof(handle));
}

std::string PeerMemory::Open(const std::vector<std::string>& handles, int own_rank) {
  memory_.assign(handles.size(), nullptr);
  for (size_t rank = 0; rank < handles.size(); ++rank) {
    if (static_cast<int>(rank) == own_rank) {
      memory_[rank] = static_cast<char*>(own_->data);
      continue;
    }
    Handle handle{};
    if (handles[rank].size() != sizeof(handle)) {
      return Format("rank %zu hands out no memory", rank);
    }
    std::memcpy(&handle, handles[rank].data(), sizeof(handle));
    handle.bus_id[sizeof(handle.bus_id) - 1] = '\0';
    if (std::memcmp(handle.tag, kTag, sizeof(kTag)) != 0) {
      return Format("rank %zu hands out no memory", rank);
    }
    const std::string why = OpenOne(handle, static_cast<int>(rank));
    if (!why.empty()) return why;
  }
  return "";
}

std::string PeerMemory::OpenOne(const Handle& handle, int rank) {
  const auto index = static_cast<size_t>(rank);
  if (handle.pid == getpid()) {
    if (auto known = Registry<Allocation>::Get().Find(handle.nonce)) {
      if (!CanReach(known->device)) {
        return Format("the GPU of rank %d (%s) cannot be reached", rank, handle.bus_id);
      }
      EnableAccess(known->device);
      memory_[index] = static_cast<char*>(known->data);
      shared_.push_back(std::move(known));
      return "";
    }
  }
  if (!handle.has_ipc) return Format("rank %d cannot share memory between processes", rank);
  int device = 0;
  if (const cudaError_t status = cudaDeviceGetByPCIBusId(&device, handle.bus_id);
      status != cudaSuccess) {
    Text(status);
    return Format("this process does not see the GPU of rank %d (%s)", rank, handle.bus_id);
  }
  if (!CanReach(device)) {
    return Format("the GPU of rank %d (%s) cannot be reached", rank, handle.bus_id);
  }
  void* memory = nullptr;
  const cudaError_t status =
      cudaIpcOpenMemHandle(&memory, handle.ipc, cudaIpcMemLazyEnablePeerAccess);
  if (status != cudaSuccess) {
    return Format("cudaIpcOpenMemHandle of rank %d: %s", rank, Text(status).c_str());
  }
  opened_.push_back(memory);
  memory_[index] = static_cast<char*>(memory);
  return "";
}

}  // namespace skein::cuda
