#include "cpu/packed_linear.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/float8.h"

namespace skein::cpu {
namespace {

// Rows whose packed x is held at a time: enough to reuse a weight panel from the first-level cache,
// few enough for the second.
constexpr int64_t kRowsPerPass = 256;
// Below this many multiply-adds a second thread costs more than it saves.
constexpr int64_t kMinParallelWork = 1 << 16;
// Panels are handed out in runs of about this many bytes: long streams, yet enough runs to share
// evenly.
constexpr int64_t kRunBytes = 256 << 10;
// With many rows instead: panels that share a slice of packed x, and the bytes of that slice.
constexpr int64_t kPanelsPerRun = 8;
constexpr int64_t kSliceBytes = 512 << 10;
constexpr int64_t kMaxPanelWidth = 32;
// Columns of AWQ weights in a cache line.
constexpr int64_t kLineColumns = 128;
// Of column j in a word as loaded, and of input j in a packed one.
constexpr int kAwqShift[8] = {0, 16, 4, 20, 8, 24, 12, 28};

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// What a weight stores, in the type that it is multiplied in.
template <typename To>
To Converted(float value) {
  return static_cast<To>(value);
}
template <typename To>
To Converted(BFloat16 value) {
  return static_cast<To>(static_cast<float>(value));
}
template <>
BFloat16 Converted<BFloat16>(BFloat16 value) {
  return value;
}
struct Float8Code {
  uint8_t bits;
};
template <typename To>
To Converted(Float8Code code) {
  return static_cast<To>(Float8ToFloat(code.bits));
}

// Where the panel's column c of input k lies: float32 by inputs; bfloat16 by pairs of inputs, so
// that a vector holds one pair of each column.
template <typename To>
int64_t PlaceOf(int64_t k, int64_t c, int64_t width) {
  if constexpr (sizeof(To) == 4) return k * width + c;
  return (k / 2 * width + c) * 2 + k % 2;
}

// `cols` rows of the weight from `first` on become columns of a panel.
template <typename From, typename To>
void TransposeInto(const Matrix& weight, int64_t first, int64_t cols,
                   const std::vector<InputBlock>& blocks, int64_t width, To* out) {
  // A run of inputs of all columns at a time, so that both sides stay in the cache.
  constexpr int64_t kRun = 64;
  for (const InputBlock& block : blocks) {
    for (int64_t k0 = 0; k0 < block.source_length; k0 += kRun) {
      const int64_t k1 = std::min(k0 + kRun, block.source_length);
      for (int64_t c = 0; c < cols; ++c) {
        const From* from =
            weight.As<const From>() + (first + c) * weight.stride + block.source_start;
        for (int64_t k = k0; k < k1; ++k) {
          out[PlaceOf<To>(block.start + k, c, width)] = Converted<To>(from[k]);
        }
      }
    }
  }
}

uint32_t NibbleAt(const Matrix& words, int64_t row, int64_t col) {
  const uint32_t word = words.As<uint32_t>()[row * words.stride + col / 8];
  return (word >> kAwqShift[col % 8]) & 15u;
}

// Nibble n of word m becomes nibble m of word n: halves, bytes, nibbles change places.
void TransposeNibbles(uint32_t (&words)[8]) {
  const auto swap = [&words](int distance, int shift, uint32_t low) {
    for (int m = 0; m < 8; ++m) {
      if ((m & distance) != 0) continue;
      uint32_t& a = words[m];
      uint32_t& b = words[m + distance];
      const uint32_t changed = ((a >> shift) ^ b) & low;
      b ^= changed;
      a ^= changed << shift;
    }
  };
  swap(4, 16, 0x0000ffffu);
  swap(2, 8, 0x00ff00ffu);
  swap(1, 4, 0x0f0f0f0fu);
}

void CheckDense(const RawLinear& raw) {
  SKEIN_CHECK(raw.weight.type == DType::kFloat32 || raw.weight.type == DType::kBFloat16 ||
                  raw.weight.type == DType::kFloat8E4M3,
              "weight is %s", Name(raw.weight.type));
  SKEIN_CHECK(raw.weight.rows == raw.out_features && raw.weight.cols == raw.in_features,
              "weight of another shape");
}

void CheckAwq(const RawLinear& raw) {
  SKEIN_CHECK(raw.group_size > 0 && raw.group_offset >= 0 && raw.group_offset < raw.group_size,
              "AWQ group size %ld, offset %ld", static_cast<long>(raw.group_size),
              static_cast<long>(raw.group_offset));
  const int64_t groups = CeilDiv(raw.in_features + raw.group_offset, raw.group_size);
  SKEIN_CHECK(raw.out_features % 8 == 0, "AWQ with %ld output features",
              static_cast<long>(raw.out_features));
  SKEIN_CHECK(raw.qweight.rows == raw.in_features && raw.qweight.cols == raw.out_features / 8,
              "qweight of another shape");
  SKEIN_CHECK(raw.qzeros.rows >= groups && raw.qzeros.cols == raw.out_features / 8,
              "qzeros of another shape");
  SKEIN_CHECK(raw.scales.rows >= groups && raw.scales.cols == raw.out_features,
              "scales of another shape");
  SKEIN_CHECK(raw.scales.type == DType::kFloat16 || raw.scales.type == DType::kFloat32,
              "scales are %s", Name(raw.scales.type));
}

}  // namespace

PackedLayout::PackedLayout(const RawLinear& raw, DType compute_type, int64_t panel_width)
    : num_panels(CeilDiv(raw.out_features, panel_width)) {
  SKEIN_CHECK(compute_type == DType::kFloat32 || compute_type == DType::kBFloat16,
              "compute type %s", Name(compute_type));
  SKEIN_CHECK(raw.in_features > 0 && raw.out_features > 0, "empty linear");
  if (raw.is_awq()) {
    kind = WeightKind::kAwq;
    CheckAwq(raw);
  } else {
    kind = compute_type == DType::kBFloat16 ? WeightKind::kBFloat16 : WeightKind::kFloat32;
    CheckDense(raw);
  }
  const int64_t unit = kind == WeightKind::kAwq ? kAwqUnit : 2;
  for (int64_t k = 0; k < raw.in_features;) {
    InputBlock block;
    block.source_start = k;
    block.start = padded_in;
    int64_t end = raw.in_features;
    if (kind == WeightKind::kAwq) {
      block.group = (k + raw.group_offset) / raw.group_size;
      const int64_t group_end = (block.group + 1) * raw.group_size - raw.group_offset;
      end = std::min({end, group_end, k + kAwqBlockMax});
    } else {
      end = std::min(end, k + kDenseBlock);
    }
    block.source_length = end - k;
    block.length = CeilDiv(block.source_length, unit) * unit;
    padded_in += block.length;
    blocks.push_back(block);
    k = end;
  }
  if (kind == WeightKind::kAwq) {
    panel_bytes = padded_in / kAwqUnit * panel_width * 4;
    num_groups = blocks.back().group + 1;
    zero_bytes = num_panels * num_groups * panel_width;
    scale_bytes = zero_bytes * static_cast<int64_t>(SizeOf(raw.scales.type));
  } else {
    panel_bytes = padded_in * panel_width * (kind == WeightKind::kFloat32 ? 4 : 2);
  }
}

PackedLinear::PackedLinear(const RawLinear& raw, DType compute_type, const KernelTable& kernels,
                           ThreadPool& pool)
    : kernels_(kernels),
      layout_(raw, compute_type, kernels.panel_width),
      compute_type_(compute_type),
      in_features_(raw.in_features),
      out_features_(raw.out_features),
      panels_(static_cast<size_t>(layout_.num_panels * layout_.panel_bytes)) {
  SKEIN_CHECK(kernels.panel_width <= kMaxPanelWidth, "panel width %d", kernels.panel_width);
  if (raw.is_awq()) {
    PackAwq(raw, pool);
  } else {
    pool.ParallelFor(layout_.num_panels, [&](int64_t panel) { PackDensePanel(raw, panel); });
  }
  if (raw.bias.data != nullptr) {
    SKEIN_CHECK(raw.bias.type == DType::kFloat32 && raw.bias.cols == out_features_, "bias");
    bias_ = AlignedBuffer(static_cast<size_t>(out_features_) * sizeof(float));
    std::memcpy(bias_.data(), raw.bias.data, bias_.bytes());
  }
}

void PackedLinear::PackDensePanel(const RawLinear& raw, int64_t panel) {
  const int64_t width = kernels_.panel_width;
  const int64_t first = panel * width;
  const int64_t cols = std::min(width, out_features_ - first);
  const auto pack = [&](auto* out) {
    switch (raw.weight.type) {
      case DType::kFloat32:
        return TransposeInto<float>(raw.weight, first, cols, layout_.blocks, width, out);
      case DType::kBFloat16:
        return TransposeInto<BFloat16>(raw.weight, first, cols, layout_.blocks, width, out);
      default:
        return TransposeInto<Float8Code>(raw.weight, first, cols, layout_.blocks, width, out);
    }
  };
  char* const out = panels_.As<char>() + panel * layout_.panel_bytes;
  if (layout_.kind == WeightKind::kFloat32) {
    pack(reinterpret_cast<float*>(out));
  } else {
    pack(reinterpret_cast<BFloat16*>(out));
  }
}

void PackedLinear::PackAwq(const RawLinear& raw, ThreadPool& pool) {
  scales_are_half_ = raw.scales.type == DType::kFloat16;
  zeros_ = AlignedBuffer(static_cast<size_t>(layout_.zero_bytes));
  scales_ = AlignedBuffer(static_cast<size_t>(layout_.scale_bytes));
  pool.ParallelFor(layout_.num_panels, [&](int64_t panel) { PackAwqTables(raw, panel); });
  // Panels whose words of an input share a cache line are packed together.
  const int64_t together = std::max<int64_t>(1, kLineColumns / kernels_.panel_width);
  pool.ParallelFor(CeilDiv(layout_.num_panels, together), [&](int64_t run) {
    PackAwqPanels(raw, run * together, std::min(layout_.num_panels, (run + 1) * together));
  });
}

// Eight inputs of eight columns: a word an input becomes a word a column.
void PackedLinear::PackAwqPanels(const RawLinear& raw, int64_t begin, int64_t end) {
  const int64_t width = kernels_.panel_width;
  const int64_t first_word = begin * width / 8;
  const int64_t num_words = std::min(end * width, out_features_) / 8 - first_word;
  const int64_t stride = raw.qweight.stride;
  for (const InputBlock& block : layout_.blocks) {
    for (int64_t k = 0; k < block.source_length; k += kAwqUnit) {
      const int64_t rows = std::min(kAwqUnit, block.source_length - k);
      const uint32_t* from =
          raw.qweight.As<const uint32_t>() + (block.source_start + k) * stride + first_word;
      for (int64_t w = 0; w < num_words; ++w) {
        uint32_t words[kAwqUnit] = {};
        for (int64_t r = 0; r < rows; ++r) words[kAwqShift[r] / 4] = from[r * stride + w];
        TransposeNibbles(words);
        const int64_t column = w * 8;
        uint32_t* to = reinterpret_cast<uint32_t*>(panels_.As<char>() +
                                                   (begin + column / width) * layout_.panel_bytes) +
                       (block.start + k) / kAwqUnit * width + column % width;
        for (int64_t c = 0; c < 8; ++c) to[c] = words[kAwqShift[c] / 4];
      }
    }
  }
}

void PackedLinear::PackAwqTables(const RawLinear& raw, int64_t panel) {
  const int64_t width = kernels_.panel_width;
  const int64_t first = panel * width;
  const int64_t cols = std::min(width, out_features_ - first);
  const size_t element = SizeOf(raw.scales.type);
  for (int64_t g = 0; g < layout_.num_groups; ++g) {
    const int64_t to = (panel * layout_.num_groups + g) * width;
    for (int64_t c = 0; c < cols; ++c) {
      zeros_.As<uint8_t>()[to + c] = static_cast<uint8_t>(NibbleAt(raw.qzeros, g, first + c));
    }
    std::memcpy(
        scales_.As<char>() + static_cast<size_t>(to) * element,
        raw.scales.As<char>() + static_cast<size_t>(g * raw.scales.stride + first) * element,
        static_cast<size_t>(cols) * element);
  }
}

int64_t PackedLinear::InputBytes() const {
  return compute_type_ == DType::kBFloat16 && kernels_.bf16_pairs ? 2 : 4;
}

size_t PackedLinear::ScratchBytes() const {
  return static_cast<size_t>(kRowsPerPass * layout_.padded_in * InputBytes());
}

void PackedLinear::Multiply(const Matrix& x, Activation activation, const Matrix& out,
                            ThreadPool& pool, void* scratch) const {
  SKEIN_CHECK(x.type == DType::kFloat32 && x.cols == in_features_, "x of %ld columns",
              static_cast<long>(x.cols));
  SKEIN_CHECK(out.type == DType::kFloat32 && out.cols == out_features_ && out.rows == x.rows,
              "output of %ld x %ld", static_cast<long>(out.rows), static_cast<long>(out.cols));
  for (int64_t row = 0; row < x.rows; row += kRowsPerPass) {
    Pass pass;
    const int64_t rows = std::min(kRowsPerPass, x.rows - row);
    // Tiles of equal height, so that the last one is not a narrow and slow remainder.
    pass.tile_rows = CeilDiv(rows, CeilDiv(rows, kernels_.tile_rows));
    pass.x = scratch;
    pass.out = out.Rows(row, rows);
    pass.activation = activation;
    PackRows(x.Rows(row, rows), pass.tile_rows, pool, scratch);
    const int64_t run = PanelsPerRun(rows, pool.num_threads());
    const int64_t num_runs = CeilDiv(layout_.num_panels, run);
    const auto multiply_run = [&](int64_t index) {
      MultiplyRun(pass, index * run, std::min((index + 1) * run, layout_.num_panels));
    };
    if (rows * layout_.padded_in * out_features_ < kMinParallelWork) {
      for (int64_t i = 0; i < num_runs; ++i) multiply_run(i);
    } else {
      pool.ParallelFor(num_runs, multiply_run);
    }
  }
}

int64_t PackedLinear::PanelsPerRun(int64_t rows, int num_threads) const {
  const int64_t wanted =
      rows > kernels_.tile_rows ? kPanelsPerRun : kRunBytes / layout_.panel_bytes;
  return std::clamp<int64_t>(wanted, 1, CeilDiv(layout_.num_panels, 2 * num_threads));
}

void PackedLinear::PackRows(const Matrix& x, int64_t tile_rows, ThreadPool& pool,
                            void* scratch) const {
  const auto pack_tile = [&](int64_t tile) {
    PackInput input;
    const int64_t row = tile * tile_rows;
    input.x = x.As<float>() + row * x.stride;
    input.x_stride = x.stride;
    input.rows = std::min(tile_rows, x.rows - row);
    input.blocks = layout_.blocks.data();
    input.num_blocks = static_cast<int64_t>(layout_.blocks.size());
    input.round_to_bf16 = compute_type_ == DType::kBFloat16;
    input.out = static_cast<char*>(scratch) + row * layout_.padded_in * InputBytes();
    kernels_.pack_input(input);
  };
  const int64_t num_tiles = CeilDiv(x.rows, tile_rows);
  if (x.rows * layout_.padded_in < kMinParallelWork) {
    for (int64_t tile = 0; tile < num_tiles; ++tile) pack_tile(tile);
  } else {
    pool.ParallelFor(num_tiles, pack_tile);
  }
}

void PackedLinear::MultiplyRun(const Pass& pass, int64_t first_panel, int64_t end_panel) const {
  // A slice of the inputs at a time, so that packed x of all rows stays in the second-level cache
  // over the panels of the run.
  const int64_t slice = std::max<int64_t>(1, kSliceBytes / (pass.out.rows * InputBytes()));
  const int64_t num_blocks = static_cast<int64_t>(layout_.blocks.size());
  const bool ragged = end_panel * kernels_.panel_width > out_features_;
  const int64_t end_whole = ragged ? end_panel - 1 : end_panel;
  for (int64_t begin = 0, end = 0; begin < num_blocks; begin = end) {
    const int64_t limit = layout_.blocks[static_cast<size_t>(begin)].start + slice;
    for (end = begin + 1; end < num_blocks; ++end) {
      const InputBlock& block = layout_.blocks[static_cast<size_t>(end)];
      if (block.start + block.length > limit) break;
    }
    for (int64_t panel = first_panel; panel < end_whole; ++panel) {
      const Matrix out = pass.out.Cols(panel * kernels_.panel_width, kernels_.panel_width);
      MultiplyPanel(pass, panel, begin, end, out);
      if (end == num_blocks) Finish(pass, panel, out);
    }
  }
  if (!ragged) return;
  // The last panel has columns that do not exist: its product goes through a buffer, so that
  // kernels store whole vectors.
  alignas(64) float buffer[kRowsPerPass * kMaxPanelWidth];
  const int64_t first_col = end_whole * kernels_.panel_width;
  const Matrix whole = MakeMatrix(buffer, DType::kFloat32, pass.out.rows, kernels_.panel_width);
  MultiplyPanel(pass, end_whole, 0, num_blocks, whole);
  const Matrix out = pass.out.Cols(first_col, out_features_ - first_col);
  for (int64_t r = 0; r < out.rows; ++r) {
    std::memcpy(out.Rows(r, 1).data, whole.Rows(r, 1).data, out.RowBytes());
  }
  Finish(pass, end_whole, out);
}

void PackedLinear::MultiplyPanel(const Pass& pass, int64_t panel, int64_t begin, int64_t end,
                                 const Matrix& out) const {
  PanelProduct product;
  product.x = pass.x;
  product.rows = out.rows;
  product.tile_rows = pass.tile_rows;
  product.padded_in = layout_.padded_in;
  product.blocks = layout_.blocks.data() + begin;
  product.num_blocks = end - begin;
  product.accumulate = begin > 0;
  product.panel = panels_.As<char>() + panel * layout_.panel_bytes;
  product.out = out.As<float>();
  product.out_stride = out.stride;
  if (layout_.kind == WeightKind::kAwq) {
    const int64_t entries = panel * layout_.num_groups * kernels_.panel_width;
    product.zeros = zeros_.As<uint8_t>() + entries;
    product.scales = scales_.As<char>() + entries * (scales_are_half_ ? 2 : 4);
    product.scales_are_half = scales_are_half_;
    (compute_type_ == DType::kBFloat16 ? kernels_.product_awq_bf16
                                       : kernels_.product_awq_float32)(product);
  } else {
    (layout_.kind == WeightKind::kBFloat16 ? kernels_.product_bf16
                                           : kernels_.product_float32)(product);
  }
}

void PackedLinear::Finish(const Pass& pass, int64_t panel, const Matrix& out) const {
  const bool gelu = pass.activation == Activation::kGeluErf;
  const float* bias =
      bias_.data() == nullptr ? nullptr : bias_.As<float>() + panel * kernels_.panel_width;
  if (bias == nullptr && !gelu) return;
  for (int64_t r = 0; r < out.rows; ++r) {
    kernels_.bias_gelu(bias, gelu, out.cols, out.As<float>() + r * out.stride);
  }
}

}  // namespace skein::cpu
