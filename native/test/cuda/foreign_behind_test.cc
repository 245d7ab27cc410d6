// The two halves of the rule of overlapped launches (kernels/launch.cuh), for every op that may
// stand beside a collective or a library's product: what is not ours and waits for nothing, placed
// behind an op as libraries are, finds everything written; and the op itself waits for what is in
// front of it. Both for many runs, one after the other without a pause, and in a recorded graph.
// Outputs hold poison before each run, inputs before they are written late, so that a word read
// early is a wrong one.
#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "cuda/cuda_sampler.h"
#include "cuda/device_memory.h"
#include "cuda/graph_cache.h"
#include "cuda/launch_probe.h"
#include "test/cuda/cuda_twin.h"
#include "test/cuda/foreign_kernels.h"
#include "test/cuda/foreign_ops.h"

namespace skein {
namespace {

using cuda::DeviceMemory;
using test::Op;
using test::OpList;
using test::OpStep;

// How a handle for the kernel that stands in for a library is taken.
enum class Handle { kForLibrary, kForDriver };

size_t Bytes(const Matrix& matrix) {
  return static_cast<size_t>(matrix.rows * matrix.stride) * SizeOf(matrix.type);
}

class ForeignBehindTest : public CudaFastTest {
 protected:
  void SetUp() override {
    CudaFastTest::SetUp();
    if (cuda_ == nullptr) return;
    SKEIN_CUDA(cudaMemset(differences_.data(), 0, 8));
    Settle();
  }

  cuda::Stream& stream() const { return *static_cast<cuda::Stream*>(fast_->stream()); }
  cudaStream_t Take(Handle handle) const {
    return handle == Handle::kForLibrary ? stream().ForLibrary() : stream().ForDriver();
  }

  // What an op's matrices hold before a run, and its outputs after one by itself.
  struct Prepared {
    std::vector<DeviceMemory> inputs, initial, expected;
  };
  static DeviceMemory CopyOf(const Matrix& matrix) {
    DeviceMemory copy(Bytes(matrix));
    cuda::CopyAndWait(copy.data(), matrix.data, copy.bytes());
    return copy;
  }
  Prepared Prepare(const Op& op) const {
    Prepared prepared;
    for (const Matrix& input : op.inputs) prepared.inputs.push_back(CopyOf(input));
    for (const Matrix& output : op.outputs) {
      const auto is_same = [&](const Matrix& other) { return other.data == output.data; };
      if (std::none_of(op.inputs.begin(), op.inputs.end(), is_same) &&
          std::none_of(op.kept.begin(), op.kept.end(), is_same)) {
        SKEIN_CUDA(cudaMemset(output.data, 0xff, Bytes(output)));
        Settle();
      }
      prepared.initial.push_back(CopyOf(output));
    }
    op.run();
    stream().Synchronize();
    for (const Matrix& output : op.outputs) prepared.expected.push_back(CopyOf(output));
    // As they were, for the ops behind it.
    for (size_t i = 0; i < op.outputs.size(); ++i) Reset(op.outputs[i], prepared.initial[i]);
    return prepared;
  }

  // The words that differ, over all runs of `body`.
  uint64_t Count(int runs, bool in_graph, const std::function<void()>& body) {
    SKEIN_CUDA(cudaMemsetAsync(differences_.data(), 0, 8, stream().ForDriver()));
    cuda::GraphCache graphs(stream());
    for (int run = 0; run < runs; ++run) in_graph ? graphs.Run(1, body) : body();
    stream().Synchronize();
    unsigned long long count = 0;
    cuda::CopyAndWait(&count, differences_.data(), sizeof(count));
    return count;
  }
  void Compare(const Op& op, const Prepared& prepared, Handle handle) {
    for (size_t i = 0; i < op.outputs.size(); ++i) {
      test::CountDifferences(op.outputs[i].data, prepared.expected[i].data(), Bytes(op.outputs[i]),
                             differences_.As<unsigned long long>(), Take(handle));
    }
  }
  void Reset(const Matrix& matrix, const DeviceMemory& content) const {
    SKEIN_CUDA(cudaMemcpyAsync(matrix.data, content.data(), content.bytes(),
                               cudaMemcpyDeviceToDevice, stream().ForDriver()));
  }

