// Reads slices with pread: whole runs where a slice is as wide as its source, row by row where it
// is a range of columns. Never reads a byte that belongs to no slice. What goes to a device is read
// by several threads at once: one would not keep the device's bus busy.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <vector>

#include "core/byte_checksum.h"
#include "core/error.h"
#include "core/thread_pool.h"
#include "model/weight_source.h"

namespace skein {
namespace {

// Bytes read at once; bounds the window that converts types, and the time to notice a cancellation.
constexpr int64_t kWindowBytes = int64_t{8} << 20;
// What is read at a time, by one of several threads or in all.
constexpr int64_t kPieceBytes = int64_t{1} << 20;
// More only wait for each other on one disk.
constexpr int kMaxReaders = 16;

class FileDescriptor {
 public:
  explicit FileDescriptor(const std::string& path)
      : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

class FileWeightSource final : public WeightSource {
 public:
  explicit FileWeightSource(const WeightSourceOptions& options)
      : plan_(*options.plan),
        catalogue_(*options.catalogue),
        meter_(options, options.catalogue->total_slice_bytes()),
        checksums_(plan_.tensors.size()) {
    files_.reserve(plan_.files.size());
    for (const WeightFile& file : plan_.files) files_.push_back(Open(file));
  }

  void Fill(int64_t tensor_index, const Matrix& dest) override {
    for (const int64_t index : catalogue_.slices_of(tensor_index)) {
      const Slice& slice = plan_.slices[static_cast<size_t>(index)];
      const int64_t rows = slice.row_end - slice.row_start, cols = slice.col_end - slice.col_start;
      if (rows == 0 || cols == 0) continue;
      const Matrix part = dest.Rows(slice.dest_row, rows).Cols(slice.dest_col, cols);
      if (cols == slice.source_cols) {
        ReadRows(slice, part);
      } else {
        ReadColumns(slice, part);
      }
    }
  }

  void Stream(int64_t tensor_index, const Matrix& dest, WeightStream& stream) override {
    for (const int64_t index : catalogue_.slices_of(tensor_index)) {
      const Slice& slice = plan_.slices[static_cast<size_t>(index)];
      const int64_t rows = slice.row_end - slice.row_start, cols = slice.col_end - slice.col_start;
      if (rows == 0 || cols == 0) continue;
      const Matrix part = dest.Rows(slice.dest_row, rows).Cols(slice.dest_col, cols);
      const auto run_bytes = cols * static_cast<int64_t>(SizeOf(slice.type));
      const auto step = static_cast<int64_t>(stream.buffer_bytes()) / run_bytes;
      SKEIN_CHECK(step > 0, "a row of %lld bytes", static_cast<long long>(run_bytes));
      for (int64_t row = 0; row < rows; row += step) {
        const int64_t count = std::min(step, rows - row);
        char* const buffer = stream.NextBuffer();
        ReadTogether(slice, slice.row_start + row, count, run_bytes, buffer);
        stream.Send(MakeMatrix(buffer, slice.type, count, cols), part.Rows(row, count));
        Count(count * run_bytes);
      }
    }
  }

  int64_t read_bytes() const override { return read_bytes_; }

  std::vector<uint64_t> checksums() const override {
    return {checksums_.begin(), checksums_.end()};
  }

 private:
  static FileDescriptor Open(const WeightFile& file) {
    FileDescriptor descriptor(file.path);
    struct stat info {};
    if (descriptor.get() < 0 || fstat(descriptor.get(), &info) != 0) {
      throw Error("CORRUPT_WEIGHTS",
                  Format("%s: cannot be opened: %s", file.path.c_str(), std::strerror(errno)));
    }
    if (info.st_size != file.size_bytes) {
      throw Error("CORRUPT_WEIGHTS", Format("%s: has %lld bytes, the shard plan was made for %lld",
                                            file.path.c_str(), static_cast<long long>(info.st_size),
                                            static_cast<long long>(file.size_bytes)));
    }
    return descriptor;
  }

  static int64_t OffsetOf(const Slice& slice, int64_t row, int64_t col) {
    return slice.data_offset +
           (row * slice.source_cols + col) * static_cast<int64_t>(SizeOf(slice.type));
  }

  // The slice's rows are one run of the file.
  void ReadRows(const Slice& slice, const Matrix& part) {
    const auto row_bytes = slice.source_cols * static_cast<int64_t>(SizeOf(slice.type));
    const bool is_direct = part.type == slice.type && part.stride == part.cols;
    const int64_t step = std::max<int64_t>(1, kWindowBytes / row_bytes);
    for (int64_t row = 0; row < part.rows; row += step) {
      const int64_t rows = std::min(step, part.rows - row);
      const Matrix to = part.Rows(row, rows);
      const int64_t offset = OffsetOf(slice, slice.row_start + row, 0);
      if (is_direct) {
        Read(slice, offset, to.data, rows * row_bytes);
        continue;
      }
      char* window = Window(rows * row_bytes);
      Read(slice, offset, window, rows * row_bytes);
      for (int64_t i = 0; i < rows; ++i) {
        ConvertElements(window + i * row_bytes, slice.type, to.Rows(i, 1).data, to.type, to.cols);
      }
    }
  }

