#include "test/cuda/foreign_ops.h"

#include "core/error.h"
#include "cuda/cuda_storage.h"
#include "cuda/device_copy.h"

namespace skein::test {

OpList::OpList(Backend& backend, OpStep step) : backend_(backend) {
  if (step == OpStep::kDecodes) {
    AddDecodeAttention();
    return;
  }
  AddProducts();
  AddElementwise();
  AddAttention();
  AddVision();
}

Matrix OpList::Random(DType type, int64_t rows, int64_t cols, float spread) {
  RandomBlock block;
  block.key = ++seed_;
  block.spread = spread;
  block.rows = rows;
  block.cols = cols;
  kept_.push_back(backend_.MakeRandomTensor(type, rows, cols, {&block, 1}));
  return kept_.back()->view();
}
Matrix OpList::New(DType type, int64_t rows, int64_t cols) {
  kept_.push_back(backend_.Allocate(type, rows, cols));
  return kept_.back()->view();
}
const PreparedLinear& OpList::Dense(int64_t in, int64_t out) {
  RawLinear raw;
  raw.in_features = in;
  raw.out_features = out;
  raw.weight = Random(DType::kBFloat16, out, in, 0.02f);
  linears_.push_back(backend_.PrepareLinear(raw, DType::kBFloat16));
  return *linears_.back();
}
const PreparedLinear& OpList::Awq(int64_t in, int64_t out) {
  RawLinear raw;
  raw.in_features = in;
  raw.out_features = out;
  raw.group_size = 128;
  const auto words = [&](RandomBlock::Kind kind, int64_t rows, int64_t cols) {
    RandomBlock block;
    block.kind = kind;
    block.key = ++seed_;
    block.rows = rows;
    block.cols = cols;
    kept_.push_back(backend_.MakeRandomTensor(DType::kInt32, rows, cols, {&block, 1}));
    return kept_.back()->view();
  };
  raw.qweight = words(RandomBlock::Kind::kWords, in, out / 8);
  raw.qzeros = words(RandomBlock::Kind::kZeroPoints, in / 128, out / 8);
  raw.scales = Random(DType::kFloat32, in / 128, out, 0.01f);
  linears_.push_back(backend_.PrepareLinear(raw, DType::kBFloat16));
  return *linears_.back();
}

void OpList::AddProducts() {
  constexpr int64_t kIn = 5120, kOut = 7168;
  const auto add = [&](const char* kind, const PreparedLinear& linear, int64_t rows, DType type,
                       Activation activation = Activation::kNone) {
    const Matrix x = Random(DType::kBFloat16, rows, linear.in_features()),
                 out = New(type, rows, linear.out_features());
    ops_.push_back(
        {Format("%s, %lld rows", kind, static_cast<long long>(rows)),
         [this, &linear, x, activation, out] { backend_.Linear(linear, x, activation, out); },
         {x},
         {out}});
  };
  const auto add_swiglu = [&](const char* kind, const PreparedLinear& linear, int64_t rows) {
    const Matrix x = Random(DType::kBFloat16, rows, kIn),
                 scratch = New(DType::kFloat32, rows, linear.out_features()),
                 out = New(DType::kBFloat16, rows, linear.out_features() / 2);
    ops_.push_back(
        {Format("%s, %lld rows", kind, static_cast<long long>(rows)),
         [this, &linear, x, scratch, out] { backend_.GateUpSwiGlu(linear, x, scratch, out); },
         {x},
         {out}});
  };
  const PreparedLinear &dense = Dense(kIn, kOut), &awq = Awq(kIn, kOut);
  for (const int64_t rows : {1, 8, 16, 64, 300}) {
    add("bf16 product", dense, rows, DType::kFloat32);
    add("AWQ product", awq, rows, DType::kFloat32);
  }
  add("bf16 product and GELU", dense, 300, DType::kBFloat16, Activation::kGeluErf);
  for (const int64_t rows : {1, 64, 300}) {
    add_swiglu("bf16 gate and up", dense, rows);
    add_swiglu("AWQ gate and up", awq, rows);
  }
  for (const PreparedLinear* linear : {&dense, &awq}) {
    constexpr int64_t kRows = 300;
    const Matrix x = Random(DType::kBFloat16, kRows, kIn),
                 residual = Random(DType::kFloat32, kRows, kOut),
                 partial = New(DType::kFloat32, kRows, kOut),
                 normed = New(DType::kBFloat16, kRows, kOut);
    const NormWeights norm{NormKind::kRms, Floats(kOut), nullptr, 1e-5f};
    ops_.push_back({linear == &dense ? "bf16 product, residual and norm, 300 rows"
                                     : "AWQ product, residual and norm, 300 rows",
                    [this, linear, x, residual, partial, norm, normed] {
                      backend_.LinearResidualNorm(
                          *alone_[0], *linear, x,
                          {partial, nullptr, nullptr, residual, &norm, &normed});
                    },
                    {x, residual},
                    {residual, normed}});
  }
}

void OpList::AddElementwise() {
  constexpr int64_t kHidden = 5120;
  for (const int64_t rows : {1, 64, 512}) {
    const std::string size = Format(", %lld rows", static_cast<long long>(rows));
    const Matrix x = Random(DType::kFloat32, rows, kHidden),
                 residual = Random(DType::kFloat32, rows, kHidden),
                 gate_up = Random(DType::kFloat32, rows, 2 * kHidden),
                 normed = New(DType::kBFloat16, rows, kHidden),
                 product = New(DType::kBFloat16, rows, kHidden);
    const float* weight = Floats(kHidden);
    const NormWeights norm{NormKind::kRms, weight, nullptr, 1e-5f};
    ops_.push_back({"norm" + size,
                    [this, x, norm, normed] { backend_.Norm(x, norm, normed); },
                    {x},
                    {normed}});
    const Matrix added = New(DType::kBFloat16, rows, kHidden);
    ops_.push_back({"residual and norm" + size,
                    [this, x, residual, norm, added] {
                      backend_.AllReduceResidualNorm(*alone_[0], x, nullptr, nullptr, residual,
                                                     &norm, &added);
                    },
                    {x, residual},
                    {residual, added}});
    ops_.push_back({"SwiGLU" + size,
                    [this, gate_up, product] { backend_.SwiGlu(gate_up, product); },
                    {gate_up},
                    {product}});
  }
}

Matrix OpList::FillCache(const AttentionCase& shape) {
  q_to_kv_ = shape.q_to_kv;
  sequences_ = std::make_unique<Sequences>(32, 700, 5);
  cache_ = backend_.AllocateKvCache(
      {1, sequences_->num_blocks(), kBlockSize, shape.num_kv_heads(), shape.head_dim},
      DType::kBFloat16);
  const auto& paged = static_cast<const cuda::CudaKvCache&>(*cache_);
  const Matrix stored =
      MakeMatrix(paged.Keys(0), DType::kBFloat16, 1, static_cast<int64_t>(cache_->bytes() / 2));
  const Matrix values = Random(DType::kBFloat16, 1, stored.cols, 1);
  cuda::CopyAndWait(stored.data, values.data, cache_->bytes());
  return stored;
}

// Attention that rotates, and stores the row's own key and value, itself.
void OpList::AddDecodeAttention() {
  const AttentionCase shape = Grouped(128, 4, 5);
  const Matrix stored = FillCache(shape);
  std::vector<Sequences::Part> parts;
  for (int32_t i = 0; i < 32; ++i) parts.push_back({i, 380 + 10 * i, 1});
  backend_.BeginStep(sequences_->Step(parts));
  const Matrix qkv = Random(DType::kBFloat16, 32, shape.width()),
               attended = New(DType::kBFloat16, 32, shape.num_heads() * shape.head_dim);
  ops_.push_back({"attention that rotates, 32 decodes",
                  [this, qkv, attended] {
                    backend_.RotaryAttention(qkv, *cache_, 0, 1e6, q_to_kv_, attended);
                  },
                  {qkv},
                  {stored, attended},
                  {stored}});
}

void OpList::AddAttention() {
  const AttentionCase shape = Grouped(128, 4, 5);
  const Matrix stored = FillCache(shape);
  std::vector<Sequences::Part> parts;
  for (int32_t i = 0; i < 31; ++i) parts.push_back({i, 300 + 10 * i, 1});
  parts.push_back({31, 600, 256});
  backend_.BeginStep(sequences_->Step(parts));
  const int64_t rows = 31 + 256;
  const Matrix qkv = Random(DType::kBFloat16, rows, shape.width()),
               q = Random(DType::kBFloat16, rows, shape.num_heads() * shape.head_dim),
               out = New(DType::kBFloat16, rows, q.cols),
               embedded = New(DType::kFloat32, rows, 5120),
               table = Random(DType::kBFloat16, 100, 5120);
  ops_.push_back({"attention of decodes and a prompt",
                  [this, q, out] { backend_.PagedAttention(q, *cache_, 0, q_to_kv_, out); },
                  {q},
                  {out}});
  const auto rotate = [this, shape, qkv] {
    backend_.RotaryStoreKv(qkv, *cache_, 0, shape.num_heads(), 1e6);
  };
  ops_.push_back({"rotary", rotate, {qkv}, {qkv, stored}, {stored}});
  const Matrix attended = New(DType::kBFloat16, rows, q.cols);
  ops_.push_back({"rotary and attention",
                  [this, rotate, qkv, q, attended] {
                    rotate();
                    backend_.PagedAttention(qkv.Cols(0, q.cols), *cache_, 0, q_to_kv_, attended);
                  },
                  {qkv},
                  {qkv, stored, attended},
                  {stored}});
  ops_.push_back({"embedding",
                  [this, table, embedded] { backend_.EmbedTokens(table, 0, 100, embedded); },
                  {},
                  {embedded}});
}

void OpList::AddVision() {
  constexpr int64_t kTiles = 2, kGrid = 16, kTokens = kGrid * kGrid + 1, kHeads = 8, kDim = 128,
                    kHidden = kHeads * kDim, kRows = kTiles * kTokens;
  const Matrix qkv = Random(DType::kBFloat16, kRows, 3 * kHidden),
               normed = Random(DType::kBFloat16, kRows, 3 * kHidden),
               sums = New(DType::kFloat32, kRows, 2),
               known_sums = Random(DType::kFloat32, kRows, 2),
               out = New(DType::kBFloat16, kRows, kHidden),
               patches = Random(DType::kFloat32, kTiles * kGrid * kGrid, kHidden),
               tokens = New(DType::kFloat32, kRows, kHidden),
               x = Random(DType::kFloat32, kRows, kHidden),
               shuffled = New(DType::kFloat32, kTiles * kGrid * kGrid / 4, 4 * kHidden);
  const float *class_row = Floats(kHidden), *positions = Floats(kTokens * kHidden),
              *q_weight = Floats(kHidden), *k_weight = Floats(kHidden);
  ops_.push_back({"sums of squares",
                  [this, qkv, sums] { backend_.QkSumSquares(qkv, kHeads, kDim, sums); },
                  {qkv},
                  {sums}});
  ops_.push_back({"q/k norm",
                  [this, normed, known_sums, q_weight, k_weight] {
                    backend_.ApplyQkNorm(normed, known_sums, q_weight, k_weight, kHeads, kDim,
                                         kHidden, 1.0f);
                  },
                  {normed, known_sums},
                  {normed}});
  ops_.push_back(
      {"vision attention",
       [this, qkv, out] { backend_.VisionAttention(qkv, kTiles, kTokens, kHeads, kDim, out); },
       {qkv},
       {out}});
  ops_.push_back({"vision tokens",
                  [this, patches, class_row, positions, tokens] {
                    backend_.AssembleVisionTokens(patches, class_row, positions, kTiles, tokens);
                  },
                  {patches},
                  {tokens}});
  ops_.push_back({"pixel shuffle",
                  [this, x, shuffled] { backend_.PixelShuffle(x, kTiles, kGrid, 2, shuffled); },
                  {x},
                  {shuffled}});
}

}  // namespace skein::test
