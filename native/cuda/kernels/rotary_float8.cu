// Rotary and the store of keys and values in float8. A warp has a head, so that its largest
// magnitude is known without leaving registers; a lane has two neighbouring pairs of it.

#include <algorithm>

#include "cuda/cuda_check.h"
#include "cuda/kernels/float8_parts.cuh"
#include "cuda/kernels/kv_float8.h"
#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/rotary_parts.cuh"

namespace skein::cuda {
namespace {

constexpr int kWarps = 4;
constexpr uint32_t kInfinity = 0x7f800000u;
constexpr uint16_t kOnes = 0x3838u;  // two codes of 1

__device__ __forceinline__ float2 LoadTwo(const __nv_bfloat16* from) {
  return __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(from));
}
__device__ __forceinline__ void StoreTwo(__nv_bfloat16* to, const float (&values)[2]) {
  *reinterpret_cast<__nv_bfloat162*>(to) = __floats2bfloat162_rn(values[0], values[1]);
}
__device__ __forceinline__ uint32_t Magnitude(float value) {
  return __float_as_uint(value) & 0x7fffffffu;
}
__device__ __forceinline__ uint16_t TwoCodes(const float (&values)[2], float inverse) {
  return __nv_cvt_float2_to_fp8x2(
      make_float2(__fmul_rn(values[0], inverse), __fmul_rn(values[1], inverse)), __NV_SATFINITE,
      __NV_E4M3);
}

// Grid (row, part of its heads): of q, then of k, then of v.
__global__ void __launch_bounds__(kWarps * 32)
    RotaryStoreFloat8KvKernel(RotaryArguments a, Float8Kv kv) {
  LetNextStart();
  const int64_t row = blockIdx.x;
  const int half = a.head_dim / 2;
  const int d = static_cast<int>(threadIdx.x % 32) * 2;
  const bool has_pairs = d < half;
  // Positions and slots do not change while the step runs.
  const int64_t slot = a.slot_mapping[row];
  const float position = static_cast<float>(a.positions[row]);
  float2 turns[2] = {};
  if (has_pairs) {
#pragma unroll
    for (int j = 0; j < 2; ++j) turns[j] = TurnOf(position, a.inverse_frequencies, d + j);
  }
  WaitForPrevious();
  const int heads = a.num_heads + 2 * a.num_kv_heads;
  const int first = static_cast<int>(blockIdx.y * kWarps + threadIdx.x / 32);
  for (int head = first; head < heads; head += static_cast<int>(gridDim.y) * kWarps) {
    __nv_bfloat16* const place =
        a.qkv + row * a.stride + static_cast<int64_t>(head) * a.head_dim + d;
    float x[2] = {}, y[2] = {};
    if (has_pairs) {
      const float2 low = LoadTwo(place), high = LoadTwo(place + half);
      x[0] = low.x, x[1] = low.y;
      y[0] = high.x, y[1] = high.y;
    }
    const bool is_value = head >= a.num_heads + a.num_kv_heads;
    if (!is_value) {
#pragma unroll
      for (int j = 0; j < 2; ++j) Turn(turns[j], x[j], y[j]);
    }
    if (head < a.num_heads) {
      if (has_pairs) {
        StoreTwo(place, x);
        StoreTwo(place + half, y);
      }
      continue;
    }
    if (slot < 0) continue;
    // As integers: what is no number is larger than infinity, and that than all else.
    const uint32_t largest = __reduce_max_sync(
        0xffffffffu,
        max(max(Magnitude(x[0]), Magnitude(x[1])), max(Magnitude(y[0]), Magnitude(y[1]))));
    const bool is_finite = largest < kInfinity;
    const float scale =
        is_finite ? DeviceFloat8Scale(__uint_as_float(largest)) : __uint_as_float(0x7fc00000u);
    const float inverse = __fdiv_rn(1.0f, scale);
    const int kv_head = (head - a.num_heads) % a.num_kv_heads;
    const int64_t at =
        (slot / a.block_size * a.num_kv_heads + kv_head) * a.block_size + slot % a.block_size;
    if (has_pairs) {
      uint8_t* const codes = (is_value ? kv.values : kv.keys) + at * a.head_dim + d;
      *reinterpret_cast<uint16_t*>(codes) = is_finite ? TwoCodes(x, inverse) : kOnes;
      *reinterpret_cast<uint16_t*>(codes + half) = is_finite ? TwoCodes(y, inverse) : kOnes;
    }
    if (d == 0) (is_value ? kv.value_scales : kv.key_scales)[at] = scale;
  }
}

}  // namespace

void RotaryStoreFloat8Kv(const RotaryArguments& arguments, const Float8Kv& kv, int64_t rows,
                         Stream& stream) {
  if (rows == 0) return;
  SKEIN_CHECK(arguments.head_dim % 4 == 0 && arguments.head_dim <= 128, "head_dim %d",
              arguments.head_dim);
  SKEIN_CHECK(arguments.stride % 2 == 0, "rows of %lld values",
              static_cast<long long>(arguments.stride));
  const int64_t heads = arguments.num_heads + 2 * arguments.num_kv_heads;
  // Few rows: a head a warp. Many: fewer blocks, which compute the angles less often.
  const int64_t heads_each = rows <= 64 ? kWarps : 4 * kWarps;
  const dim3 grid(static_cast<unsigned>(rows), BlocksFor(heads, heads_each));
  LaunchOverlapped(RotaryStoreFloat8KvKernel, grid, dim3(kWarps * 32), 0, stream, arguments, kv);
}

}  // namespace skein::cuda
