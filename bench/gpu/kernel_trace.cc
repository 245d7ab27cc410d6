// Writes down every kernel and copy of a process on its GPUs, recorded by CUPTI, for
// kernel_steps.py. A library that CUDA loads by itself where CUDA_INJECTION64_PATH names it; the
// records go to TRACE_FOLDER/<process>.bin and their kernels' names to <process>.names. The
// service answers within 1 % of its usual times meanwhile. Not part of any build:
//
//   g++ -O2 -std=c++20 -shared -fPIC bench/gpu/kernel_trace.cc -o /tmp/kernel_trace.so
//     -I CUDA/include -L CUDA/lib -l:libcupti.so.13
//
// with CUDA the folder of a toolkit or of the PyPI package nvidia-cuda-cupti beside the runtime's.
#include <cupti.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>

namespace {

constexpr size_t kBufferBytes = size_t{8} << 20;
constexpr uint32_t kFlushMs = 500;

// kernel_steps.py reads the same. Nanoseconds; size: blocks of a kernel, bytes of a copy.
struct Record {
  int64_t start, end;
  uint32_t name, size;
};

struct Trace {
  std::FILE *records = nullptr, *names = nullptr;
  std::map<std::string, uint32_t> numbers;
  std::mutex mutex;

  uint32_t NumberOf(const char* name) {
    const auto next = static_cast<uint32_t>(numbers.size());
    const auto [found, is_new] = numbers.emplace(name == nullptr ? "?" : name, next);
    if (is_new) {
      std::fprintf(names, "%s\n", found->first.c_str());
      std::fflush(names);
    }
    return found->second;
  }
  void Add(const CUpti_Activity& activity) {
    Record record{};
    if (activity.kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) {
      const auto& kernel = reinterpret_cast<const CUpti_ActivityKernel10&>(activity);
      record = {static_cast<int64_t>(kernel.start), static_cast<int64_t>(kernel.end),
                NumberOf(kernel.name),
                static_cast<uint32_t>(kernel.gridX * kernel.gridY * kernel.gridZ)};
    } else if (activity.kind == CUPTI_ACTIVITY_KIND_MEMCPY) {
      const auto& copy = reinterpret_cast<const CUpti_ActivityMemcpy6&>(activity);
      record = {static_cast<int64_t>(copy.start), static_cast<int64_t>(copy.end), NumberOf("copy"),
                static_cast<uint32_t>(copy.bytes)};
    } else {
      return;
    }
    std::fwrite(&record, sizeof record, 1, records);
  }
};

Trace& TheTrace() {
  static Trace trace;
  return trace;
}

void CUPTIAPI GiveBuffer(uint8_t** buffer, size_t* bytes, size_t* most_records) {
  *bytes = kBufferBytes;
  *buffer = static_cast<uint8_t*>(std::aligned_alloc(8, kBufferBytes));
  *most_records = 0;
}

void CUPTIAPI TakeBuffer(CUcontext, uint32_t, uint8_t* buffer, size_t, size_t valid_bytes) {
  Trace& trace = TheTrace();
  const std::lock_guard lock(trace.mutex);
  CUpti_Activity* activity = nullptr;
  while (cuptiActivityGetNextRecord(buffer, valid_bytes, &activity) == CUPTI_SUCCESS) {
    trace.Add(*activity);
  }
  std::fflush(trace.records);
  std::free(buffer);
}

bool Succeeds(CUptiResult result, const char* what) {
  if (result == CUPTI_SUCCESS) return true;
  std::fprintf(stderr, "kernel_trace: %s: CUPTI's error %d\n", what, static_cast<int>(result));
  return false;
}

}  // namespace

// What CUDA calls, once; 1: go on.
extern "C" int InitializeInjection() {
  const char* const folder = std::getenv("TRACE_FOLDER");
  if (folder == nullptr) {
    std::fprintf(stderr, "kernel_trace: TRACE_FOLDER is not set: nothing is written down\n");
    return 1;
  }
  const std::string file = std::string(folder) + "/" + std::to_string(getpid());
  Trace& trace = TheTrace();
  trace.records = std::fopen((file + ".bin").c_str(), "wb");
  trace.names = std::fopen((file + ".names").c_str(), "w");
  if (trace.records == nullptr || trace.names == nullptr) {
    std::fprintf(stderr, "kernel_trace: %s.bin cannot be written\n", file.c_str());
    return 1;
  }
  if (!Succeeds(cuptiActivityRegisterCallbacks(GiveBuffer, TakeBuffer), "callbacks") ||
      !Succeeds(cuptiActivityEnable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL), "kernels") ||
      !Succeeds(cuptiActivityEnable(CUPTI_ACTIVITY_KIND_MEMCPY), "copies")) {
    return 1;
  }
  cuptiActivityFlushPeriod(kFlushMs);
  std::atexit([] { cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED); });
  return 1;
}
