// The CUDA back end: bfloat16 activations, float32 accumulation and residuals. Kernels are in
// kernels/, products in cuda_linear and blas_lt; this file checks shapes and places the launches on
// the one stream.
#include "cuda/cuda_backend.h"

#include <algorithm>
#include <cmath>

#include "cuda/awq_workspace.h"
#include "cuda/cuda_linear.h"
#include "cuda/cuda_memory.h"
#include "cuda/cuda_sampler.h"
#include "cuda/device_memory.h"
#include "cuda/device_tables.h"
#include "cuda/float8_workspace.h"
#include "cuda/graph_cache.h"
#include "cuda/index_uploads.h"
#include "cuda/kernels/attention.h"
#include "cuda/kernels/elementwise.h"
#include "cuda/paged_keys.h"
#include "cuda/step_attention.h"
#include "cuda/step_inputs.h"
#include "cuda/step_metadata.h"
#include "cuda/typed_views.h"

namespace skein::cuda {
namespace {

int DeviceIndex(const std::string& device) {
  int index = 0;
  if (device == "cuda") return 0;
  char rest = 0;
  if (std::sscanf(device.c_str(), "cuda:%d%c", &index, &rest) != 1 || index < 0) {
    throw Error("INVALID_REQUEST", Format("device %s: expected cuda or cuda:N", device.c_str()));
  }
  return index;
}

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const BackendOptions& options)
      : device_(DeviceIndex(options.device)), deterministic_(options.deterministic) {
    int count = 0;
    // No driver or no GPU is no fault of a device.
    if (const cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess) {
      throw Error("SETUP_INCOMPLETE",
                  Format("no CUDA device: %s; skein doctor says what is missing",
                         cudaGetErrorString(status)));
    }
    if (device_ >= count) {
      throw Error("INVALID_REQUEST",
                  Format("device %s: this machine has %d", options.device.c_str(), count));
    }
    SKEIN_CUDA(cudaSetDevice(device_));
    SKEIN_CUDA(cudaGetDeviceProperties(&properties_, device_));
    stream_ = std::make_unique<Stream>();
    memory_ = std::make_unique<CudaMemory>(*stream_);
    blas_ = std::make_unique<BlasLt>(*stream_,
                                     deterministic_ ? BlasChoice::kFixed : BlasChoice::kTimed);
    products_ = std::make_unique<ProductWorkspace>(deterministic_);
    graphs_ = std::make_unique<GraphCache>(*stream_);
    const auto before_move = [this] { DropCaptured(); };
    const int processors = properties_.multiProcessorCount;
    metadata_ = std::make_unique<DeviceMetadata>(*stream_, processors, deterministic_, before_move);
    attention_ = std::make_unique<StepAttention>(*stream_, processors, deterministic_, before_move);
  }
  ~CudaBackend() override {
    attention_.reset();
    metadata_.reset();
    graphs_.reset();
    awq_.reset();
    float8_.reset();
    products_.reset();
    blas_.reset();
    memory_.reset();
  }

  std::string name() const override { return Format("cuda:%d", device_); }
  std::string device_name() const override { return properties_.name; }
  std::string instruction_class() const override {
    return Format("sm_%d%d", properties_.major, properties_.minor);
  }
  int64_t memory_total_bytes() const override {
    return static_cast<int64_t>(properties_.totalGlobalMem);
  }
  int64_t memory_free_bytes() const override { return memory_->use().free; }
  MemoryUse memory_use() const override {
    MemoryUse use = memory_->use();
    use.graphs = graph_bytes();
    use.other = std::max<int64_t>(0, use.other - use.graphs);
    return use;
  }
  DeviceStream* stream() const override { return stream_.get(); }
  DType activation_type() const override { return DType::kBFloat16; }
  // A prompt's partial sums are bound by the link between the ranks, two of them for each layer;
  // shorter ones by latency, whatever their size.
  DType PartialType(int64_t rows, int64_t cols, int world_size) const override {
    constexpr int64_t kManyValues = 1 << 20;
    const bool is_long = world_size > 1 && rows * cols >= kManyValues;
    return is_long && !deterministic_ ? DType::kBFloat16 : residual_type();
  }

