#include "addon/convert.h"

#include <sys/resource.h>

#include <chrono>

#include "addon/field_reader.h"

namespace skein {
namespace {

// In the order of EnginePhase.
constexpr const char* kPhases[] = {"idle", "load", "join", "vision", "decoder", "sampling"};

// Of all threads, in user and system mode.
double ProcessCpuMs() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  const auto ms = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_usec) / 1e3;
  };
  return ms(usage.ru_utime) + ms(usage.ru_stime);
}

constexpr DType kDTypes[] = {DType::kFloat32, DType::kBFloat16, DType::kFloat16, DType::kInt32,
                             DType::kFloat8E4M3};

DType ReadType(const FieldReader& from, const char* name) {
  return kDTypes[from.Word(name, {"float32", "bfloat16", "float16", "int32", "float8_e4m3"})];
}

TextSpec ReadText(const FieldReader& from) {
  TextSpec to;
  to.hidden_size = from.Count("hiddenSize");
  to.num_layers = from.Count("numLayers");
  to.num_heads = from.Count("numHeads");
  to.num_kv_heads = from.Count("numKvHeads");
  to.head_dim = from.Count("headDim");
  to.intermediate_size = from.Count("intermediateSize");
  to.vocab_size = from.Count("vocabSize");
  to.rms_norm_eps = from.Number("rmsNormEps");
  to.rope_theta = from.Number("ropeTheta");
  to.max_position_embeddings = from.Count("maxPositionEmbeddings");
  to.awq_group_size = from.Count("awqGroupSize");
  return to;
}

void ReadTriple(const FieldReader& from, const char* name, float to[3]) {
  const std::vector<float> values = from.Floats(name);
  if (values.size() != 3) RefuseField(from.PathOf(name), "three numbers");
  std::copy(values.begin(), values.end(), to);
}

VisionSpec ReadVision(const FieldReader& from) {
  VisionSpec to;
  to.hidden_size = from.Count("hiddenSize");
  to.num_layers = from.Count("numLayers");
  to.num_heads = from.Count("numHeads");
  to.head_dim = from.Count("headDim");
  to.intermediate_size = from.Count("intermediateSize");
  to.norm_kind = from.Word("normType", {"rms", "layer"}) == 0 ? NormKind::kRms : NormKind::kLayer;
  to.norm_eps = from.Number("normEps");
  to.qk_normalization = from.Flag("qkNormalization");
  to.qkv_bias = from.Flag("qkvBias");
  to.patch_size = from.Count("patchSize");
  to.image_size = from.Count("imageSize");
  to.num_channels = from.Count("numChannels");
  to.shuffle_factor = from.Count("shuffleFactor");
  to.projector_norm_eps = from.Number("projectorNormEps");
  to.projector_hidden_size = from.Count("projectorHiddenSize");
  ReadTriple(from, "pixelMean", to.pixel_mean);
  ReadTriple(from, "pixelStd", to.pixel_std);
  return to;
}

RankLayout ReadLayout(const FieldReader& from) {
  RankLayout to;
  to.rank = from.Count("rank");
  to.world_size = from.Count("worldSize");
  to.q_head_start = from.Count("qHeadStart");
  to.num_q_heads = from.Count("numQHeads");
  to.kv_head_start = from.Count("kvHeadStart");
  to.num_kv_heads = from.Count("numKvHeads");
  to.q_to_kv = from.Indices("qToKv");
  to.intermediate_start = from.Count("intermediateStart");
  to.intermediate_size = from.Count("intermediateSize");
  to.vocab_start = from.Count("vocabStart");
  to.vocab_rows = from.Count("vocabRows");
  to.vocab_valid_rows = from.Count("vocabValidRows");
  to.vision_parallel = from.Word("visionParallel", {"tensor", "data"}) == 0
                           ? VisionParallel::kTensor
                           : VisionParallel::kData;
  to.vision_head_start = from.Count("visionHeadStart");
  to.vision_num_heads = from.Count("visionNumHeads");
  to.vision_intermediate_start = from.Count("visionIntermediateStart");
  to.vision_intermediate_size = from.Count("visionIntermediateSize");
  to.projector_start = from.Count("projectorStart");
  to.projector_size = from.Count("projectorSize");
  return to;
}

RankTensor ReadTensor(const FieldReader& from) {
  RankTensor to;
  to.role = static_cast<TensorRole>(from.Integer("role", 1, 255));
  to.part = static_cast<TensorPart>(from.Integer("part", 1, 255));
  to.layer = from.Count("layer");
  to.rows = from.Count("rows");
  to.cols = from.Count("cols");
  to.stored_type = ReadType(from, "storedType");
  to.awq_group_offset = from.Count("awqGroupOffset");
  to.tied_to_embedding = from.Flag("tiedToEmbedding");
  to.quantize_to_float8 = from.Flag("quantizeToFloat8");
  return to;
}

