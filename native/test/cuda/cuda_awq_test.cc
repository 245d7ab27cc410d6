// AWQ linears on CUDA beside the CPU's, deterministic and fast: every number of rows that takes
// another way, slices that begin inside a group, widths that fill no tile, gate and up in one
// kernel.
#include <algorithm>

#include "cuda/awq_workspace.h"
#include "cuda/cuda_linear.h"
#include "cuda_twin.h"

namespace skein {
namespace {

struct AwqShape {
  int64_t in, out, offset, group_size;
  bool has_bias;
  // Scales of float16's eleven bits, not only of bfloat16's eight.
  bool has_fine_scales = false;
};

class CudaAwqTest : public CudaFastTest {
 protected:
  struct Linears {
    std::unique_ptr<PreparedLinear> cpu, exact, fast;
  };

  Linears MakeLinears(const AwqShape& shape) {
    const int64_t groups = (shape.in + shape.offset + shape.group_size - 1) / shape.group_size;
    std::vector<int32_t> qweight(static_cast<size_t>(shape.in * shape.out / 8)),
        qzeros(static_cast<size_t>(groups * shape.out / 8));
    for (int32_t& word : qweight) word = static_cast<int32_t>(generator_());
    for (int32_t& word : qzeros) word = static_cast<int32_t>(generator_());
    // As in checkpoints, scales are float16 numbers; bfloat16 numbers of this size are.
    std::vector<float> scales = Random(groups * shape.out, 0.002f, 0.01f),
                       bias = Random(shape.out, 0.5f);
    if (shape.has_fine_scales) {
      for (float& scale : scales) {
        scale = std::ldexp(static_cast<float>(1024 + generator_() % 1024), -17);
      }
    }
    RawLinear raw;
    raw.in_features = shape.in;
    raw.out_features = shape.out;
    raw.qweight = MakeMatrix(qweight.data(), DType::kInt32, shape.in, shape.out / 8);
    raw.qzeros = MakeMatrix(qzeros.data(), DType::kInt32, groups, shape.out / 8);
    raw.scales = MakeMatrix(scales.data(), DType::kFloat32, groups, shape.out);
    if (shape.has_bias) raw.bias = MakeMatrix(bias.data(), DType::kFloat32, 1, shape.out);
    raw.group_size = shape.group_size;
    raw.group_offset = shape.offset;
    return {cpu_->PrepareLinear(raw, DType::kBFloat16), cuda_->PrepareLinear(raw, DType::kBFloat16),
            fast_->PrepareLinear(raw, DType::kBFloat16)};
  }