  void BeginLoad() override { memory_->BeginLoad(); }
  void EndLoad() override { memory_->EndLoad(); }
  std::unique_ptr<DeviceTensor> NewWeight(DType type, int64_t rows, int64_t cols,
                                          TensorUse use) override {
    return memory_->NewWeight(type, rows, cols, use);
  }
  WeightStream* weight_stream() override { return memory_->weight_stream(); }
  std::unique_ptr<DeviceTensor> Upload(const Matrix& host) override {
    return memory_->Upload(host);
  }
  bool MakesRandomTensors() const override { return true; }
  std::unique_ptr<DeviceTensor> MakeRandomTensor(DType type, int64_t rows, int64_t cols,
                                                 std::span<const RandomBlock> blocks,
                                                 TensorUse use) override {
    return memory_->MakeRandomTensor(type, rows, cols, blocks, use);
  }
  std::unique_ptr<DeviceTensor> Allocate(DType type, int64_t rows, int64_t cols) override {
    return memory_->Allocate(type, rows, cols);
  }
  void ReleaseActivations() override {
    DropCaptured();
    memory_->ReleaseActivations();
  }
  std::unique_ptr<KvCache> AllocateKvCache(const KvCacheShape& shape, DType type) override {
    return memory_->AllocateKvCache(shape, type);
  }

  std::unique_ptr<PreparedLinear> PrepareLinear(const RawLinear& raw, DType compute_type) override {
    if (compute_type != DType::kBFloat16) {
      throw Error("INVALID_REQUEST", "dtype float32: the CUDA back end computes in bfloat16");
    }
    memory_->AwaitWeightsOf(raw);
    if (raw.format() == WeightFormat::kFloat8) {
      if (float8_ == nullptr) float8_ = std::make_unique<Float8Workspace>(*products_);
      if (float8_->ReserveFor(raw)) DropCaptured();
      return MakeFloat8Linear(raw, memory_->weights(), *float8_, *stream_);
    }
    if (!raw.is_awq()) {
      if (blas_->Reserve(raw.in_features, raw.out_features)) DropCaptured();
      return MakeDenseLinear(raw, memory_->weights(), *products_);
    }
    if (awq_ == nullptr) awq_ = std::make_unique<AwqWorkspace>(*stream_, *products_);
    if (awq_->Reserve(raw.in_features, raw.out_features)) DropCaptured();
    auto linear = MakeAwqLinear(raw, memory_->weights(), *awq_, *stream_);
    // The staged words' memory is used again at once.
    stream_->Synchronize();
    return linear;
  }

  void ReserveSteps(const StepLimits& limits) override {
    // The model is loaded: its copies ran on other streams than steps do, and kernels may read
    // weights before they wait for anything.
    SKEIN_CUDA(cudaDeviceSynchronize());
    metadata_->Reserve(limits);
    ReserveInputs(limits);
    if (float8_ != nullptr && float8_->Reserve(limits)) DropCaptured();
    attention_->Reserve(limits);
  }
  int64_t graph_bytes() const override { return graphs_->bytes(); }

  void BeginStep(const StepMetadata& metadata) override {
    if (float8_ != nullptr) float8_->Forget();
    inputs_.Clear();
    metadata_->Update(metadata, inputs_);
  }
  void RunCaptured(int32_t graph_bucket, const std::function<void()>& body) override {
    if (inputs_.Send(graphs_->Has(graph_bucket), *stream_)) metadata_->Sent();
    if (graph_bucket == 0) {
      body();
    } else {
      graphs_->Run(graph_bucket, body);
    }
  }
  void DropCaptured() override {
    // Not checked: an epoch that failed ends here too.
    cudaStreamSynchronize(stream_->ForDriver());
    graphs_->Clear();
    metadata_->ForgetBuckets();
  }
  void FinishStep() override { stream_->Synchronize(); }
  std::vector<float> Read(const Matrix& matrix) override { return memory_->Read(matrix); }

  void EmbedTokens(const Matrix& table, int64_t vocab_start, int64_t valid_rows,
                   const Matrix& out) override {
    cuda::EmbedTokens(In(table), vocab_start, valid_rows, table.cols, metadata_->token_ids(),
                      metadata_->slot_of_row(), last_tokens_.As<int32_t>(), out.rows, OutFloat(out),
                      *stream_);
  }

  void ScatterRows(const Matrix& source, std::span<const int32_t> source_rows,
                   std::span<const int32_t> rows, const Matrix& out) override {
    const int32_t* from = indices_.Send(source_rows, 0, *stream_);
    const int32_t* to = indices_.Send(rows, 1, *stream_);
    CopyRows(InFloat(source), source.stride, from, to, static_cast<int64_t>(rows.size()),
             source.cols, OutFloat(out), out.stride, *stream_);
  }
  void GatherRows(const Matrix& source, std::span<const int32_t> rows, const Matrix& out) override {
    const int32_t* from = metadata_->AreSampleRows(rows) ? metadata_->sample_rows()
                                                         : indices_.Send(rows, 0, *stream_);
    CopyRows(InFloat(source), source.stride, from, nullptr, static_cast<int64_t>(rows.size()),
             source.cols, OutFloat(out), out.stride, *stream_);
  }

