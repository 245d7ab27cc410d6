// The operations that a model is written over, with shapes and layouts. cpu/ and cuda/ implement
// them; a back end may fuse.
//
// Words: n = rows of this step (tokens, all sequences together), h = hidden size, d = head
// dimension, hq / hkv = this rank's query and KV heads. Activations have type `activation_type()`:
// float32 on the CPU (inputs of products are rounded to the compute type), bfloat16 on CUDA. What
// is summed over layers and ranks (the residual, partial sums, picture rows, and copies of them)
// and what SwiGlu multiplies has type `residual_type()`: float32 on both, since bfloat16 would
// round it at every layer. All matrices live in the back end's memory. Calls are asynchronous on
// stream() where there is one.
//
// Numeric contract: the bits of an output row depend on that row's inputs, the weights, the world
// size and the class of instruction set; never on the other rows, their number, the position among
// them, or the number of threads.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "collective/communicator.h"
#include "core/dtype.h"
#include "core/memory_use.h"
#include "core/norm_weights.h"
#include "core/random_block.h"
#include "core/tensor.h"
#include "ops/linear_weights.h"

namespace skein {

// A plain tensor (norm weights, embeddings, layer scales) in the back end's memory; goes with this
// object, or, where the back end gives memory back as a whole, at the next BeginLoad.
class DeviceTensor {
 public:
  virtual ~DeviceTensor() = default;
  virtual Matrix view() const = 0;
};

// Whether a tensor of weights stays, or is consumed by PrepareLinear. A back end may adopt the
// memory of one that stays: it must then outlive the linear.
enum class TensorUse : uint8_t { kKept, kConsumed };

// Rows of weights on their way to a back end whose memory is not the host's: they are read into a
// buffer, and travel while the next are read.
class WeightStream {
 public:
  virtual ~WeightStream() = default;
  virtual size_t buffer_bytes() const = 0;
  // The buffer to fill next; waits until what it held before has left.
  virtual char* NextBuffer() = 0;
  // `rows` lie contiguously at the start of the buffer; they go to `dest`, of the same shape, and
  // are converted to its type. Returns before they have arrived.
  virtual void Send(const Matrix& rows, const Matrix& dest) = 0;
};

enum class Activation : uint8_t { kNone, kGeluErf };

// The paged cache of one rank: per layer, blocks of block_size slots of hkv * d keys and values.
// Layout is the back end's own.
class KvCache {
 public:
  virtual ~KvCache() = default;
  virtual int64_t num_blocks() const = 0;
  virtual size_t bytes() const = 0;
};

struct KvCacheShape {
  int64_t num_layers = 0;
  int64_t num_blocks = 0;
  int64_t block_size = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
};

// Of one token's keys, or values, for one KV head: in float8 with their scale, a float32.
inline int64_t KvBytesPerHead(int64_t head_dim, DType type) {
  const int64_t scale = type == DType::kFloat8E4M3 ? static_cast<int64_t>(sizeof(float)) : 0;
  return head_dim * static_cast<int64_t>(SizeOf(type)) + scale;
}

// One sequence's share of a step. Its rows are query_start .. query_start + num_queries - 1 and
// stand at positions context_length - num_queries .. context_length - 1.
struct SequenceSpan {
  int32_t query_start = 0;
  int32_t num_queries = 0;
  int32_t context_length = 0;
  // Its row of StepMetadata::block_tables.
  int32_t table_row = 0;
};

// Metadata of a step, in host memory; a back end copies what it needs to its own (BeginStep).
struct StepMetadata {
  std::span<const int32_t> token_ids;     // [n]; -1: the last token sampled for slot_of_row
  std::span<const int32_t> slot_of_row;   // [n] sequence slot
  std::span<const int32_t> positions;     // [n]
  std::span<const int64_t> slot_mapping;  // [n] block * block_size + offset; -1: skip
  std::span<const SequenceSpan> spans;
  std::span<const int32_t> block_tables;  // [sequences of the step, max_blocks_per_sequence]
  int64_t max_blocks_per_sequence = 0;    // the step's longest sequence has so many
  // Rows whose logits are wanted, ascending, one per sampling sequence, and the slots they sample
  // for.
  std::span<const int32_t> sample_rows;
  std::span<const int32_t> sample_slots;
  // CUDA graph bucket; 0: eager. Otherwise all arrays by row and sample_rows are padded to this
  // many rows, so that steps of a bucket have one shape: padding rows have no span, slot_mapping
  // -1, and sample row 0 after the real ones.
  int32_t graph_bucket = 0;
};

// Host copy of a sequence's sampling parameters; field meanings as in worker.proto.
struct SamplingParams {
  float temperature = 0;
  int32_t top_k = 0;
  float top_p = 1;
  float min_p = 0;
  float repetition_penalty = 1;
  float presence_penalty = 0;
  float frequency_penalty = 0;
  uint64_t seed = 0;
  uint32_t choice_index = 0;
  int32_t min_tokens = 0;
  int32_t num_top_logprobs = 0;
  bool return_logprobs = false;
  std::vector<int32_t> stop_token_ids;
  std::vector<int32_t> logit_bias_ids;
  std::vector<float> logit_bias_values;
};

struct SampledToken {
  int32_t slot = 0;
  int32_t token_id = 0;
  float logprob = 0;  // NaN unless asked
  std::vector<int32_t> top_ids;
  std::vector<float> top_logprobs;
};

// Sampling state per sequence slot (params, counts of tokens) and the choice itself; collective:
// every rank picks the same token. Log-probabilities are those of the model (before temperature and
// filters, after penalties and bias): natural logarithms.
class Sampler {
 public:
  virtual ~Sampler() = default;
  // token_ids: prompt and what was generated before; positions count from 0 over both.
  virtual void BeginSequence(int32_t slot, const SamplingParams& params,
                             std::span<const int32_t> token_ids, int64_t num_prompt_tokens) = 0;
  virtual void EndSequence(int32_t slot) = 0;
  // The slot's next token, and no later one, is one of those whose bits are set: bit v % 32 of word
  // v / 32 is local row v; as many words as that takes. Copied.
  virtual void MaskNextToken(int32_t slot, std::span<const uint32_t> mask) = 0;
  // logits: [rows, local vocabulary] float32, local row v is token vocab_start + v. One row per
  // slot in `slots`. Overwrites the logits (penalties, bans and masks are applied in place).
  // Updates the slots' state with what was sampled. Results are complete when the back end's step
  // has finished.
  virtual void Sample(const Matrix& logits, std::span<const int32_t> slots,
                      Communicator& communicator, std::vector<SampledToken>* out) = 0;