  // Wrong words that a kernel which waits for nothing found behind the op.
  uint64_t FoundBehind(const Op& op, const Prepared& prepared, Handle handle, int runs,
                       bool in_graph) {
    return Count(runs, in_graph, [&] {
      for (size_t i = 0; i < op.outputs.size(); ++i) Reset(op.outputs[i], prepared.initial[i]);
      op.run();
      Compare(op, prepared, handle);
    });
  }
  // Wrong words that the op left, one of whose inputs is written late by a kernel that lets it
  // start.
  uint64_t LeftBehindLateInput(const Op& op, size_t late, const Prepared& prepared, int runs,
                               bool in_graph) {
    return Count(runs, in_graph, [&] {
      for (size_t i = 0; i < op.outputs.size(); ++i) Reset(op.outputs[i], prepared.initial[i]);
      for (const Matrix& input : op.inputs) {
        SKEIN_CUDA(cudaMemsetAsync(input.data, 0x7f, Bytes(input), stream().ForDriver()));
      }
      for (size_t i = 0; i < op.inputs.size(); ++i) {
        if (i != late) Reset(op.inputs[i], prepared.inputs[i]);
      }
      test::CopyLate(op.inputs[late].data, prepared.inputs[late].data(), Bytes(op.inputs[late]), 8,
                     stream().ForDriver());
      op.run();
      Compare(op, prepared, Handle::kForLibrary);
    });
  }

  const DeviceMemory differences_ = DeviceMemory(8);
};

TEST_F(ForeignBehindTest, ALibrarysKernelFindsWhatOpsWrote) {
  const int runs = Times(1000, 3);
  for (const OpStep step : {OpStep::kMixed, OpStep::kDecodes}) {
    OpList list(*fast_, step);
    for (const Op& op : list.ops()) {
      const Prepared prepared = Prepare(op);
      for (const bool in_graph : {false, true}) {
        EXPECT_EQ(FoundBehind(op, prepared, Handle::kForLibrary, runs, in_graph), 0u)
            << op.name << (in_graph ? ", in a graph" : "");
      }
    }
  }
}

TEST_F(ForeignBehindTest, OpsWaitForWhatIsInFront) {
  const int runs = Times(1000, 3);
  for (const OpStep step : {OpStep::kMixed, OpStep::kDecodes}) {
    OpList list(*fast_, step);
    for (const Op& op : list.ops()) {
      const Prepared prepared = Prepare(op);
      for (const bool in_graph : {false, true}) {
        for (size_t late = 0; late < op.inputs.size(); ++late) {
          EXPECT_EQ(LeftBehindLateInput(op, late, prepared, runs, in_graph), 0u)
              << op.name << ", input " << late << (in_graph ? ", in a graph" : "");
        }
      }
    }
  }
}

// That the first test can fail: without the fence, as all launches were once, the same kernel finds
// what is not yet written.
TEST_F(ForeignBehindTest, WithoutAFenceItFindsPoison) {
  if (IsUnderChecker()) GTEST_SKIP() << "a checker runs one kernel after the other";
  cudaDeviceProp properties{};
  SKEIN_CUDA(cudaGetDeviceProperties(&properties, 0));
  if (properties.major < 9) GTEST_SKIP() << "launches do not overlap";
  int found[2] = {0, 0}, products[2] = {0, 0};
  OpList list(*fast_);
  for (const Op& op : list.ops()) {
    const Prepared prepared = Prepare(op);
    for (const bool in_graph : {false, true}) {
      const uint64_t words = FoundBehind(op, prepared, Handle::kForDriver, 100, in_graph);
      std::printf("[          ] %s%s: %llu words not yet written in 100 runs\n", op.name.c_str(),
                  in_graph ? ", in a graph" : "", static_cast<unsigned long long>(words));
      found[in_graph] += words > 0;
      products[in_graph] += words > 0 && op.name == "bf16 product, 1 rows";
    }
  }
  for (const bool in_graph : {false, true}) {
    EXPECT_EQ(products[in_graph], 1) << in_graph;
    EXPECT_GE(found[in_graph], 5) << in_graph;
  }
}

// What the fence is in a graph: no edge lets the library's kernel start early.
TEST_F(ForeignBehindTest, ARecordedFenceIsAFullEdge) {
  OpList list(*fast_);
  const Op& op = list.ops()[0];
  op.run();
  for (const Handle handle : {Handle::kForLibrary, Handle::kForDriver}) {
    cudaGraph_t graph = nullptr;
    SKEIN_CUDA(cudaStreamBeginCapture(stream().ForDriver(), cudaStreamCaptureModeThreadLocal));
    op.run();
    test::CopyAtOnce(differences_.data(), differences_.data(), 8, Take(handle));
    SKEIN_CUDA(cudaStreamEndCapture(stream().ForDriver(), &graph));
    cudaDeviceProp properties{};
    SKEIN_CUDA(cudaGetDeviceProperties(&properties, 0));
    EXPECT_EQ(cuda::HasProgrammaticEdge(graph),
              handle == Handle::kForDriver && properties.major >= 9);
    SKEIN_CUDA(cudaGraphDestroy(graph));
  }
}

// A group of two whose other rank sends what this one does, by kernels that wait for nothing.
class Echo final : public Communicator {
 public:
  int rank() const override { return 0; }
  int world_size() const override { return 2; }
  const char* kind() const override { return "echo"; }
  void AllReduce(void*, int64_t, DType, ReduceOp, DeviceStream*) override {}
  void Broadcast(void*, size_t, int, DeviceStream*) override {}
  void AllGather(const void* send, void* receive, size_t bytes, DeviceStream* on) override {
    for (size_t rank = 0; rank < 2; ++rank) {
      test::CopyAtOnce(static_cast<char*>(receive) + rank * bytes, send, bytes,
                       static_cast<cuda::Stream*>(on)->ForLibrary());
    }
    if (slowly) static_cast<cuda::Stream*>(on)->Synchronize();
  }
  void Abort() override {}
  int64_t TakeWaitNanoseconds() override { return 0; }