  void Norm(const Matrix& x, const NormWeights& norm, const Matrix& out) override {
    NormArguments arguments = Arguments(norm);
    if (NormQuantizes(x.cols, x.stride, 8, out.stride)) arguments.quantized = Float8For(norm, out);
    cuda::Norm(InFloat(x), x.stride, arguments, x.rows, x.cols, NormedRows(norm, arguments, out),
               out.stride, *stream_);
  }

  void Linear(const PreparedLinear& linear, const Matrix& x, Activation activation,
              const Matrix& out) override {
    const auto& product = static_cast<const CudaLinear&>(linear);
    if (activation == Activation::kGeluErf) return product.RunGelu(x, out, *blas_, *stream_);
    product.Run(x, out, *blas_, *stream_);
  }

  void GateUpSwiGlu(const PreparedLinear& gate_up, const Matrix& x, const Matrix& scratch,
                    const Matrix& out) override {
    if (static_cast<const CudaLinear&>(gate_up).RunSwiGlu(x, out, *stream_)) return;
    // Gate and up of many rows pass through memory in bfloat16: of 1,024 rows of the 38 B model
    // they are 226 MB in float32, written and read again, which no cache holds.
    const bool in_float = deterministic_ || x.rows <= 8;
    const Matrix half = MakeMatrix(scratch.data, DType::kBFloat16, scratch.rows, scratch.cols);
    Backend::GateUpSwiGlu(gate_up, x, in_float ? scratch : half, out);
  }

  void AllReduceResidualNorm(Communicator& communicator, const Matrix& partial, const float* bias,
                             const float* scale, const Matrix& residual, const NormWeights* norm,
                             const Matrix* normed) override {
    SKEIN_CHECK(partial.stride == partial.cols, "a partial sum is contiguous");
    const ResidualNorm rows{partial, bias, scale, residual, norm, normed};
    if (communicator.AllReduceResidualNorm(rows, stream_.get())) return;
    communicator.AllReduce(partial.data, partial.rows * partial.cols, partial.type, ReduceOp::kSum,
                           stream_.get());
    NormArguments arguments = norm == nullptr ? NormArguments{} : Arguments(*norm);
    if (norm != nullptr &&
        NormQuantizes(partial.cols, partial.stride, residual.stride, normed->stride)) {
      arguments.quantized = Float8For(*norm, *normed);
    }
    const auto add = [&](const auto* values) {
      AddResidualNorm(values, partial.stride, bias, scale, OutFloat(residual), residual.stride,
                      norm == nullptr ? nullptr : &arguments, partial.rows, partial.cols,
                      normed == nullptr ? nullptr : NormedRows(*norm, arguments, *normed),
                      normed == nullptr ? 8 : normed->stride, *stream_);
    };
    partial.type == DType::kBFloat16 ? add(In(partial)) : add(InFloat(partial));
  }

  void LinearResidualNorm(Communicator& communicator, const PreparedLinear& linear, const Matrix& x,
                          const ResidualNorm& rows) override {
    // Alone, the product itself adds to the residual, instead of writing sums to be read again.
    if (communicator.world_size() > 1 ||
        !static_cast<const CudaLinear&>(linear).RunAdded(x, rows.bias, rows.scale, rows.residual,
                                                         *blas_, *stream_)) {
      Backend::LinearResidualNorm(communicator, linear, x, rows);
    } else if (rows.norm != nullptr) {
      Norm(rows.residual, *rows.norm, *rows.normed);
    }
  }

  void RotaryStoreKv(const Matrix& qkv, KvCache& cache, int64_t layer, int64_t num_heads,
                     double rope_theta) override {
    const auto& paged = static_cast<const CudaKvCache&>(cache);
    const KvCacheShape& shape = paged.shape();
    RotaryArguments arguments{};
    arguments.qkv = Out(qkv);
    arguments.stride = qkv.stride;
    arguments.num_heads = static_cast<int32_t>(num_heads);
    arguments.num_kv_heads = static_cast<int32_t>(shape.num_kv_heads);
    arguments.head_dim = static_cast<int32_t>(shape.head_dim);
    arguments.block_size = static_cast<int32_t>(shape.block_size);
    arguments.inverse_frequencies = tables_.InverseFrequencies(shape.head_dim, rope_theta);
    arguments.positions = metadata_->positions();
    arguments.slot_mapping = metadata_->slot_mapping();
    if (paged.is_float8()) {
      return RotaryStoreFloat8Kv(arguments, paged.Float8(layer), qkv.rows, *stream_);
    }
    arguments.keys = paged.Keys(layer);
    arguments.values = paged.Values(layer);
    cuda::RotaryStoreKv(arguments, qkv.rows, *stream_);
  }