  // ---- steps that are not waited for: what follows may read their tokens on the device (a token
  // id of -1 in StepMetadata) before the host knows them ----
  // Whether these slots' next tokens can be sampled so; the same on every rank. False for a slot
  // without a sequence, or with a mask.
  virtual bool CanSampleAhead(std::span<const int32_t> /*slots*/) const { return false; }
  // Sample in parts, for such slots: before the step's work is placed, behind it, and when its
  // tokens are wanted, in the order of the steps. Two may be started. Collective; the same tokens.
  virtual void PrepareAhead(std::span<const int32_t> /*slots*/, int /*world_size*/) {}
  virtual void SampleAhead(const Matrix& /*logits*/, Communicator& /*communicator*/) {}
  // Whether Collect would not wait.
  virtual bool IsSampled() const { return true; }
  virtual void Collect(std::vector<SampledToken>* /*out*/) {}
  // LogitsSource::TakeNanoseconds.
  virtual int64_t TakeDeviceNanoseconds() { return 0; }
  // Forgets steps that were started and not collected: of an epoch that has ended.
  virtual void DropAhead() {}
};

// Words of a mask over so many rows.
constexpr int64_t MaskWords(int64_t rows) { return (rows + 31) / 32; }

struct SamplerShape {
  int64_t max_sequences = 0;
  int64_t vocab_size = 0;        // whole model
  int64_t vocab_start = 0;       // this rank
  int64_t vocab_valid_rows = 0;  // rows beyond are padding: never sampled, not in any sum
  int64_t max_top_logprobs = 0;
  int64_t world_size = 1;  // at most; for what is gathered
};

// What the steps of a loaded model can grow to, so that a back end lays out its buffers once.
struct StepLimits {
  int64_t max_rows = 0;       // tokens of a step
  int64_t max_sequences = 0;  // of a step
  int64_t max_blocks_per_sequence = 0;
  int64_t block_size = 0;
  int64_t num_query_heads = 0;  // this rank's
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  bool has_float8_cache = false;  // of keys and values
  int64_t max_model_length = 0;
  std::vector<int32_t> graph_buckets;  // rows, ascending
  double rope_theta = 0;
  std::vector<int32_t> q_to_kv;  // [num_query_heads]
  // Pictures; all 0 for a model without.
  int64_t max_tiles = 0;         // of one run of the tower, on this rank
  int64_t tile_bytes = 0;        // of pixels
  int64_t vision_tokens = 0;     // of a tile, in the tower
  int64_t max_picture_rows = 0;  // kept of one pass, or placed in one step
};

class Backend {
 public:
  virtual ~Backend() = default;