Slice ReadSlice(const FieldReader& from) {
  Slice to;
  // -1: a known model without files, whose weights are dummies.
  to.file_index = from.Integer("fileIndex", -1, INT32_MAX);
  to.data_offset = from.Count("dataOffset");
  to.type = ReadType(from, "dataType");
  to.source_rows = from.Count("sourceRows");
  to.source_cols = from.Count("sourceCols");
  to.row_start = from.Count("rowStart");
  to.row_end = from.Count("rowEnd");
  to.col_start = from.Count("colStart");
  to.col_end = from.Count("colEnd");
  to.tensor_index = from.Count("tensorIndex");
  to.dest_row = from.Count("destRow");
  to.dest_col = from.Count("destCol");
  to.source_name = from.Text("sourceName");
  return to;
}

WeightFile ReadFile(const FieldReader& from) {
  return {from.Text("path"), from.Count("sizeBytes")};
}

SamplingParams ReadSampling(const FieldReader& from) {
  SamplingParams to;
  to.temperature = from.Float("temperature");
  to.top_k = from.Index("topK");
  to.top_p = from.Float("topP");
  to.min_p = from.Float("minP");
  to.repetition_penalty = from.Float("repetitionPenalty");
  to.presence_penalty = from.Float("presencePenalty");
  to.frequency_penalty = from.Float("frequencyPenalty");
  to.seed = from.BigUnsigned("seed");
  to.choice_index = from.Id("choiceIndex");
  to.min_tokens = from.Index("minTokens");
  to.num_top_logprobs = from.Index("numTopLogprobs");
  to.return_logprobs = from.Flag("returnLogprobs");
  to.stop_token_ids = from.Indices("stopTokenIds");
  to.logit_bias_ids = from.Indices("logitBiasIds");
  to.logit_bias_values = from.Floats("logitBiasValues");
  return to;
}

PicturePlacement ReadPlacement(const FieldReader& from) {
  return {from.Id("pictureId"), from.Index("firstPosition")};
}

NewSequence ReadNewSequence(const FieldReader& from) {
  NewSequence to;
  to.slot = from.Index("slot");
  to.token_ids = from.Indices("tokenIds");
  to.num_prompt_tokens = from.Count("numPromptTokens");
  to.num_computed_tokens = from.Count("numComputedTokens");
  to.sampling = ReadSampling(from.Object("sampling"));
  to.pictures = from.List("pictures", ReadPlacement);
  return to;
}

EncodeItem ReadEncodeItem(const FieldReader& from) {
  return {from.Id("pictureId"), from.Index("tileStart"), from.Index("tileEnd")};
}

Napi::Number JsNumber(Napi::Env env, int64_t value) {
  return Napi::Number::New(env, static_cast<double>(value));
}

template <typename Array, typename T>
Array JsArray(Napi::Env env, const std::vector<T>& values) {
  Array array = Array::New(env, values.size());
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

}  // namespace

BackendOptions ToBackendOptions(const Napi::Value& value) {
  const FieldReader from(value, "options");
  BackendOptions to;
  to.device = from.Text("device");
  to.num_threads = static_cast<int>(from.Integer("numThreads", 0, 4096));
  to.deterministic = from.Flag("deterministic");
  return to;
}

LoadPlan ToLoadPlan(const Napi::Value& value) {
  const FieldReader from(value, "plan");
  LoadPlan to;
  to.weights_hash = from.Text("weightsHash");
  to.expected_checksums = from.BigUnsigneds("expectedChecksums");
  to.text = ReadText(from.Object("text"));
  to.has_vision = !from.IsNull("vision");
  if (to.has_vision) to.vision = ReadVision(from.Object("vision"));
  to.layout = ReadLayout(from.Object("layout"));
  to.files = from.List("files", ReadFile);
  to.tensors = from.List("tensors", ReadTensor);
  to.slices = from.List("slices", ReadSlice);
  to.compute_type = kDTypes[from.Word("computeType", {"float32", "bfloat16"})];
  to.kv_cache_type = from.Flag("float8KvCache") ? DType::kFloat8E4M3 : to.compute_type;
  to.dummy_weights = from.Flag("dummyWeights");
  to.dummy_seed = static_cast<uint64_t>(from.Count("dummySeed"));
  to.max_num_sequences = from.Count("maxNumSequences");
  to.max_step_tokens = from.Count("maxStepTokens");
  to.block_size = from.Count("blockSize");
  to.max_model_length = from.Count("maxModelLength");
  to.num_tile_slots = from.Count("numTileSlots");
  to.max_tiles_per_step = from.Count("maxTilesPerStep");
  to.max_top_logprobs = from.Count("maxTopLogprobs");
  to.graph_buckets = from.Indices("graphBuckets");
  to.memory_share = from.Number("memoryShare");
  return to;
}