  void PagedAttention(const Matrix& q, const KvCache& cache, int64_t layer,
                      std::span<const int32_t> q_to_kv, const Matrix& out) override {
    const auto& paged = static_cast<const CudaKvCache&>(cache);
    const KvCacheShape& shape = paged.shape();
    const DeviceTables::HeadMap& map = tables_.MapOf(q_to_kv, shape.num_kv_heads);
    const AttentionArguments arguments =
        Attention(In(q), q.stride, out, map.q_to_kv.As<int32_t>(),
                  static_cast<int64_t>(q_to_kv.size()), shape.head_dim);
    if (paged.is_float8()) {
      return attention_->Run(arguments, Float8KeysOf(paged, layer, *metadata_), map, *metadata_);
    }
    attention_->Run(arguments, KeysOf(paged, layer, *metadata_), map, *metadata_);
  }

  void RotaryAttention(const Matrix& qkv, KvCache& cache, int64_t layer, double rope_theta,
                       std::span<const int32_t> q_to_kv, const Matrix& out) override {
    const auto& paged = static_cast<const CudaKvCache&>(cache);
    const KvCacheShape& shape = paged.shape();
    // A kernel's start and end, where there is nothing but decodes. A float8 scale takes the whole
    // head, which no part of that kernel has in one place.
    if (metadata_->num_prefill_tiles() > 0 || paged.is_float8() ||
        !RotatesInDecode(shape.head_dim, qkv.stride, out.stride)) {
      Backend::RotaryAttention(qkv, cache, layer, rope_theta, q_to_kv, out);
      return;
    }
    const DeviceTables::HeadMap& map = tables_.MapOf(q_to_kv, shape.num_kv_heads);
    const DecodeRotary rotary{tables_.InverseFrequencies(shape.head_dim, rope_theta),
                              paged.Keys(layer), paged.Values(layer)};
    attention_->RunRotating(Attention(In(qkv), qkv.stride, out, map.q_to_kv.As<int32_t>(),
                                      static_cast<int64_t>(q_to_kv.size()), shape.head_dim),
                            KeysOf(paged, layer, *metadata_), map, *metadata_, rotary);
  }

  void SwiGlu(const Matrix& gate_up, const Matrix& out) override {
    const auto run = [&](const auto* values) {
      cuda::SwiGlu(values, gate_up.stride, out.rows, out.cols, Out(out), out.stride, *stream_);
    };
    gate_up.type == DType::kFloat32 ? run(InFloat(gate_up)) : run(In(gate_up));
  }