  // ---- the device ----
  virtual std::string name() const = 0;               // "cpu", "cuda:0"
  virtual std::string device_name() const = 0;        // the processor's or GPU's own name
  virtual std::string instruction_class() const = 0;  // see worker.proto
  virtual int64_t memory_total_bytes() const = 0;
  virtual int64_t memory_free_bytes() const = 0;
  virtual MemoryUse memory_use() const {
    MemoryUse use;
    use.free = memory_free_bytes();
    use.total = memory_total_bytes();
    return use;
  }
  virtual DeviceStream* stream() const = 0;
  // float32 on the CPU, bfloat16 on CUDA.
  virtual DType activation_type() const = 0;
  virtual DType residual_type() const { return DType::kFloat32; }
  // Type of the partial sums [rows, cols] that AllReduceResidualNorm takes: residual_type(), or a
  // narrower one where what travels between `world_size` ranks costs more than its rounding.
  virtual DType PartialType(int64_t /*rows*/, int64_t /*cols*/, int /*world_size*/) const {
    return residual_type();
  }

  // False: it only counts (counting_backend.h); nothing that it hands out can be read or written.
  virtual bool holds_memory() const { return true; }

  // ---- weights ----
  // Before the first weight of a model: what an earlier one held is given back. None of its linears
  // and tensors exists any more.
  virtual void BeginLoad() {}
  // After the last one: what only loading needs is given back.
  virtual void EndLoad() {}
  // Zeroed.
  virtual std::unique_ptr<DeviceTensor> NewWeight(DType type, int64_t rows, int64_t cols,
                                                  TensorUse use) = 0;
  // How to fill what NewWeight made; null: it is host memory. Until EndLoad.
  virtual WeightStream* weight_stream() { return nullptr; }
  // compute_type: float32 or bfloat16. Consumes `raw` (the caller frees its memory after the call).
  virtual std::unique_ptr<PreparedLinear> PrepareLinear(const RawLinear& raw,
                                                        DType compute_type) = 0;
  // A kept copy of a matrix (float32 or bfloat16) in memory as of RawLinear.
  virtual std::unique_ptr<DeviceTensor> Upload(const Matrix& host) = 0;
  // Dummy weights made where they are used: the blocks' values, zero elsewhere. Where a back end
  // makes none, the host does.
  virtual bool MakesRandomTensors() const { return false; }
  virtual std::unique_ptr<DeviceTensor> MakeRandomTensor(DType, int64_t /*rows*/, int64_t /*cols*/,
                                                         std::span<const RandomBlock>,
                                                         TensorUse /*use*/ = TensorUse::kKept) {
    return nullptr;
  }