  // A range of columns: one run per row.
  void ReadColumns(const Slice& slice, const Matrix& part) {
    const auto run_bytes = part.cols * static_cast<int64_t>(SizeOf(slice.type));
    for (int64_t row = 0; row < part.rows; ++row) {
      const int64_t offset = OffsetOf(slice, slice.row_start + row, slice.col_start);
      void* to = part.Rows(row, 1).data;
      if (part.type == slice.type) {
        Read(slice, offset, to, run_bytes);
      } else {
        char* window = Window(run_bytes);
        Read(slice, offset, window, run_bytes);
        ConvertElements(window, slice.type, to, part.type, part.cols);
      }
    }
  }

  // Rows of a slice, packed, by all readers.
  void ReadTogether(const Slice& slice, int64_t first_row, int64_t rows, int64_t run_bytes,
                    char* to) {
    if (readers_ == nullptr) {
      readers_ = std::make_unique<ThreadPool>(std::clamp(NumUsableCpus(), 1, kMaxReaders));
    }
    const int64_t offset = OffsetOf(slice, first_row, slice.col_start);
    const int64_t bytes = rows * run_bytes;
    const auto source_row_bytes = slice.source_cols * static_cast<int64_t>(SizeOf(slice.type));
    if (run_bytes == source_row_bytes) {
      readers_->ParallelFor((bytes + kPieceBytes - 1) / kPieceBytes, [&](int64_t piece) {
        const int64_t start = piece * kPieceBytes;
        ReadBytes(slice, offset + start, to + start, std::min(kPieceBytes, bytes - start));
      });
      return;
    }
    const int64_t step = std::max<int64_t>(1, kPieceBytes / run_bytes);
    readers_->ParallelFor((rows + step - 1) / step, [&](int64_t piece) {
      const int64_t end = std::min(rows, (piece + 1) * step);
      for (int64_t row = piece * step; row < end; ++row) {
        ReadBytes(slice, offset + row * source_row_bytes, to + row * run_bytes, run_bytes);
      }
    });
  }

  char* Window(int64_t bytes) {
    if (static_cast<int64_t>(window_.size()) < bytes) window_.resize(static_cast<size_t>(bytes));
    return window_.data();
  }

  void Read(const Slice& slice, int64_t offset, void* to, int64_t bytes) {
    ReadBytes(slice, offset, to, bytes);
    Count(bytes);
  }

  void Count(int64_t bytes) {
    read_bytes_ += bytes;
    meter_.Add(bytes);
  }

  // Any thread. Adds to the checksum while what was read is still in the processor's caches.
  void ReadBytes(const Slice& slice, int64_t offset, void* to, int64_t bytes) {
    const WeightFile& file = plan_.files[static_cast<size_t>(slice.file_index)];
    const int fd = files_[static_cast<size_t>(slice.file_index)].get();
    int64_t done = 0;
    while (done < bytes) {
      char* const at = static_cast<char*>(to) + done;
      const auto wanted = static_cast<size_t>(std::min(bytes - done, kPieceBytes));
      const ssize_t got = pread(fd, at, wanted, offset + done);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) {
        throw Error("CORRUPT_WEIGHTS",
                    Format("%s: tensor %s: %lld bytes at offset %lld: %s", file.path.c_str(),
                           slice.source_name.c_str(), static_cast<long long>(bytes),
                           static_cast<long long>(offset),
                           got == 0 ? "the file ends before them" : std::strerror(errno)));
      }
      checksums_[static_cast<size_t>(slice.tensor_index)] +=
          ChecksumOf(at, got, slice.file_index, offset + done);
      done += got;
    }
  }

  const LoadPlan& plan_;
  const TensorCatalogue& catalogue_;
  LoadProgressMeter meter_;
  std::vector<FileDescriptor> files_;
  std::vector<char> window_;
  std::unique_ptr<ThreadPool> readers_;
  int64_t read_bytes_ = 0;
  // By tensor.
  std::vector<std::atomic<uint64_t>> checksums_;
};

}  // namespace

std::unique_ptr<WeightSource> MakeFileWeightSource(const WeightSourceOptions& options) {
  return std::make_unique<FileWeightSource>(options);
}

}  // namespace skein
