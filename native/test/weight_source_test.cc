// Reading slices: the right bytes, each once, converted; and files that are not what the plan was
// made for.
#include "model/weight_source.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include "core/aligned_buffer.h"
#include "core/error.h"
#include "engine/engine.h"
#include "model/dummy_slices.h"
#include "model/plan_limits.h"
#include "model/tensor_catalogue.h"
#include "stored_model.h"
#include "tiny_model.h"

namespace skein::test {
namespace {

float ElementOf(const Matrix& matrix, int64_t row, int64_t col) {
  const int64_t index = row * matrix.stride + col;
  return matrix.type == DType::kFloat32 ? matrix.As<float>()[index]
                                        : static_cast<float>(matrix.As<BFloat16>()[index]);
}

// A back end's stream over host memory. So small that tensors go in several windows.
class HostStream final : public WeightStream {
 public:
  size_t buffer_bytes() const override { return sizeof(buffer_); }
  char* NextBuffer() override { return buffer_; }
  void Send(const Matrix& rows, const Matrix& dest) override {
    ASSERT_TRUE(rows.rows == dest.rows && rows.cols == dest.cols && rows.stride == rows.cols);
    for (int64_t row = 0; row < rows.rows; ++row) {
      ConvertElements(rows.Rows(row, 1).data, rows.type, dest.Rows(row, 1).data, dest.type,
                      rows.cols);
    }
    ++num_sent;
  }
  int64_t num_sent = 0;