  // ---- activations ----
  // Scratch from one arena that is laid out before the first step; no allocation afterwards. Where
  // the back end gives memory back as a whole, it stays until the next BeginLoad or
  // ReleaseActivations.
  virtual std::unique_ptr<DeviceTensor> Allocate(DType type, int64_t rows, int64_t cols) = 0;
  // Gives back what Allocate gave: none of it exists any more. Between epochs.
  virtual void ReleaseActivations() {}
  // type: the compute type, or float8: e4m3 codes with a scale for each token and KV head.
  virtual std::unique_ptr<KvCache> AllocateKvCache(const KvCacheShape& shape, DType type) = 0;

  // ---- a step ----
  // Once the weights are loaded, before the first step: nothing is allocated by later steps that
  // keep to the limits.
  virtual void ReserveSteps(const StepLimits& /*limits*/) {}
  // Device memory that the recordings of RunCaptured hold.
  virtual int64_t graph_bytes() const { return 0; }
  // The ops of a graph bucket's step come in RunCaptured.
  virtual void BeginStep(const StepMetadata& metadata) = 0;
  // Runs `body`, or replays what it recorded for this bucket: `body` then does not run, so it must
  // leave nothing behind but the work of its ops. The CPU just runs it.
  virtual void RunCaptured(int32_t graph_bucket, const std::function<void()>& body) = 0;
  // Forgets all recordings: they refer to the epoch's cache and communicator.
  virtual void DropCaptured() {}
  // Waits for everything of the step.
  virtual void FinishStep() = 0;
  // The elements, row by row, as float32 in host memory, once all that was started has finished:
  // for tests, not for a step.
  virtual std::vector<float> Read(const Matrix& matrix) = 0;

  // ---- ops of the decoder ----
  // out [n, h] = rows of table [vocab_rows, h] for this step's token ids; zero rows for ids outside
  // vocab_start .. + valid_rows.
  virtual void EmbedTokens(const Matrix& table, int64_t vocab_start, int64_t valid_rows,
                           const Matrix& out) = 0;
  // out row rows[i] = source row source_rows[i]; host index arrays. Places picture outputs over
  // token embeddings.
  virtual void ScatterRows(const Matrix& source, std::span<const int32_t> source_rows,
                           std::span<const int32_t> rows, const Matrix& out) = 0;
  // out row i = source row rows[i].
  virtual void GatherRows(const Matrix& source, std::span<const int32_t> rows,
                          const Matrix& out) = 0;
  virtual void Norm(const Matrix& x, const NormWeights& norm, const Matrix& out) = 0;
  // out [n, out] = act(x [n, in] W^T + bias). `out` is float32 or activation_type().
  virtual void Linear(const PreparedLinear& linear, const Matrix& x, Activation activation,
                      const Matrix& out) = 0;
  // The end of every row-parallel product: sums `partial` (of PartialType) over the ranks, then
  //   residual += scale * (sum + bias)   (scale [h] and bias [h] float32, each may be null)
  //   normed = Norm(residual)            (when norm and normed are given)
  virtual void AllReduceResidualNorm(Communicator& communicator, const Matrix& partial,
                                     const float* bias, const float* scale, const Matrix& residual,
                                     const NormWeights* norm, const Matrix* normed) = 0;
  // The product and its end: rows.partial = Linear(linear, x), and the above of it. A back end may
  // fuse the two; rows.partial is undefined afterwards.
  virtual void LinearResidualNorm(Communicator& communicator, const PreparedLinear& linear,
                                  const Matrix& x, const ResidualNorm& rows) {
    Linear(linear, x, Activation::kNone, rows.partial);
    AllReduceResidualNorm(communicator, rows.partial, rows.bias, rows.scale, rows.residual,
                          rows.norm, rows.normed);
  }
  // qkv [n, (hq + 2 hkv) d]: rotates q and k by position (pairs i, i + d/2; angles in float32),
  // writes k and v to the layer's slots, leaves q in qkv's first hq * d columns.
  virtual void RotaryStoreKv(const Matrix& qkv, KvCache& cache, int64_t layer, int64_t num_heads,
                             double rope_theta) = 0;
  // out [n, hq * d]; causal, over the paged cache, softmax in float32, scale d^-0.5; q_to_kv [hq].
  // Splits the context at absolute positions only.
  virtual void PagedAttention(const Matrix& q, const KvCache& cache, int64_t layer,
                              std::span<const int32_t> q_to_kv, const Matrix& out) = 0;
  // The two above, with the same bits. A back end may fuse them; qkv is undefined afterwards.
  virtual void RotaryAttention(const Matrix& qkv, KvCache& cache, int64_t layer, double rope_theta,
                               std::span<const int32_t> q_to_kv, const Matrix& out) {
    RotaryStoreKv(qkv, cache, layer, static_cast<int64_t>(q_to_kv.size()), rope_theta);
    PagedAttention(qkv.Cols(0, out.cols), cache, layer, q_to_kv, out);
  }
  // out [n, m] = silu(gate_up[:, :m]) * gate_up[:, m:]; gate_up of residual_type().
  virtual void SwiGlu(const Matrix& gate_up, const Matrix& out) = 0;
  // out [n, m] = SwiGlu(Linear(gate_up, x)); `scratch` [n, 2 m] of residual_type() may be used and
  // is undefined afterwards. A back end may fuse the two.
  virtual void GateUpSwiGlu(const PreparedLinear& gate_up, const Matrix& x, const Matrix& scratch,
                            const Matrix& out) {
    Linear(gate_up, x, Activation::kNone, scratch);
    SwiGlu(scratch, out);
  }