  void PixelsToPatches(const uint8_t* pixels, int64_t tiles, int64_t side, int64_t patch,
                       const float mean[3], const float std[3], const Matrix& out) override {
    const auto bytes = static_cast<size_t>(tiles * side * side * 3);
    // Pageable memory: the copy has left the caller's buffer when the call returns.
    if (pixels_.bytes() < bytes) {
      stream_->Synchronize();
      pixels_ = DeviceMemory(bytes);
    }
    SKEIN_CUDA(cudaMemcpyAsync(pixels_.data(), pixels, bytes, cudaMemcpyHostToDevice,
                               stream_->ForDriver()));
    cuda::PixelsToPatches(pixels_.As<uint8_t>(), tiles, side, patch, mean, std, Out(out),
                          out.stride, *stream_);
  }
  void AssembleVisionTokens(const Matrix& patches, const float* class_embedding,
                            const float* position_embedding, int64_t tiles,
                            const Matrix& out) override {
    SKEIN_CHECK(patches.stride == patches.cols && out.stride == out.cols,
                "vision tokens are contiguous");
    cuda::AssembleVisionTokens(InFloat(patches), class_embedding, position_embedding, tiles,
                               patches.rows / tiles, out.cols, OutFloat(out), *stream_);
  }
  void QkSumSquares(const Matrix& qkv, int64_t num_heads, int64_t head_dim,
                    const Matrix& sums) override {
    SKEIN_CHECK(sums.stride == 2, "sums are contiguous");
    cuda::QkSumSquares(In(qkv), qkv.stride, qkv.rows, num_heads * head_dim, sums.As<float>(),
                       *stream_);
  }
  void ApplyQkNorm(const Matrix& qkv, const Matrix& sums, const float* q_weight,
                   const float* k_weight, int64_t num_heads, int64_t head_dim, int64_t full_width,
                   float eps) override {
    cuda::ApplyQkNorm(Out(qkv), qkv.stride, sums.As<const float>(), q_weight, k_weight, qkv.rows,
                      num_heads * head_dim, full_width, eps, *stream_);
  }
  void VisionAttention(const Matrix& qkv, int64_t tiles, int64_t tokens, int64_t num_heads,
                       int64_t head_dim, const Matrix& out) override {
    const DeviceTables::TileList& list = tables_.VisionTiles(tiles, tokens, kLargeTileRows);
    const int64_t width = num_heads * head_dim;
    const AttentionArguments arguments =
        Attention(In(qkv), qkv.stride, out, nullptr, num_heads, head_dim);
    const ContiguousKeys keys{In(qkv) + width, In(qkv) + 2 * width, qkv.stride,
                              static_cast<int32_t>(tokens), static_cast<int32_t>(tiles)};
    ContiguousAttention(arguments, keys, list.tiles.As<QueryTile>(), list.count, kLargeTileRows,
                        *stream_);
  }
  void PixelShuffle(const Matrix& x, int64_t tiles, int64_t grid, int64_t factor,
                    const Matrix& out) override {
    SKEIN_CHECK(x.stride == x.cols && out.stride == out.cols, "vision tokens are contiguous");
    cuda::PixelShuffle(InFloat(x), tiles, grid, factor, x.cols, OutFloat(out), *stream_);
  }

  std::unique_ptr<Sampler> MakeSampler(const SamplerShape& shape) override {
    last_tokens_ = DeviceMemory(static_cast<size_t>(shape.max_sequences) * sizeof(int32_t));
    return MakeCudaSampler(shape, *stream_, {&inputs_, last_tokens_.As<int32_t>()});
  }

 private:
  Float8Rows Float8For(const NormWeights& norm, const Matrix& normed) {
    return float8_ == nullptr ? Float8Rows{} : float8_->ForNorm(normed, !norm.writes_rows);
  }

  static AttentionArguments Attention(const __nv_bfloat16* q, int64_t q_stride, const Matrix& out,
                                      const int32_t* q_to_kv, int64_t num_heads, int64_t head_dim) {
    return {q,
            q_stride,
            Out(out),
            out.stride,
            q_to_kv,
            static_cast<int32_t>(num_heads),
            static_cast<int32_t>(head_dim),
            1.0f / std::sqrt(static_cast<float>(head_dim))};
  }

  // What steps bring along beside their metadata, and tables that stay.
  void ReserveInputs(const StepLimits& limits) {
    const int64_t indices = std::max(limits.max_picture_rows, limits.max_sequences);
    indices_.Reserve(indices);
    pixels_ = DeviceMemory(static_cast<size_t>(limits.max_tiles * limits.tile_bytes));
    if (!limits.q_to_kv.empty()) tables_.MapOf(limits.q_to_kv, limits.num_kv_heads);
    if (limits.rope_theta > 0) tables_.InverseFrequencies(limits.head_dim, limits.rope_theta);
    for (int64_t tiles = 1; tiles <= limits.max_tiles; ++tiles) {
      tables_.VisionTiles(tiles, limits.vision_tokens, kLargeTileRows);
    }
  }

  const int device_;
  const bool deterministic_;
  cudaDeviceProp properties_{};
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<CudaMemory> memory_;
  std::unique_ptr<BlasLt> blas_;
  std::unique_ptr<DeviceMetadata> metadata_;
  std::unique_ptr<GraphCache> graphs_;
  std::unique_ptr<StepAttention> attention_;
  std::unique_ptr<ProductWorkspace> products_;
  // None before the first such linear.
  std::unique_ptr<AwqWorkspace> awq_;
  std::unique_ptr<Float8Workspace> float8_;
  StepInputs inputs_;
  // By slot, what the sampler has chosen on the device.
  DeviceMemory last_tokens_;
  DeviceMemory pixels_;
  IndexUploads indices_;
  DeviceTables tables_;
};

}  // namespace
}  // namespace skein::cuda

namespace skein {

std::unique_ptr<Backend> MakeCudaBackend(const BackendOptions& options) {
  return std::make_unique<cuda::CudaBackend>(options);
}

}  // namespace skein
