#include "cuda/virtual_range.h"

#include <cuda.h>

#include "cuda/cuda_check.h"
#include "cuda/driver_call.h"

namespace skein::cuda {

struct DriverCalls {
  decltype(&cuDeviceGetAttribute) get_attribute;
  decltype(&cuMemGetAllocationGranularity) get_granularity;
  decltype(&cuMemAddressReserve) reserve;
  decltype(&cuMemAddressFree) unreserve;
  decltype(&cuMemCreate) create;
  decltype(&cuMemRelease) release;
  decltype(&cuMemMap) map;
  decltype(&cuMemUnmap) unmap;
  decltype(&cuMemSetAccess) set_access;
  bool has_all = false;
};

namespace {

size_t RoundUp(size_t value, size_t step) { return (value + step - 1) / step * step; }

const DriverCalls& Driver() {
  static const DriverCalls kCalls = [] {
    DriverCalls calls{};
    calls.has_all = FindDriverCall("cuDeviceGetAttribute", &calls.get_attribute) &&
                    FindDriverCall("cuMemGetAllocationGranularity", &calls.get_granularity) &&
                    FindDriverCall("cuMemAddressReserve", &calls.reserve) &&
                    FindDriverCall("cuMemAddressFree", &calls.unreserve) &&
                    FindDriverCall("cuMemCreate", &calls.create) &&
                    FindDriverCall("cuMemRelease", &calls.release) &&
                    FindDriverCall("cuMemMap", &calls.map) &&
                    FindDriverCall("cuMemUnmap", &calls.unmap) &&
                    FindDriverCall("cuMemSetAccess", &calls.set_access);
    return calls;
  }();
  return kCalls;
}

CUmemAllocationProp PropertiesOf(int device, int handle_type, bool is_rdma_capable) {
  CUmemAllocationProp properties{};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  properties.location.id = device;
  properties.requestedHandleTypes = static_cast<CUmemAllocationHandleType>(handle_type);
  properties.allocFlags.gpuDirectRDMACapable = is_rdma_capable ? 1 : 0;
  return properties;
}

}  // namespace

std::unique_ptr<VirtualRange> VirtualRange::Reserve() {
  const DriverCalls& driver = Driver();
  if (!driver.has_all) return nullptr;
  std::unique_ptr<VirtualRange> range(new VirtualRange(driver));
  return range->Open() ? std::move(range) : nullptr;
}

bool VirtualRange::Open() {
  SKEIN_CUDA(cudaGetDevice(&device_));
  const auto has = [this](CUdevice_attribute attribute) {
    int value = 0;
    return driver_.get_attribute(&value, attribute, device_) == CUDA_SUCCESS && value != 0;
  };
  if (!has(CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED)) return false;
  // So that NCCL can register what lies here, with other GPUs and with the network.
  handle_type_ = has(CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED)
                     ? CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR
                     : 0;
  is_rdma_capable_ = has(CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED);
  const CUmemAllocationProp properties = PropertiesOf(device_, handle_type_, is_rdma_capable_);
  if (driver_.get_granularity(&granularity_, &properties, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED) !=
          CUDA_SUCCESS ||
      granularity_ == 0) {
    return false;
  }
  size_t free_bytes = 0, total_bytes = 0;
  SKEIN_CUDA(cudaMemGetInfo(&free_bytes, &total_bytes));
  const size_t wanted = RoundUp(total_bytes, granularity_);
  CUdeviceptr address = 0;
  if (driver_.reserve(&address, wanted, 0, 0, 0) != CUDA_SUCCESS) return false;
  data_ = reinterpret_cast<char*>(address);
  reserved_ = wanted;
  // A container may refuse what the device can do: one piece tells, without the handles if need be.
  if (free_bytes < granularity_ || Grow(granularity_)) {
    Unmap();
    return true;
  }
  handle_type_ = 0;
  is_rdma_capable_ = false;
  const bool works = Grow(granularity_);
  Unmap();
  return works;
}

VirtualRange::~VirtualRange() {
  Unmap();
  if (data_ != nullptr) driver_.unreserve(reinterpret_cast<CUdeviceptr>(data_), reserved_);
}

bool VirtualRange::Grow(size_t bytes) {
  const size_t size = RoundUp(bytes, granularity_);
  if (size > reserved_ - mapped_) return false;
  const CUmemAllocationProp properties = PropertiesOf(device_, handle_type_, is_rdma_capable_);
  CUmemGenericAllocationHandle handle = 0;
  if (driver_.create(&handle, size, &properties, 0) != CUDA_SUCCESS) return false;
  const auto address = reinterpret_cast<CUdeviceptr>(data_ + mapped_);
  if (driver_.map(address, size, 0, handle, 0) != CUDA_SUCCESS) {
    driver_.release(handle);
    return false;
  }
  CUmemAccessDesc access{};
  access.location = properties.location;
  access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  if (driver_.set_access(address, size, &access, 1) != CUDA_SUCCESS) {
    driver_.unmap(address, size);
    driver_.release(handle);
    return false;
  }
  pieces_.push_back({handle, size});
  mapped_ += size;
  return true;
}

// Failures are those of a device that is lost: there is nothing left to give back then.
void VirtualRange::Unmap() {
  size_t offset = 0;
  for (const Piece& piece : pieces_) {
    driver_.unmap(reinterpret_cast<CUdeviceptr>(data_ + offset), piece.bytes);
    driver_.release(piece.handle);
    offset += piece.bytes;
  }
  pieces_.clear();
  mapped_ = 0;
}

}  // namespace skein::cuda