  // ---- ops of the vision tower; rows are tiles * tokens ----
  // pixels uint8 [tiles, side, side, 3] in host memory -> out [tiles * (side / patch)^2, 3 * patch
  // * patch], (x / 255 - mean) / std, columns ordered channel, row, column.
  virtual void PixelsToPatches(const uint8_t* pixels, int64_t tiles, int64_t side, int64_t patch,
                               const float mean[3], const float std[3], const Matrix& out) = 0;
  // out [tiles * (p + 1), h]: class vector first, then the patches [tiles * p, h]; position rows [p
  // + 1, h] added. float32 tables.
  virtual void AssembleVisionTokens(const Matrix& patches, const float* class_embedding,
                                    const float* position_embedding, int64_t tiles,
                                    const Matrix& out) = 0;
  // qkv [rows, 3 * heads * d]: sums [rows, 2] float32 of q^2 and k^2 over this rank's heads.
  virtual void QkSumSquares(const Matrix& qkv, int64_t num_heads, int64_t head_dim,
                            const Matrix& sums) = 0;
  // q and k in place: x * rsqrt(sum / full_width + eps) * weight (float32 [heads * d], this rank's
  // part).
  virtual void ApplyQkNorm(const Matrix& qkv, const Matrix& sums, const float* q_weight,
                           const float* k_weight, int64_t num_heads, int64_t head_dim,
                           int64_t full_width, float eps) = 0;
  // Bidirectional, each tile by itself; qkv [tiles * tokens, 3 * heads * d] -> out [tiles * tokens,
  // heads * d].
  virtual void VisionAttention(const Matrix& qkv, int64_t tiles, int64_t tokens, int64_t num_heads,
                               int64_t head_dim, const Matrix& out) = 0;
  // x [tiles * (g * g + 1), h] -> out [tiles * (g / f)^2, f * f * h]: class rows dropped, output
  // token (R, C) takes patches (fR, fC), (fR, fC+1), (fR+1, fC), (fR+1, fC+1), concatenated;
  // row-major (ps_version v2).
  virtual void PixelShuffle(const Matrix& x, int64_t tiles, int64_t grid, int64_t factor,
                            const Matrix& out) = 0;

  virtual std::unique_ptr<Sampler> MakeSampler(const SamplerShape& shape) = 0;
};

struct BackendOptions {
  // "cpu" or "cuda:N".
  std::string device = "cpu";
  // 0: as many as the process may use.
  int num_threads = 0;
  bool deterministic = true;
};

// The registry: the only place that names a back end. Throws INVALID_REQUEST for one that is not
// built in.
std::unique_ptr<Backend> MakeBackend(const BackendOptions& options);

// Implemented by cpu/ (and by cuda/ where it is built).
std::unique_ptr<Backend> MakeCpuBackend(const BackendOptions& options);

}  // namespace skein