  // All rows of x through all three back ends.
  void ExpectProductsAgree(const Linears& linears, const AwqShape& shape, int64_t rows,
                           DType out_type) {
    const Twin x = RandomTwin(rows, shape.in), out = PoisonedTwin(rows, shape.out, out_type),
               other = PoisonedTwin(rows, shape.out, out_type);
    const std::string what = Format("AWQ %lld rows, %lld x %lld, offset %lld, groups of %lld",
                                    (long long)rows, (long long)shape.in, (long long)shape.out,
                                    (long long)shape.offset, (long long)shape.group_size);
    cpu_->Linear(*linears.cpu, x.cpu->view(), Activation::kNone, out.cpu->view());
    cuda_->Linear(*linears.exact, x.cuda->view(), Activation::kNone, out.cuda->view());
    ExpectClose(out, 2 * kRounding, what + ", deterministic");
    fast_->Linear(*linears.fast, x.cuda->view(), Activation::kNone, other.cuda->view());
    fast_->FinishStep();
    ExpectClose(out.cpu->view(), other.cuda->view(), 2 * kRounding, what + ", fast");
  }
};

// Tiles of rows change at 8, 16 and 32; row blocks at 64. The fast way is the wide kernel above 16
// where there is one, and elsewhere dequantises above 192.
TEST_F(CudaAwqTest, ProductsAgreeForEveryFewRows) {
  const AwqShape shape{520, 72, 24, 128, true};
  const Linears linears = MakeLinears(shape);
  for (int64_t rows = 1; rows <= 70; ++rows) {
    ExpectProductsAgree(linears, shape, rows, rows % 2 == 0 ? DType::kFloat32 : DType::kBFloat16);
  }
}

TEST_F(CudaAwqTest, ProductsAgreeOverShapes) {
  const AwqShape shapes[] = {
      {256, 96, 0, 128, false}, {192, 64, 0, 128, true},      {200, 40, 56, 128, false},
      {768, 8, 0, 128, false},  {3456, 1280, 24, 128, false}, {5120, 1000, 120, 128, true},
      {333, 24, 19, 64, true},  {640, 136, 32, 64, false},    {700, 128, 8, 32, true},
      {480, 48, 88, 96, false}, {6912, 512, 200, 256, false}};
  for (const AwqShape& shape : shapes) {
    const Linears linears = MakeLinears(shape);
    for (const int64_t rows :
         Values({1, 3, 8, 9, 16, 17, 33, 64, 130, 192, 193, 300}, {1, 9, 17, 64, 193})) {
      ExpectProductsAgree(linears, shape, rows, rows % 2 == 0 ? DType::kFloat32 : DType::kBFloat16);
    }
  }
}

// Of one input at a time a product is the weight itself: (q - z) * s, which is rounded to bfloat16
// once at most. A scale that is rounded first would be up to twice as far off.
TEST_F(CudaAwqTest, ScalesAreNeverRoundedByThemselves) {
  const AwqShape shape{640, 96, 0, 128, false, true};
  const Linears linears = MakeLinears(shape);
  for (const int64_t rows : Values({1, 8, 9, 16, 17, 32, 33, 64, 65, 96, 97, 128, 150, 200, 300},
                                   {1, 16, 17, 97, 200})) {
    std::vector<float> picks(static_cast<size_t>(rows * shape.in));
    for (int64_t row = 0; row < rows; ++row) {
      picks[static_cast<size_t>(row * shape.in + row * 37 % shape.in)] = 1.0f;
    }
    const Twin x = MakeTwin(picks, rows, shape.in, DType::kBFloat16),
               out = PoisonedResidual(rows, shape.out);
    cpu_->Linear(*linears.cpu, x.cpu->view(), Activation::kNone, out.cpu->view());
    fast_->Linear(*linears.fast, x.cuda->view(), Activation::kNone, out.cuda->view());
    fast_->FinishStep();
    const std::vector<float> expected = Read(out.cpu->view(), false),
                             actual = Read(out.cuda->view(), true);
    for (size_t i = 0; i < expected.size(); ++i) {
      // Half a unit of bfloat16's last place, and what the scale's second half lacks.
      const float most =
          expected[i] == 0 ? 0 : 1.01f * std::ldexp(1.0f, std::ilogb(expected[i]) - 8);
      ASSERT_LE(std::abs(actual[i] - expected[i]), most)
          << rows << " rows, output " << i << ": " << expected[i];
    }
  }
}

// Products that follow one another share partial sums, tickets and buffers of dequantised columns.
TEST_F(CudaAwqTest, ProductsInARowDoNotDisturbEachOther) {
  const AwqShape shapes[] = {{5120, 1024, 0, 128, false}, {3456, 2048, 24, 128, true}};
  std::vector<Linears> linears;
  for (const AwqShape& shape : shapes) linears.push_back(MakeLinears(shape));
  for (const int64_t rows : {1, 16, 40, 300}) {
    std::vector<Twin> inputs, outputs;
    for (int turn = 0; turn < 6; ++turn) {
      inputs.push_back(RandomTwin(rows, shapes[turn % 2].in));
      outputs.push_back(PoisonedTwin(rows, shapes[turn % 2].out));
    }
    for (size_t turn = 0; turn < 6; ++turn) {
      fast_->Linear(*linears[turn % 2].fast, inputs[turn].cuda->view(), Activation::kNone,
                    outputs[turn].cuda->view());
    }
    fast_->FinishStep();
    for (size_t turn = 0; turn < 6; ++turn) {
      cpu_->Linear(*linears[turn % 2].cpu, inputs[turn].cpu->view(), Activation::kNone,
                   outputs[turn].cpu->view());
      ExpectClose(outputs[turn], 2 * kRounding,
                  Format("turn %zu of %lld rows", turn, (long long)rows));
    }
  }
}

// Rows and outputs that are parts of wider matrices; what lies beside them stays as it is.
TEST_F(CudaAwqTest, StridesAreRespected) {
  const AwqShape shape{520, 72, 0, 128, false};
  const Linears linears = MakeLinears(shape);
  for (const int64_t rows : {2, 20, 200}) {
    for (const int64_t padding : {8, 3}) {
      const Twin x = RandomTwin(rows, shape.in + padding),
                 out = PoisonedTwin(rows, shape.out + padding);
      const auto part = [&](const std::unique_ptr<DeviceTensor>& tensor, int64_t cols) {
        return tensor->view().Cols(0, cols);
      };
      cpu_->Linear(*linears.cpu, part(x.cpu, shape.in), Activation::kNone,
                   part(out.cpu, shape.out));
      for (Backend* backend : {cuda_.get(), fast_.get()}) {
        SKEIN_CUDA(cudaMemset(out.cuda->view().data, 0xff,
                              static_cast<size_t>(rows * (shape.out + padding)) * 2));
        Settle();
        backend->Linear(backend == fast_.get() ? *linears.fast : *linears.exact,
                        part(x.cuda, shape.in), Activation::kNone, part(out.cuda, shape.out));
        backend->FinishStep();
        ExpectClose(part(out.cpu, shape.out), part(out.cuda, shape.out), 2 * kRounding, "strided");
        for (const float value : Read(out.cuda->view().Cols(shape.out, padding), true)) {
          ASSERT_TRUE(std::isnan(value)) << "written beside the output";
        }
      }
    }
  }
}

TEST_F(CudaAwqTest, BitsOfARowDependOnThatRowOnly) {
  for (const AwqShape& shape :
       {AwqShape{5120, 1024, 0, 128, true}, {3456, 48, 24, 128, false}, {700, 64, 8, 32, true}}) {
    const Linears linears = MakeLinears(shape);
    constexpr int64_t kRows = 150;
    const Twin x = RandomTwin(kRows, shape.in);
    for (const bool swiglu : {false, true}) {
      const int64_t width = swiglu ? shape.out / 2 : shape.out;
      const auto run = [&](int64_t first, int64_t rows) {
        const Twin out = PoisonedTwin(rows, width), scratch = PoisonedResidual(rows, shape.out);
        const Matrix input = x.cuda->view().Rows(first, rows);
        if (swiglu) {
          cuda_->GateUpSwiGlu(*linears.exact, input, scratch.cuda->view(), out.cuda->view());
        } else {
          cuda_->Linear(*linears.exact, input, Activation::kNone, out.cuda->view());
        }
        cuda_->FinishStep();
        return Read(out.cuda->view(), true);
      };
      const std::vector<float> all = run(0, kRows);
      const int64_t parts[][2] = {{0, 1},   {149, 1}, {3, 8},   {60, 9},
                                  {64, 16}, {1, 33},  {20, 64}, {0, 100}};
      for (const auto& [first, rows] : parts) {
        const std::vector<float> part = run(first, rows);
        EXPECT_EQ(std::memcmp(part.data(), all.data() + first * width, part.size() * sizeof(float)),
                  0)
            << "rows " << first << " + " << rows << ", swiglu " << swiglu;
      }
    }
  }
}

TEST_F(CudaAwqTest, GateUpSwiGluAgrees) {
  for (const int64_t width : {8, 16, 24, 88, 352, 1024}) {
    const AwqShape shape{520, 2 * width, 24, 128, width % 3 == 0};
    const Linears linears = MakeLinears(shape);
    for (const int64_t rows : Values({1, 7, 8, 9, 16, 30, 64, 100, 250}, {8, 64, 250})) {
      const Twin x = RandomTwin(rows, shape.in), scratch = PoisonedResidual(rows, 2 * width),
                 out = PoisonedTwin(rows, width);
      cpu_->GateUpSwiGlu(*linears.cpu, x.cpu->view(), scratch.cpu->view(), out.cpu->view());
      for (Backend* backend : {cuda_.get(), fast_.get()}) {
        const Twin own = PoisonedTwin(rows, width);
        backend->GateUpSwiGlu(backend == fast_.get() ? *linears.fast : *linears.exact,
                              x.cuda->view(), scratch.cuda->view(), own.cuda->view());
        backend->FinishStep();
        ExpectClose(
            out.cpu->view(), own.cuda->view(), 4 * kRounding,
            Format("gate and up of %lld rows, width %lld", (long long)rows, (long long)width));
      }
    }
  }
}

// Halves of whole tiles are done in one kernel; others say so, and nothing is done.
TEST_F(CudaAwqTest, GateUpSwiGluIsOneKernelWhereHalvesAreTiles) {
  for (const int64_t width : {352, 88}) {
    const AwqShape shape{256, 2 * width, 0, 128, false};
    const Linears linears = MakeLinears(shape);
    const Twin x = RandomTwin(4, shape.in), out = PoisonedTwin(4, width);
    const auto& linear = static_cast<const cuda::CudaLinear&>(*linears.fast);
    auto& stream = *static_cast<cuda::Stream*>(fast_->stream());
    EXPECT_EQ(linear.RunSwiGlu(x.cuda->view(), out.cuda->view(), stream), width % 16 == 0);
    fast_->FinishStep();
    for (const float value : Read(out.cuda->view(), true)) {
      ASSERT_EQ(std::isfinite(value), width % 16 == 0);
    }
  }
}

// Every tuning of the kernel, also those that no plan of a small shape takes.
TEST_F(CudaAwqTest, EveryTuningAgreesWithThePlainLoop) {
  const AwqShape shape{2600, 224, 24, 128, false};
  std::vector<uint32_t> words(static_cast<size_t>(224 * 21 * 16)), tables(224 * 21);
  for (uint32_t& word : words) word = generator_();
  for (uint32_t& table : tables) {
    // A scale of 0.007 to 0.0156 in float16; 128 to 143 in bfloat16.
    table = 0x2000u | (generator_() & 0x3ffu) | (0x4300u + (generator_() & 15u)) << 16;
  }
  const auto upload = [](const std::vector<uint32_t>& values) {
    cuda::DeviceMemory memory(values.size() * 4);
    cuda::CopyAndWait(memory.data(), values.data(), memory.bytes());
    return memory;
  };
  const cuda::DeviceMemory device_words = upload(words), device_tables = upload(tables),
                           tickets = upload(std::vector<uint32_t>(cuda::kAwqMaxTickets, 0));
  cuda::AwqWeights weights{};
  weights.words = device_words.As<uint32_t>();
  weights.tables = device_tables.As<uint32_t>();
  weights.tickets = tickets.As<uint32_t>();
  weights.in_features = shape.in;
  weights.out_features = weights.padded_out = shape.out;
  weights.units = 21;
  weights.group_size = 128;
  weights.group_offset = shape.offset;
  weights.tables_per_unit = 1;
  auto& stream = *static_cast<cuda::Stream*>(cuda_->stream());
  const Twin x = RandomTwin(64, shape.in);
  const auto reference = cuda_->Allocate(DType::kFloat32, 64, shape.out);
  cuda::AwqReference(weights, x.cuda->view().As<__nv_bfloat16>(), shape.in, 64,
                     reference->view().As<float>(), stream);
  cuda_->FinishStep();
  const std::vector<float> expected = Read(reference->view(), true);
  // Few multiprocessors give every block several groups and slices.
  for (const int multiprocessors : {3, 132}) {
    cuda::DeviceTraits device = cuda::CurrentDeviceTraits();
    device.multiprocessors = multiprocessors;
    for (int tuning = 0; tuning < cuda::kAwqNumTunings; ++tuning) {
      for (const int64_t rows : Values({1, 5, 8, 11, 16, 24, 64}, {5, 16, 24})) {
        if (!cuda::AwqTakes(weights, tuning, rows, false)) continue;
        const cuda::AwqPlan best = cuda::PlanAwq(weights, rows, false, device, tuning);
        for (const int slices : {best.slices, 7}) {
          cuda::AwqPlan plan = best;
          plan.units_per_slice = std::min(plan.units_per_slice, (21 + slices - 1) / slices);
          plan.slices = (21 + plan.units_per_slice - 1) / plan.units_per_slice;
          const cuda::DeviceMemory partial(AwqPartialBytes(weights, plan, rows) + 16);
          const auto out = cuda_->Allocate(DType::kFloat32, rows, shape.out);
          SKEIN_CUDA(cudaMemset(out->view().data, 0xff, static_cast<size_t>(rows * shape.out) * 4));
          Settle();
          cuda::ProductOperands operands{};
          operands.x = x.cuda->view().As<__nv_bfloat16>();
          operands.x_stride = shape.in;
          operands.rows = rows;
          operands.out = out->view().data;
          operands.out_is_float = true;
          operands.out_stride = shape.out;
          operands.partial = partial.As<float>();
          cuda::AwqProduct(weights, operands, plan, stream);
          cuda_->FinishStep();
          const std::vector<float> actual = Read(out->view(), true);
          double difference = 0, norm = 0;
          for (size_t i = 0; i < actual.size(); ++i) {
            ASSERT_TRUE(std::isfinite(actual[i]));
            difference += std::pow(static_cast<double>(actual[i]) - expected[i], 2);
            norm += std::pow(static_cast<double>(expected[i]), 2);
          }
          EXPECT_LT(std::sqrt(difference / norm), 1e-5)
              << "tuning " << tuning << ", " << rows << " rows, " << plan.slices << " slices";
        }
      }
    }
  }
}

TEST_F(CudaAwqTest, OddGroupSizesAreRefused) {
  try {
    MakeLinears({480, 16, 0, 48, false});
    FAIL() << "groups of 48 were taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "UNSUPPORTED_MODEL");
  }
}

}  // namespace
}  // namespace skein
