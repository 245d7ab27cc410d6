#include "cuda/peer_exchange.h"

#include <algorithm>
#include <new>
#include <utility>

#include "core/error.h"
#include "cuda/cuda_check.h"
#include "cuda/kernels/peer_exchange.h"

namespace skein::cuda {
namespace {

// About what a link carries while ranks meet once more (NVLink 4: 350 GB/s, 1.5 us), which is what
// a sum in parts takes longer where bytes cost nothing.
constexpr int64_t kMeetingBytes = 512 << 10;

}  // namespace

PeerExchange::PeerExchange(const PeerExchangeOptions& options)
    : memory_(2 * options.slot_bytes),
      words_((kMostPeerBlocks + 2) * sizeof(uint64_t)),
      host_words_(sizeof(HostWords)),
      max_blocks_(options.max_blocks > 0 ? std::min(options.max_blocks, kMostPeerBlocks)
                                         : PeerBlockLimit()) {
  SKEIN_CHECK(options.world_size >= 2 && options.world_size <= kMostPeerRanks &&
                  options.slot_bytes % 16 == 0,
              "%d ranks, slots of %zu bytes", options.world_size, options.slot_bytes);
  SKEIN_CUDA(cudaMemset(words_.data(), 0, words_.bytes()));
  SKEIN_CUDA(cudaDeviceSynchronize());
  new (host_words_.data()) HostWords{};
  view_.rank = options.rank;
  view_.world_size = options.world_size;
  view_.slot_bytes = static_cast<int64_t>(options.slot_bytes);
  view_.counts = words_.As<uint64_t>();
  view_.waited_ns = view_.counts + kMostPeerBlocks;
  view_.given_up = reinterpret_cast<uint32_t*>(view_.waited_ns + 1);
  view_.abort_asked = reinterpret_cast<const uint32_t*>(&host().abort_asked);
  view_.begun = reinterpret_cast<uint64_t*>(&host().begun);
  view_.told_waited_ns = reinterpret_cast<uint64_t*>(&host().told_waited_ns);
}

PeerExchange::~PeerExchange() { Abort(); }

std::string PeerExchange::Open(const std::vector<std::string>& handles) {
  std::string why = memory_.Open(handles, view_.rank);
  if (!why.empty()) return why;
  for (int rank = 0; rank < view_.world_size; ++rank) view_.staging[rank] = memory_.of(rank);
  return why;
}

// All to all sends world_size - 1 times the vector; in parts, twice that over world_size.
bool PeerExchange::IsInParts(int64_t bytes) const {
  const int64_t n = view_.world_size;
  return bytes * (n - 1) * (n - 2) > kMeetingBytes * n;
}

void PeerExchange::Sum(void* data, int64_t count, DType type, Stream& stream) {
  const auto element = static_cast<int64_t>(SizeOf(type));
  const bool in_parts = IsInParts(count * element);
  // In parts, a slot takes every rank's part and then the sums of the others.
  const int64_t items = in_parts ? Items() / 2 * view_.world_size : Items();
  const int64_t most = items * 16 / element;
  const auto sum = [&](auto* values, int64_t length) {
    if (in_parts) {
      PeerSumInParts(view_, values, length, max_blocks_, stream);
    } else {
      PeerSum(view_, values, length, max_blocks_, stream);
    }
  };
  for (int64_t done = 0; done < count; done += most) {
    const int64_t length = std::min(most, count - done);
    if (type == DType::kFloat32) {
      sum(static_cast<float*>(data) + done, length);
    } else {
      sum(static_cast<__nv_bfloat16*>(data) + done, length);
    }
  }
}

bool PeerExchange::SumResidualNorm(const ResidualNorm& rows, Stream& stream) {
  const Matrix& partial = rows.partial;
  const int64_t normed_stride = rows.normed == nullptr ? 8 : rows.normed->stride;
  const auto row_bytes = static_cast<int64_t>(partial.RowBytes());
  const int64_t most = Items() * 16 / row_bytes;
  const bool is_in_eights =
      partial.cols % 8 == 0 && rows.residual.stride % 8 == 0 && normed_stride % 8 == 0;
  if (!is_in_eights || partial.cols > kMostPeerNormColumns || most == 0 ||
      IsInParts(partial.rows * row_bytes)) {
    return false;
  }
  const auto run = [&]<typename T>(T* values, int64_t first, int64_t count) {
    PeerNormRows<T> part{};
    part.partial = values + first * partial.cols;
    part.rows = count;
    part.cols = partial.cols;
    part.bias = rows.bias;
    part.scale = rows.scale;
    part.residual = rows.residual.As<float>() + first * rows.residual.stride;
    part.residual_stride = rows.residual.stride;
    part.has_norm = rows.norm != nullptr;
    if (rows.norm != nullptr) {
      part.norm = {rows.norm->kind == NormKind::kLayer, rows.norm->weight, rows.norm->bias,
                   rows.norm->eps};
      part.normed = rows.normed->As<__nv_bfloat16>() + first * normed_stride;
      part.normed_stride = normed_stride;
    }
    PeerSumResidualNorm(view_, part, max_blocks_, stream);
  };
  for (int64_t first = 0; first < partial.rows; first += most) {
    const int64_t count = std::min(most, partial.rows - first);
    if (partial.type == DType::kFloat32) {
      run(partial.As<float>(), first, count);
    } else {
      run(partial.As<__nv_bfloat16>(), first, count);
    }
  }
  return true;
}

bool PeerExchange::Gather(const void* send, void* receive, size_t bytes, Stream& stream) {
  if (bytes % 4 != 0) return false;
  const auto words = static_cast<int64_t>(bytes / 4);
  const int64_t most = 2 * Items();
  for (int64_t done = 0; done < words; done += most) {
    PeerGather(view_, static_cast<const uint32_t*>(send) + done,
               static_cast<uint32_t*>(receive) + done, std::min(most, words - done), words,
               max_blocks_, stream);
  }
  return true;
}

void PeerExchange::Abort() { host().abort_asked.store(1); }

uint64_t PeerExchange::begun() const { return host().begun.load(); }

int64_t PeerExchange::TakeWaitNanoseconds() {
  const uint64_t before = std::exchange(taken_wait_ns_, host().told_waited_ns.load());
  return static_cast<int64_t>(taken_wait_ns_ - before);
}

}  // namespace skein::cuda
