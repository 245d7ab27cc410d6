// A model of a few tensors in a file, for tests that read it.
#pragma once

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "model/dummy_slices.h"
#include "tiny_model.h"

namespace skein::test {

// A folder that goes with the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = std::filesystem::temp_directory_path() / "skein-test-XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// The tiny plan for a rank with weights in files: each source tensor (of all ranks' slices) stored
// once, in `stored`, with elements that tell their place. Values are small multiples of 1/64: exact
// in every type.
class StoredModel {
 public:
  StoredModel(const TinyModelOptions& options, int64_t world_size, DType stored) {
    for (int64_t rank = 0; rank < world_size; ++rank) {
      LoadPlan plan = MakeTinyPlan(options, world_size, rank);
      plan.slices = MakeDummySlices(plan);
      for (Slice& slice : plan.slices) {
        // MakeDummySlices gives a source as far as the slice reaches; the true one is the largest
        // over the ranks.
        Source& source = sources_[slice.source_name];
        source.rows = std::max(source.rows, slice.row_end);
        source.cols = std::max(source.cols, slice.col_end);
        slice.type = stored;
        slice.file_index = 0;
      }
      plan.dummy_weights = false;
      plans_.push_back(std::move(plan));
    }
    Write(stored);
    for (LoadPlan& plan : plans_) {
      plan.files = {{path(), size_}};
      for (Slice& slice : plan.slices) {
        const Source& source = sources_.at(slice.source_name);
        slice.source_rows = source.rows;
        slice.source_cols = source.cols;
        slice.data_offset = source.offset;
      }
    }
  }

  LoadPlan& plan(int64_t rank) { return plans_[static_cast<size_t>(rank)]; }
  std::string path() const { return folder_.File("model.bin"); }
  int64_t size() const { return size_; }

  static float ValueAt(const std::string& source, int64_t row, int64_t col) {
    return static_cast<float>((std::hash<std::string>()(source) + 7 * row + 3 * col) % 97) / 64;
  }

 private:
  struct Source {
    int64_t rows = 0, cols = 0, offset = 0;
  };

  static void Append(std::vector<char>* bytes, float value, DType stored) {
    char element[4];
    if (stored == DType::kFloat32) {
      std::memcpy(element, &value, 4);
    } else if (stored == DType::kBFloat16) {
      const BFloat16 rounded(value);
      std::memcpy(element, &rounded, 2);
    } else {
      const auto half = static_cast<_Float16>(value);
      std::memcpy(element, &half, 2);
    }
    bytes->insert(bytes->end(), element, element + SizeOf(stored));
  }

  void Write(DType stored) {
    std::vector<char> bytes(123, 'x');  // a header that nobody reads
    for (auto& [name, source] : sources_) {
      source.offset = static_cast<int64_t>(bytes.size());
      for (int64_t row = 0; row < source.rows; ++row) {
        for (int64_t col = 0; col < source.cols; ++col) {
          Append(&bytes, ValueAt(name, row, col), stored);
        }
      }
    }
    size_ = static_cast<int64_t>(bytes.size());
    std::ofstream(path(), std::ios::binary).write(bytes.data(), size_);
  }

  TemporaryFolder folder_;
  std::map<std::string, Source> sources_;
  std::vector<LoadPlan> plans_;
  int64_t size_ = 0;
};

}  // namespace skein::test
