// Embedding, row copies, rotary + KV store, SwiGLU and GELU (norms: norms.cu). All are bound by
// memory, or, of few rows, by latency: eight values a thread and 16-byte accesses where the width
// allows it, single values otherwise; and what decode steps run reads its parameters while the
// kernel before it ends.
//
// Rows are a grid's first dimension, which takes 2^31 blocks; the others take 65,535, and a step's
// tiles alone can have more rows.

#include "cuda/cuda_check.h"
#include "cuda/kernels/elementwise.h"
#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/rotary_parts.cuh"
#include "cuda/kernels/vectors.cuh"

namespace skein::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kRotaryThreads = 128;
constexpr int kSwiGluThreads = 128;

// Grid (row, part of its columns).
template <bool kVector>
__global__ void EmbedKernel(const __nv_bfloat16* table, int64_t vocab_start, int64_t vocab_rows,
                            int64_t hidden, const int32_t* token_ids, const int32_t* slots,
                            const int32_t* last_tokens, float* out) {
  LetNextStart();
  WaitForPrevious();
  const int64_t row = blockIdx.x;
  constexpr int kWidth = kVector ? 8 : 1;
  const int64_t col = (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * kWidth;
  if (col >= hidden) return;
  int32_t id = token_ids[row];
  if (id < 0) id = last_tokens[slots[row]];
  const int64_t local = id - vocab_start;
  const bool present = local >= 0 && local < vocab_rows;
  const __nv_bfloat16* source = table + (present ? local : 0) * hidden + col;
  float* place = out + row * hidden + col;
  if constexpr (kVector) {
    float values[8] = {};
    if (present) Unpack(LoadEight(source), values);
    StoreEightFloats(place, values);
  } else {
    *place = present ? __bfloat162float(*source) : 0.0f;
  }
}

template <typename Chunk>
__global__ void CopyRowsKernel(const float* source, int64_t source_stride,
                               const int32_t* source_rows, const int32_t* out_rows, int64_t cols,
                               float* out, int64_t out_stride) {
  LetNextStart();
  WaitForPrevious();
  const int64_t from = source_rows == nullptr ? blockIdx.x : source_rows[blockIdx.x];
  const int64_t to = out_rows == nullptr ? blockIdx.x : out_rows[blockIdx.x];
  const int64_t chunks = cols * static_cast<int64_t>(sizeof(float)) / sizeof(Chunk);
  const auto* in = reinterpret_cast<const Chunk*>(source + from * source_stride);
  auto* destination = reinterpret_cast<Chunk*>(out + to * out_stride);
  for (int64_t i = threadIdx.x; i < chunks; i += blockDim.x) destination[i] = in[i];
}

// Grid (row, part). Threads over the pairs of all heads of q, then of k, then over elements of v:
// kWidth neighbouring pairs or elements each.
template <int kWidth>
__global__ void __launch_bounds__(kRotaryThreads) RotaryStoreKvKernel(RotaryArguments a) {
  extern __shared__ float2 turns[];  // [head_dim / 2]: cosine, sine
  LetNextStart();
  const int64_t row = blockIdx.x;
  const int half = a.head_dim / 2;
  const int64_t slot = a.slot_mapping[row];
  // Positions do not change while the step runs.
  const float position = static_cast<float>(a.positions[row]);
  for (int d = threadIdx.x; d < half; d += kRotaryThreads) {
    turns[d] = TurnOf(position, a.inverse_frequencies, d);
  }
  __syncthreads();
  WaitForPrevious();
  __nv_bfloat16* base = a.qkv + row * a.stride;
  const auto cache_offset = [&](int kv_head) {
    return ((slot / a.block_size * a.num_kv_heads + kv_head) * a.block_size + slot % a.block_size) *
           a.head_dim;
  };
  const int per_head = half / kWidth;
  const int rotated = (a.num_heads + a.num_kv_heads) * per_head;
  const int copied = a.num_kv_heads * a.head_dim / kWidth;
  const int first = static_cast<int>(blockIdx.y * kRotaryThreads + threadIdx.x);
  const int step = static_cast<int>(gridDim.y * kRotaryThreads);
  for (int i = first; i < rotated + copied; i += step) {
    if (i >= rotated) {
      if (slot < 0) continue;
      const int at = (i - rotated) * kWidth;
      const __nv_bfloat16* from =
          base + static_cast<int64_t>(a.num_heads + a.num_kv_heads) * a.head_dim + at;
      __nv_bfloat16* to = a.values + cache_offset(at / a.head_dim) + at % a.head_dim;
      if constexpr (kWidth == 8) {
        StoreEight(to, LoadEight(from));
      } else {
        *to = *from;
      }
      continue;
    }
    const int head = i / per_head;
    const int d = i % per_head * kWidth;
    __nv_bfloat16* place = base + static_cast<int64_t>(head) * a.head_dim + d;
    __nv_bfloat16* to = place;
    if (head >= a.num_heads) {
      if (slot < 0) continue;
      to = a.keys + cache_offset(head - a.num_heads) + d;
    }
    float x[kWidth], y[kWidth];
    if constexpr (kWidth == 8) {
      Unpack(LoadEight(place), x);
      Unpack(LoadEight(place + half), y);
    } else {
      x[0] = __bfloat162float(place[0]);
      y[0] = __bfloat162float(place[half]);
    }
#pragma unroll
    for (int j = 0; j < kWidth; ++j) Turn(turns[d + j], x[j], y[j]);
    if constexpr (kWidth == 8) {
      StoreEight(to, Pack(x));
      StoreEight(to + half, Pack(y));
    } else {
      to[0] = __float2bfloat16(x[0]);
      to[half] = __float2bfloat16(y[0]);
    }
  }
}

// Grid (row, part of its columns), as the next one.
template <typename Input, bool kVector>
__global__ void SwiGluKernel(const Input* gate_up, int64_t stride, int64_t width,
                             __nv_bfloat16* out, int64_t out_stride) {
  LetNextStart();
  WaitForPrevious();
  const int64_t row = blockIdx.x;
  const Input* gate = gate_up + row * stride;
  if constexpr (kVector) {
    const int64_t col = (static_cast<int64_t>(blockIdx.y) * kSwiGluThreads + threadIdx.x) * 8;
    if (col >= width) return;
    float g[8], u[8];
    LoadValues(gate + col, g);
    LoadValues(gate + width + col, u);
#pragma unroll
    for (int i = 0; i < 8; ++i) g[i] = Silu(g[i]) * u[i];
    StoreEight(out + row * out_stride + col, Pack(g));
  } else {
    const int64_t col = static_cast<int64_t>(blockIdx.y) * kSwiGluThreads + threadIdx.x;
    if (col >= width) return;
    const float value = Silu(static_cast<float>(gate[col])) * static_cast<float>(gate[width + col]);
    out[row * out_stride + col] = __float2bfloat16(value);
  }
}

template <bool kVector>
__global__ void BiasGeluKernel(__nv_bfloat16* x, int64_t stride, const float* bias, int64_t cols,
                               bool gelu) {
  LetNextStart();
  WaitForPrevious();
  constexpr int kWidth = kVector ? 8 : 1;
  const int64_t col = (static_cast<int64_t>(blockIdx.y) * kThreads + threadIdx.x) * kWidth;
  if (col >= cols) return;
  __nv_bfloat16* place = x + blockIdx.x * stride + col;
  float values[kWidth];
  if constexpr (kVector) {
    Unpack(LoadEight(place), values);
  } else {
    values[0] = __bfloat162float(*place);
  }
#pragma unroll
  for (int i = 0; i < kWidth; ++i) {
    if (bias != nullptr) values[i] += bias[col + i];
    if (gelu) values[i] = GeluErf(values[i]);
  }
  if constexpr (kVector) {
    StoreEight(place, Pack(values));
  } else {
    *place = __float2bfloat16(values[0]);
  }
}

}  // namespace