GroupOptions ToGroupOptions(const Napi::Value& value) {
  const FieldReader from(value, "options");
  GroupOptions to;
  to.group_epoch = static_cast<uint64_t>(from.Count("groupEpoch"));
  to.rank = from.Index("rank");
  to.world_size = static_cast<int>(from.Integer("worldSize", 1, 1024));
  constexpr CollectiveKind kKinds[] = {CollectiveKind::kNone, CollectiveKind::kSharedMemory,
                                       CollectiveKind::kGloo, CollectiveKind::kNccl};
  to.collective = kKinds[from.Word("collective", {"none", "shared-memory", "gloo", "nccl"})];
  to.bind_host = from.Text("bindHost");
  return to;
}

StepPlan ToStepPlan(const Napi::Value& value) {
  const FieldReader from(value, "plan");
  StepPlan to;
  to.group_epoch = static_cast<uint64_t>(from.Count("groupEpoch"));
  to.step = static_cast<uint64_t>(from.Count("step"));
  to.released_slots = from.Indices("releasedSlots");
  to.released_pictures = from.Ids("releasedPictures");
  to.new_sequences = from.List("newSequences", ReadNewSequence);
  to.new_blocks = from.Indices("newBlocks");
  to.encode_items = from.List("encodeItems", ReadEncodeItem);
  to.scheduled_slots = from.Indices("scheduledSlots");
  to.scheduled_tokens = from.Indices("scheduledTokens");
  to.masked_slots = from.Indices("maskedSlots");
  to.masks = from.Ids("masks");
  to.graph_bucket = from.Index("graphBucket");
  return to;
}

Napi::Object ToJs(Napi::Env env, const LoadResult& result) {
  Napi::Object to = Napi::Object::New(env);
  to.Set("weightBytes", JsNumber(env, result.weight_bytes));
  to.Set("readBytes", JsNumber(env, result.read_bytes));
  to.Set("peakResidentBytes", JsNumber(env, result.peak_resident_bytes));
  to.Set("activationBytes", JsNumber(env, result.activation_bytes));
  to.Set("kvBytesPerBlock", JsNumber(env, result.kv_bytes_per_block));
  to.Set("availableBytes", JsNumber(env, result.available_bytes));
  to.Set("workspaceBytes", JsNumber(env, result.workspace_bytes));
  to.Set("reserveBytes", JsNumber(env, result.reserve_bytes));
  to.Set("loadMs", Napi::Number::New(env, result.load_ms));
  Napi::Object times = Napi::Object::New(env);
  times.Set("openMs", Napi::Number::New(env, result.times.open_ms));
  times.Set("readMs", Napi::Number::New(env, result.times.read_ms));
  times.Set("transferMs", Napi::Number::New(env, result.times.transfer_ms));
  times.Set("prepareMs", Napi::Number::New(env, result.times.prepare_ms));
  times.Set("checksumMs", Napi::Number::New(env, result.times.checksum_ms));
  to.Set("times", times);
  const std::vector<uint64_t>& checksums = result.tensor_checksums;
  Napi::BigUint64Array array = Napi::BigUint64Array::New(env, checksums.size());
  std::copy(checksums.begin(), checksums.end(), array.Data());
  to.Set("tensorChecksums", array);
  return to;
}

Napi::Object ToJs(Napi::Env env, const MemoryUse& use) {
  Napi::Object to = Napi::Object::New(env);
  to.Set("weightBytes", JsNumber(env, use.weights));
  to.Set("activationBytes", JsNumber(env, use.activations));
  to.Set("kvBytes", JsNumber(env, use.kv_cache));
  to.Set("graphBytes", JsNumber(env, use.graphs));
  to.Set("workspaceBytes", JsNumber(env, use.workspaces));
  to.Set("otherBytes", JsNumber(env, use.other));
  to.Set("freeBytes", JsNumber(env, use.free));
  to.Set("totalBytes", JsNumber(env, use.total));
  return to;
}

Napi::Object ToJs(Napi::Env env, const MemoryEstimate& estimate) {
  Napi::Object to = Napi::Object::New(env);
  to.Set("weightBytes", JsNumber(env, estimate.weights));
  to.Set("peakWeightBytes", JsNumber(env, estimate.peak_weights));
  to.Set("activationBytes", JsNumber(env, estimate.activations));
  to.Set("pictureBytes", JsNumber(env, estimate.pictures));
  to.Set("workspaceBytes", JsNumber(env, estimate.workspaces));
  to.Set("reserveBytes", JsNumber(env, estimate.reserve));
  to.Set("kvBytesPerBlock", JsNumber(env, estimate.kv_per_block));
  return to;
}