  bool slowly = false;
};

// The sampler's gathers, of steps that the host waits for and of those that it does not.
TEST_F(ForeignBehindTest, GathersFindWhatTheSamplerWrote) {
  constexpr int64_t kVocab = 75'840, kRows = 16;
  Echo echo;
  OpList list(*fast_);
  const Matrix logits = list.Random(DType::kFloat32, kRows, kVocab, 4.0f);
  const DeviceMemory saved = CopyOf(logits);
  const auto sample = [&](bool slowly, bool ahead, int runs) {
    echo.slowly = slowly;
    cuda::StepInputs inputs;
    const DeviceMemory last_tokens(kRows * sizeof(int32_t));
    const auto sampler = cuda::MakeCudaSampler({kRows, 2 * kVocab, 0, kVocab, 20, 2}, stream(),
                                               {&inputs, last_tokens.As<int32_t>()});
    std::vector<int32_t> slots, prompt = {1, 2, 3};
    for (int32_t slot = 0; slot < kRows; ++slot) {
      SamplingParams params;
      params.temperature = slot % 3 == 0 ? 0.0f : 0.6f;
      params.seed = static_cast<uint64_t>(slot);
      // The last two filter more tokens than there are candidates: through histograms. So do all
      // that are not waited for.
      params.top_k = ahead ? 0 : slot >= kRows - 2 ? 5000 : 50;
      params.top_p = 0.95f;
      params.repetition_penalty = 1.1f;
      params.return_logprobs = true;
      sampler->BeginSequence(slot, params, prompt, 2);
      slots.push_back(slot);
    }
    std::vector<int32_t> tokens;
    std::vector<SampledToken> sampled;
    const auto take = [&] {
      for (const SampledToken& token : sampled) tokens.push_back(token.token_id);
    };
    for (int run = 0; run < runs; ++run) {
      Reset(logits, saved);
      if (!ahead) {
        sampler->Sample(logits, slots, echo, &sampled);
        take();
        continue;
      }
      EXPECT_TRUE(sampler->CanSampleAhead(slots));
      sampler->PrepareAhead(slots, 2);
      inputs.Send(true, stream());
      sampler->SampleAhead(logits, echo);
      if (run == 0) continue;
      sampler->Collect(&sampled);
      take();
    }
    if (ahead) {
      sampler->Collect(&sampled);
      take();
    }
    return tokens;
  };
  const int runs = Times(300, 2);
  for (const bool ahead : {false, true}) {
    EXPECT_EQ(sample(false, ahead, runs), sample(true, ahead, runs)) << ahead;
  }
}

}  // namespace
}  // namespace skein