void EmbedTokens(const __nv_bfloat16* table, int64_t vocab_start, int64_t vocab_rows,
                 int64_t hidden, const int32_t* token_ids, const int32_t* slots,
                 const int32_t* last_tokens, int64_t rows, float* out, Stream& stream) {
  if (rows == 0) return;
  const bool vector = IsVector(hidden, {});
  const auto kernel = vector ? EmbedKernel<true> : EmbedKernel<false>;
  LaunchOverlapped(kernel, dim3(Blocks(rows), BlocksFor(hidden, vector ? 128 * 8 : 128)), dim3(128),
                   0, stream, table, vocab_start, vocab_rows, hidden, token_ids, slots, last_tokens,
                   out);
}

void CopyRows(const float* source, int64_t source_stride, const int32_t* source_rows,
              const int32_t* out_rows, int64_t count, int64_t cols, float* out, int64_t out_stride,
              Stream& stream) {
  if (count == 0) return;
  const auto kernel =
      IsVector(cols, {source_stride, out_stride}) ? CopyRowsKernel<float4> : CopyRowsKernel<float>;
  LaunchOverlapped(kernel, dim3(Blocks(count)), dim3(128), 0, stream, source, source_stride,
                   source_rows, out_rows, cols, out, out_stride);
}

void RotaryStoreKv(const RotaryArguments& arguments, int64_t rows, Stream& stream) {
  if (rows == 0) return;
  SKEIN_CHECK(arguments.head_dim % 2 == 0, "head_dim %d", arguments.head_dim);
  const bool vector = arguments.head_dim % 16 == 0 && arguments.stride % 8 == 0;
  const int64_t items = static_cast<int64_t>(arguments.num_heads + 3 * arguments.num_kv_heads) *
                        (arguments.head_dim / 2) / (vector ? 8 : 1);
  // Few rows: one item a thread. Many: fewer blocks, which compute the angles less often.
  const unsigned parts =
      rows <= 64 ? BlocksFor(items, kRotaryThreads) : BlocksFor(items, 4 * kRotaryThreads);
  const auto kernel = vector ? RotaryStoreKvKernel<8> : RotaryStoreKvKernel<1>;
  LaunchOverlapped(kernel, dim3(Blocks(rows), parts), dim3(kRotaryThreads),
                   static_cast<size_t>(arguments.head_dim / 2) * sizeof(float2), stream, arguments);
}

