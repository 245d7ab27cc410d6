// Compiled without fused multiply-add (CMakeLists.txt): the noise is defined by plain IEEE
// operations, one rounding each, and must be the host's to the last bit. A thread takes groups of
// four token ids, which share one call of the generator.
#include <cfloat>
#include <climits>

#include "cuda/cuda_check.h"
#include "cuda/kernels/sampling.h"

namespace skein::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kGroupsPerThread = 2;
constexpr int kGroupsPerBlock = kThreads * kGroupsPerThread;

// Philox4x32-10, as in cpu/sampling_noise.h.
__device__ __forceinline__ void Philox(uint64_t seed, uint32_t (&c)[4]) {
  uint32_t k0 = static_cast<uint32_t>(seed);
  uint32_t k1 = static_cast<uint32_t>(seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * c[0];
    const uint64_t b = uint64_t{0xCD9E8D57u} * c[2];
    c[0] = static_cast<uint32_t>(b >> 32) ^ c[1] ^ k0;
    c[2] = static_cast<uint32_t>(a >> 32) ^ c[3] ^ k1;
    c[1] = static_cast<uint32_t>(b);
    c[3] = static_cast<uint32_t>(a);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

// The series of cpu/sampling_noise.cc.
__device__ __forceinline__ double NaturalLog(double x) {
  const auto bits = static_cast<uint64_t>(__double_as_longlong(x));
  const uint64_t sqrt_half = 0x3FE6A09E667F3BCD;
  const uint64_t biased = (bits - sqrt_half + (uint64_t{1024} << 52)) >> 52;
  const double e = static_cast<double>(biased) - 1024.0;
  const double f =
      __longlong_as_double(static_cast<long long>(bits - ((biased - 1024) << 52))) - 1.0;
  const double s = f / (2.0 + f);
  const double z = s * s;
  double r = 1.479819860511658591e-01;
  r = r * z + 1.531383769920937332e-01;
  r = r * z + 1.818357216161805012e-01;
  r = r * z + 2.222219843214978396e-01;
  r = r * z + 2.857142874366239149e-01;
  r = r * z + 3.999999999940941908e-01;
  r = r * z + 6.666666666666735130e-01;
  return e * 0.693147180559945309417 + (2.0 * s + s * (z * r));
}

__device__ __forceinline__ double Gumbel(uint32_t word) {
  const double u = (static_cast<double>(word) + 0.5) * 0x1p-32;
  return -NaturalLog(-NaturalLog(u));
}

__device__ __forceinline__ float Clamped(float x) {
  x = x > -FLT_MAX ? x : -FLT_MAX;
  return x < FLT_MAX ? x : FLT_MAX;
}

__device__ __forceinline__ void TakeHigher(BestPart& best, const BestPart& b) {
  best.max_logit = fmaxf(best.max_logit, b.max_logit);
  if (b.id == INT_MAX) return;
  if (best.id == INT_MAX || b.value > best.value || (b.value == best.value && b.id < best.id)) {
    best.value = b.value;
    best.logit = b.logit;
    best.id = b.id;
  }
}

// Block (part of the vocabulary, row).
__global__ void __launch_bounds__(kThreads)
    BestKernel(const float* logits, int64_t stride, int64_t count, int32_t first_id,
               const BestRow* rows, BestPart* parts) {
  __shared__ BestPart shared[kThreads / 32];
  const BestRow row = rows[blockIdx.y];
  const float* values = logits + row.row * stride;
  const int64_t first_group = first_id / 4 + static_cast<int64_t>(blockIdx.x) * kGroupsPerBlock;
  BestPart best{0.0, -FLT_MAX, INT_MAX, -FLT_MAX, 0};
#pragma unroll
  for (int pass = 0; pass < kGroupsPerThread; ++pass) {
    const int64_t group = first_group + pass * kThreads + threadIdx.x;
    if (group * 4 >= first_id + count) continue;
    uint32_t words[4] = {static_cast<uint32_t>(group), row.choice_index,
                         static_cast<uint32_t>(row.position),
                         static_cast<uint32_t>(row.position >> 32)};
    if (!row.is_greedy) Philox(row.seed, words);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int64_t index = group * 4 + i - first_id;
      if (index < 0 || index >= count) continue;
      const float logit = Clamped(values[index]);
      double value = logit;
      if (!row.is_greedy) {
        value = logit * static_cast<double>(row.inverse_temperature) + Gumbel(words[i]);
      }
      TakeHigher(best, {value, logit, static_cast<int32_t>(group * 4 + i), logit, 0});
    }
  }
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    BestPart other{};
    other.value = __shfl_xor_sync(0xffffffffu, best.value, offset);
    other.logit = __shfl_xor_sync(0xffffffffu, best.logit, offset);
    other.id = __shfl_xor_sync(0xffffffffu, best.id, offset);
    other.max_logit = __shfl_xor_sync(0xffffffffu, best.max_logit, offset);
    TakeHigher(best, other);
  }
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = best;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int warp = 1; warp < kThreads / 32; ++warp) TakeHigher(best, shared[warp]);
  parts[static_cast<int64_t>(blockIdx.y) * gridDim.x + blockIdx.x] = best;
}

}  // namespace

int NumBestChunks(int64_t count, int32_t first_id) {
  const int64_t groups = (first_id + count + 3) / 4 - first_id / 4;
  return static_cast<int>((groups + kGroupsPerBlock - 1) / kGroupsPerBlock);
}

void FindBest(const float* logits, int64_t stride, int64_t count, int32_t first_id,
              const BestRow* rows, int num_rows, BestPart* parts, cudaStream_t stream) {
  const int chunks = NumBestChunks(count, first_id);
  if (chunks == 0 || num_rows == 0) return;
  BestKernel<<<dim3(static_cast<unsigned>(chunks), static_cast<unsigned>(num_rows)), kThreads, 0,
               stream>>>(logits, stride, count, first_id, rows, parts);
  SKEIN_CUDA_LAUNCHED("BestKernel");
}

}  // namespace skein::cuda