 private:
  alignas(64) char buffer_[3000];
};

// What Stream sends is what Fill writes.
void ExpectStreamed(WeightSource& source, const LoadPlan& plan, size_t tensor_index, DType type,
                    HostStream& stream) {
  const RankTensor& tensor = plan.tensors[tensor_index];
  const auto bytes = static_cast<size_t>(tensor.rows * tensor.cols) * SizeOf(type);
  const AlignedBuffer filled(bytes), streamed(bytes);
  const auto index = static_cast<int64_t>(tensor_index);
  source.Fill(index, MakeMatrix(filled.data(), type, tensor.rows, tensor.cols));
  source.Stream(index, MakeMatrix(streamed.data(), type, tensor.rows, tensor.cols), stream);
  ASSERT_EQ(std::memcmp(filled.data(), streamed.data(), bytes), 0) << Describe(tensor);
}

TinyModelOptions WithVision() {
  TinyModelOptions options;
  options.has_vision = true;
  options.is_tied = true;
  return options;
}

TEST(WeightSource, EveryElementIsReadOnceToItsPlace) {
  for (const DType stored : {DType::kFloat32, DType::kBFloat16, DType::kFloat16}) {
    StoredModel model(WithVision(), 3, stored);
    for (int64_t rank = 0; rank < 3; ++rank) {
      const LoadPlan& plan = model.plan(rank);
      const TensorCatalogue catalogue(plan);
      WeightSourceOptions options;
      options.plan = &plan;
      options.catalogue = &catalogue;
      int64_t reported = 0;
      options.progress = [&](int64_t loaded, int64_t total) {
        EXPECT_GE(loaded, reported);
        EXPECT_EQ(total, catalogue.total_slice_bytes());
        reported = loaded;
      };
      const auto source = MakeFileWeightSource(options);
      for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
        for (size_t t = 0; t < plan.tensors.size(); ++t) {
          const RankTensor& tensor = plan.tensors[t];
          AlignedBuffer buffer(static_cast<size_t>(tensor.rows * tensor.cols) * SizeOf(type));
          const Matrix matrix = MakeMatrix(buffer.As<char>(), type, tensor.rows, tensor.cols);
          source->Fill(static_cast<int64_t>(t), matrix);
          for (const int64_t index : catalogue.slices_of(static_cast<int64_t>(t))) {
            const Slice& s = plan.slices[static_cast<size_t>(index)];
            for (int64_t row = s.row_start; row < s.row_end; ++row) {
              for (int64_t col = s.col_start; col < s.col_end; ++col) {
                ASSERT_EQ(ElementOf(matrix, s.dest_row + row - s.row_start,
                                    s.dest_col + col - s.col_start),
                          StoredModel::ValueAt(s.source_name, row, col))
                    << s.source_name << " at " << row << ", " << col;
              }
            }
          }
        }
        if (type == DType::kFloat32) {
          EXPECT_EQ(source->read_bytes(), catalogue.total_slice_bytes());
          EXPECT_EQ(reported, catalogue.total_slice_bytes());
        }
      }
    }
  }
}

std::vector<uint64_t> ChecksumsOf(const LoadPlan& plan) {
  Engine engine(BackendOptions{});
  return engine.Load(plan, nullptr).tensor_checksums;
}

TEST(WeightSource, StreamsWhatItWouldFill) {
  for (const DType stored : {DType::kFloat32, DType::kFloat16}) {
    StoredModel model(WithVision(), 3, stored);
    const LoadPlan& plan = model.plan(1);
    const TensorCatalogue catalogue(plan);
    WeightSourceOptions options;
    options.plan = &plan;
    options.catalogue = &catalogue;
    const auto source = MakeFileWeightSource(options), random = MakeDummyWeightSource(options);
    HostStream stream;
    for (size_t t = 0; t < plan.tensors.size(); ++t) {
      ExpectStreamed(*source, plan, t, DType::kBFloat16, stream);
      ExpectStreamed(*random, plan, t, DType::kFloat32, stream);
    }
    EXPECT_GT(stream.num_sent, static_cast<int64_t>(2 * plan.tensors.size()));
    // Once filled, once streamed.
    EXPECT_EQ(source->read_bytes(), 2 * catalogue.total_slice_bytes());
    std::vector<uint64_t> twice = ChecksumsOf(plan);
    for (uint64_t& checksum : twice) checksum *= 2;
    EXPECT_EQ(source->checksums(), twice);
  }
}

TEST(WeightSource, PaddingOfTheVocabularyIsZero) {
  TinyModelOptions options;
  StoredModel model(options, 4, DType::kFloat32);
  const LoadPlan& plan = model.plan(3);
  ASSERT_LT(plan.layout.vocab_valid_rows, plan.layout.vocab_rows);
  const TensorCatalogue catalogue(plan);
  WeightSourceOptions source_options;
  source_options.plan = &plan;
  source_options.catalogue = &catalogue;
  const auto source = MakeFileWeightSource(source_options);
  const int64_t index = catalogue.Find(TensorRole::kLmHead, TensorPart::kWeight, 0);
  AlignedBuffer buffer(static_cast<size_t>(plan.layout.vocab_rows * 48) * 4);
  const Matrix matrix = MakeMatrix(buffer.As<char>(), DType::kFloat32, plan.layout.vocab_rows, 48);
  source->Fill(index, matrix);
  for (int64_t col = 0; col < 48; ++col) {
    EXPECT_EQ(ElementOf(matrix, plan.layout.vocab_rows - 1, col), 0);
  }
}

TEST(WeightSource, AnEngineReadsExactlyItsSlices) {
  StoredModel model(WithVision(), 2, DType::kFloat32);
  int64_t total = 0;
  for (int64_t rank = 0; rank < 2; ++rank) {
    Engine engine(BackendOptions{});
    const LoadResult result = engine.Load(model.plan(rank), nullptr);
    EXPECT_EQ(result.read_bytes, TensorCatalogue(model.plan(rank)).total_slice_bytes());
    EXPECT_GT(result.peak_resident_bytes, 0);
    total += result.read_bytes;
  }
  EXPECT_GT(total, model.size() - 123);  // replicated tensors are read by both
}

std::string MessageOf(const LoadPlan& plan, const std::string& code) {
  try {
    Engine engine(BackendOptions{});
    engine.Load(plan, nullptr);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "loaded";
  return "";
}

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(WeightSource, NamesTheFileThatIsNotAsPlanned) {
  StoredModel model(WithVision(), 1, DType::kFloat32);
  const LoadPlan& plan = model.plan(0);
  ASSERT_EQ(truncate(model.path().c_str(), model.size() - 1), 0);
  EXPECT_TRUE(Contains(MessageOf(plan, "CORRUPT_WEIGHTS"), model.path() + ": has "));
  std::filesystem::remove(model.path());
  EXPECT_TRUE(Contains(MessageOf(plan, "CORRUPT_WEIGHTS"), "No such file"));
}

// Who loads the same slices later has to find what was there before.
TEST(WeightSource, RefusesBytesThatHaveChangedAndKeepsNothing) {
  StoredModel model(WithVision(), 2, DType::kBFloat16);
  LoadPlan& plan = model.plan(1);
  Engine first(BackendOptions{});
  plan.expected_checksums = first.Load(plan, nullptr).tensor_checksums;
  EXPECT_EQ(plan.expected_checksums.size(), plan.tensors.size());
  Engine engine(BackendOptions{});
  EXPECT_EQ(engine.Load(plan, nullptr).tensor_checksums, plan.expected_checksums);

  const Slice& slice = plan.slices[plan.slices.size() / 2];
  const int64_t place =
      slice.data_offset + 2 * (slice.row_start * slice.source_cols + slice.col_start);
  std::fstream file(model.path(), std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(place);
  const auto byte = static_cast<char>(file.get() ^ 1);
  file.seekp(place);
  file.put(byte).flush();
  const std::string message = MessageOf(plan, "CORRUPT_WEIGHTS");
  EXPECT_TRUE(Contains(message, "tensor " + slice.source_name + ")")) << message;
  EXPECT_TRUE(Contains(message, model.path() + ": not the bytes")) << message;
  EXPECT_TRUE(Contains(message, "differ in 1 of ")) << message;

  // Nor are they kept where others of the same hash were expected.
  LoadPlan unknown = plan;
  unknown.expected_checksums.clear();
  Engine changed(BackendOptions{});
  EXPECT_NE(changed.Load(unknown, nullptr).tensor_checksums, plan.expected_checksums);
  EXPECT_EQ(changed.Load(unknown, nullptr).read_bytes, 0);
  EXPECT_THROW(changed.Load(plan, nullptr), Error);
  EXPECT_EQ(changed.resident_weights_hash(), "");
  // Who holds the weights still has the old ones.
  EXPECT_EQ(first.Load(plan, nullptr).read_bytes, 0);
}

// One NaN in one weight would make every answer nonsense, and nothing would say why.
TEST(WeightSource, NamesTheElementThatIsNoNumber) {
  for (const DType stored : {DType::kFloat32, DType::kBFloat16, DType::kFloat16}) {
    StoredModel model(WithVision(), 2, stored);
    LoadPlan& plan = model.plan(1);
    const Slice& slice = plan.slices[plan.slices.size() / 2];
    const int64_t row = slice.row_end - 1, col = slice.col_end - 1;
    const auto size = static_cast<int64_t>(SizeOf(stored));
    std::fstream file(model.path(), std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(slice.data_offset + (row * slice.source_cols + col) * size);
    const char nan[] = {'\xff', '\xff', '\xff', '\xff'};
    file.write(nan, size).flush();
    const std::string message = MessageOf(plan, "CORRUPT_WEIGHTS");
    const auto at = [](int64_t index) { return std::to_string(index); };
    const std::string place = "element [" + at(row) + ", " + at(col) + "] is not a finite number";
    EXPECT_TRUE(Contains(message, model.path() + ": tensor " + slice.source_name)) << message;
    EXPECT_TRUE(Contains(message, place)) << message;
  }
}

TEST(WeightSource, NamesTheTensorBeyondTheFile) {
  StoredModel model(WithVision(), 1, DType::kFloat32);
  LoadPlan plan = model.plan(0);
  plan.slices[3].data_offset = model.size() - 4;
  const std::string message = MessageOf(plan, "CORRUPT_WEIGHTS");
  EXPECT_TRUE(Contains(message, plan.slices[3].source_name)) << message;
  EXPECT_TRUE(Contains(message, model.path())) << message;
}

// The file shrinks between the check of its size and the reading.
TEST(WeightSource, NamesTheTensorOfAShortRead) {
  StoredModel model(WithVision(), 1, DType::kFloat32);
  const LoadPlan& plan = model.plan(0);
  const TensorCatalogue catalogue(plan);
  WeightSourceOptions options;
  options.plan = &plan;
  options.catalogue = &catalogue;
  const auto source = MakeFileWeightSource(options);
  ASSERT_EQ(truncate(model.path().c_str(), 200), 0);
  const RankTensor& tensor = plan.tensors[0];
  AlignedBuffer buffer(static_cast<size_t>(tensor.rows * tensor.cols) * 4);
  try {
    source->Fill(0, MakeMatrix(buffer.As<char>(), DType::kFloat32, tensor.rows, tensor.cols));
    FAIL() << "read beyond the end";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "CORRUPT_WEIGHTS");
    EXPECT_TRUE(Contains(error.what(), "token-embedding")) << error.what();
    EXPECT_TRUE(Contains(error.what(), "ends before")) << error.what();
  }
}

TEST(WeightSource, ACancelledLoadEnds) {
  const LoadPlan plan = MakeTinyPlan(WithVision(), 1, 0);
  Engine engine(BackendOptions{});
  try {
    engine.Load(plan, [&](int64_t, int64_t) { engine.Abort(0); });
    FAIL() << "loaded";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "ABORTED");
  }
  EXPECT_EQ(engine.resident_weights_hash(), "");
  EXPECT_GT(engine.Load(plan, nullptr).weight_bytes, 0);
}

TEST(TensorCatalogue, RefusesPlansThatContradictThemselves) {
  const auto expect = [](const char* part, const std::function<void(LoadPlan&)>& change) {
    LoadPlan plan = MakeTinyPlan(WithVision(), 2, 1);
    plan.slices = MakeDummySlices(plan);
    change(plan);
    const std::string message = MessageOf(plan, "INVALID_REQUEST");
    EXPECT_TRUE(Contains(message, part)) << message;
  };
  expect("final-norm", [](LoadPlan& p) {
    std::erase_if(p.tensors, [](const RankTensor& t) { return t.role == TensorRole::kFinalNorm; });
    p.slices = MakeDummySlices(p);
  });
  expect("given twice", [](LoadPlan& p) { p.tensors.push_back(p.tensors[1]); });
  expect("this model has", [](LoadPlan& p) {
    p.tensors.push_back(p.tensors[1]);
    p.tensors.back().layer = 9;
    p.slices = MakeDummySlices(p);
  });
  expect("overlaps", [](LoadPlan& p) { p.slices.push_back(p.slices[0]); });
  expect("slices cover", [](LoadPlan& p) { p.slices.pop_back(); });
  expect("out of range", [](LoadPlan& p) { p.slices[2].row_end += 1000; });
  expect("does not fit", [](LoadPlan& p) { p.slices[2].dest_col += 1; });
  expect("the layout needs", [](LoadPlan& p) { p.layout.intermediate_size -= 8; });
  expect("layout.qToKv", [](LoadPlan& p) { p.layout.q_to_kv[0] = 3; });
  expect("text.headDim", [](LoadPlan& p) { p.text.head_dim = 7; });
  expect("maxTilesPerStep", [](LoadPlan& p) { p.max_tiles_per_step = 0; });
}

// Each element of every rank's tensors equals the whole model's at the same place.
TEST(DummyWeights, AreTheSameModelAtEveryWorldSize) {
  for (const TinyFloat8 float8 : {TinyFloat8::kNone, TinyFloat8::kPerChannel}) {
    TinyModelOptions options = WithVision();
    options.is_awq = float8 == TinyFloat8::kNone;
    options.float8 = float8;
    options.is_tied = false;
    std::map<std::tuple<std::string, int64_t, int64_t>, uint32_t> whole;
    for (const int64_t world_size : {1, 2, 3, 5}) {
      for (int64_t rank = 0; rank < world_size; ++rank) {
        LoadPlan plan = MakeTinyPlan(options, world_size, rank);
        plan.slices = MakeDummySlices(plan);
        const TensorCatalogue catalogue(plan);
        WeightSourceOptions source_options;
        source_options.plan = &plan;
        source_options.catalogue = &catalogue;
        const auto source = MakeDummyWeightSource(source_options);
        for (size_t t = 0; t < plan.tensors.size(); ++t) {
          const RankTensor& tensor = plan.tensors[t];
          AlignedBuffer buffer(static_cast<size_t>(tensor.rows * tensor.cols) * 4);
          const DType type = tensor.stored_type == DType::kInt32 ? DType::kInt32 : DType::kFloat32;
          source->Fill(static_cast<int64_t>(t),
                       MakeMatrix(buffer.As<char>(), type, tensor.rows, tensor.cols));
          for (const int64_t index : catalogue.slices_of(static_cast<int64_t>(t))) {
            const Slice& s = plan.slices[static_cast<size_t>(index)];
            for (int64_t row = s.row_start; row < s.row_end; ++row) {
              for (int64_t col = s.col_start; col < s.col_end; ++col) {
                uint32_t bits = 0;
                const int64_t at =
                    (s.dest_row + row - s.row_start) * tensor.cols + s.dest_col + col - s.col_start;
                std::memcpy(&bits, buffer.As<char>() + at * 4, 4);
                const auto [found, is_new] =
                    whole.emplace(std::tuple(s.source_name, row, col), bits);
                ASSERT_EQ(is_new, world_size == 1);
                ASSERT_EQ(found->second, bits) << s.source_name;
              }
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace skein::test