template <typename Input>
void SwiGlu(const Input* gate_up, int64_t stride, int64_t rows, int64_t width, __nv_bfloat16* out,
            int64_t out_stride, Stream& stream) {
  if (rows == 0) return;
  const bool vector = IsVector(width, {stride, out_stride});
  const auto kernel = vector ? SwiGluKernel<Input, true> : SwiGluKernel<Input, false>;
  const dim3 blocks(Blocks(rows), BlocksFor(width, kSwiGluThreads * (vector ? 8 : 1)));
  LaunchOverlapped(kernel, blocks, dim3(kSwiGluThreads), 0, stream, gate_up, stride, width, out,
                   out_stride);
}
template void SwiGlu(const float*, int64_t, int64_t, int64_t, __nv_bfloat16*, int64_t, Stream&);
template void SwiGlu(const __nv_bfloat16*, int64_t, int64_t, int64_t, __nv_bfloat16*, int64_t,
                     Stream&);

void BiasGelu(__nv_bfloat16* x, int64_t stride, const float* bias, int64_t rows, int64_t cols,
              bool gelu, Stream& stream) {
  if (rows == 0) return;
  const bool vector = IsVector(cols, {stride});
  const auto kernel = vector ? BiasGeluKernel<true> : BiasGeluKernel<false>;
  LaunchOverlapped(kernel, dim3(Blocks(rows), BlocksFor(cols, kThreads * (vector ? 8 : 1))),
                   dim3(kThreads), 0, stream, x, stride, bias, cols, gelu);
}

}  // namespace skein::cuda