Napi::Object ToJs(Napi::Env env, const StepResult& result) {
  std::vector<uint32_t> slots, token_offsets, token_ids, top_offsets{0}, top_ids;
  std::vector<float> logprobs, top_logprobs;
  for (const SampledToken& token : result.tokens) {
    if (slots.empty() || slots.back() != static_cast<uint32_t>(token.slot)) {
      slots.push_back(static_cast<uint32_t>(token.slot));
      token_offsets.push_back(static_cast<uint32_t>(token_ids.size()));
    }
    token_ids.push_back(static_cast<uint32_t>(token.token_id));
    logprobs.push_back(token.logprob);
    top_ids.insert(top_ids.end(), token.top_ids.begin(), token.top_ids.end());
    top_logprobs.insert(top_logprobs.end(), token.top_logprobs.begin(), token.top_logprobs.end());
    top_offsets.push_back(static_cast<uint32_t>(top_ids.size()));
  }
  token_offsets.push_back(static_cast<uint32_t>(token_ids.size()));
  Napi::Object to = Napi::Object::New(env);
  to.Set("groupEpoch", JsNumber(env, static_cast<int64_t>(result.group_epoch)));
  to.Set("step", JsNumber(env, static_cast<int64_t>(result.step)));
  to.Set("slots", JsArray<Napi::Uint32Array>(env, slots));
  to.Set("tokenOffsets", JsArray<Napi::Uint32Array>(env, token_offsets));
  to.Set("tokenIds", JsArray<Napi::Uint32Array>(env, token_ids));
  to.Set("logprobs", JsArray<Napi::Float32Array>(env, logprobs));
  to.Set("topOffsets", JsArray<Napi::Uint32Array>(env, top_offsets));
  to.Set("topIds", JsArray<Napi::Uint32Array>(env, top_ids));
  to.Set("topLogprobs", JsArray<Napi::Float32Array>(env, top_logprobs));
  to.Set("sampleHash", Napi::BigInt::New(env, result.sample_hash));
  to.Set("stepNs", JsNumber(env, result.step_ns));
  to.Set("collectiveNs", JsNumber(env, result.collective_ns));
  to.Set("planWaitNs", JsNumber(env, result.plan_wait_ns));
  to.Set("samplingNs", JsNumber(env, result.sampling_ns));
  return to;
}

Napi::Object ToJs(Napi::Env env, const Progress& progress) {
  double idle_ms = 0;
  if (progress.last_progress_ns != 0) {
    const int64_t now = std::chrono::duration_cast<std::chrono::nanoseconds>(
                            std::chrono::steady_clock::now().time_since_epoch())
                            .count();
    idle_ms = static_cast<double>(now - progress.last_progress_ns) / 1e6;
  }
  Napi::Object to = Napi::Object::New(env);
  to.Set("groupEpoch", JsNumber(env, static_cast<int64_t>(progress.group_epoch)));
  to.Set("lastStep", JsNumber(env, static_cast<int64_t>(progress.last_step)));
  to.Set("collectives", JsNumber(env, static_cast<int64_t>(progress.collectives)));
  to.Set("collective", Napi::String::New(env, progress.collective));
  to.Set("deviceCalls", JsNumber(env, static_cast<int64_t>(progress.device_calls)));
  to.Set("idleMs", Napi::Number::New(env, idle_ms));
  to.Set("phase", Napi::String::New(env, kPhases[static_cast<size_t>(progress.phase)]));
  to.Set("inCollective", Napi::Boolean::New(env, progress.in_collective));
  to.Set("cpuMs", Napi::Number::New(env, ProcessCpuMs()));
  return to;
}

Napi::Object DescribeBackend(Napi::Env env, const Backend& backend) {
  Napi::Array backends = Napi::Array::New(env);
  backends.Set(0u, Napi::String::New(env, "cpu"));
  Napi::Array collectives = Napi::Array::New(env);
  uint32_t count = 0;
  for (const char* kind : {"none", "shared-memory", "gloo"}) {
    collectives.Set(count++, Napi::String::New(env, kind));
  }
#if SKEIN_WITH_CUDA
  backends.Set(1u, Napi::String::New(env, "cuda"));
  collectives.Set(count, Napi::String::New(env, "nccl"));
#endif
  Napi::Object to = Napi::Object::New(env);
  to.Set("device", Napi::String::New(env, backend.name()));
  to.Set("deviceName", Napi::String::New(env, backend.device_name()));
  to.Set("instructionClass", Napi::String::New(env, backend.instruction_class()));
  to.Set("memoryTotalBytes", JsNumber(env, backend.memory_total_bytes()));
  to.Set("memoryFreeBytes", JsNumber(env, backend.memory_free_bytes()));
  to.Set("backends", backends);
  to.Set("collectives", collectives);
  return to;
}

}  // namespace skein
