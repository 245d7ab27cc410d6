// Reads slices with pread: whole runs where a slice is as wide as its source, row by row where it
// is a range of columns. Never takes a byte that belongs to no slice. Several threads read at once:
// one would keep neither a disk nor a device's bus busy. What comes next is asked of the kernel
// ahead of time, so that the disk works while weights are packed.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <vector>

#include "core/byte_checksum.h"
#include "core/error.h"
#include "core/finite_check.h"
#include "core/thread_pool.h"
#include "model/weight_source.h"

namespace skein {
namespace {

// Bytes of the plan's next tensors that are asked of the kernel before they are wanted.
constexpr int64_t kAheadBytes = int64_t{256} << 20;
// A slice of so small a part of its source's columns is not asked for: most of what came would be
// others'.
constexpr int64_t kLeastColumnsShare = 4;
// What all readers read before they meet; bounds the time to notice a cancellation.
constexpr int64_t kBatchBytes = int64_t{64} << 20;
// What one of them reads at a time; bounds the window that converts types.
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
        checksums_(plan_.tensors.size()),
        asked_(plan_.tensors.size()) {
    const AddedTime time(times_.open_ms);
    files_.reserve(plan_.files.size());
    for (const WeightFile& file : plan_.files) files_.push_back(Open(file));
  }

  void Fill(int64_t tensor_index, const Matrix& dest) override {
    AskAhead(tensor_index);
    const AddedTime time(times_.read_ms);
    for (const int64_t index : catalogue_.slices_of(tensor_index)) {
      const Slice& slice = plan_.slices[static_cast<size_t>(index)];
      const int64_t rows = slice.row_end - slice.row_start, cols = slice.col_end - slice.col_start;
      if (rows == 0 || cols == 0) continue;
      const Matrix part = dest.Rows(slice.dest_row, rows).Cols(slice.dest_col, cols);
      ReadInto(slice, part);
    }
  }

  void Stream(int64_t tensor_index, const Matrix& dest, WeightStream& stream) override {
    AskAhead(tensor_index);
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
        char* const buffer = NextBuffer(stream);
        {
          const AddedTime time(times_.read_ms);
          ReadTogether(slice, slice.row_start + row, count, run_bytes, buffer);
        }
        stream.Send(MakeMatrix(buffer, slice.type, count, cols), part.Rows(row, count));
        Count(count * run_bytes);
      }
    }
  }

  int64_t read_bytes() const override { return read_bytes_; }
  LoadTimes times() const override {
    LoadTimes times = times_;
    times.checksum_ms = static_cast<double>(checksum_ns_.load()) / 1e6;
    return times;
  }

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

  char* NextBuffer(WeightStream& stream) {
    const AddedTime time(times_.transfer_ms);
    return stream.NextBuffer();
  }

  // Tensors are loaded in the plan's order: while one is read and packed, the kernel reads those
  // behind it.
  void AskAhead(int64_t tensor_index) {
    const auto current = static_cast<size_t>(tensor_index);
    if (asked_[current]) ahead_bytes_ -= BytesOf(current);
    next_ahead_ = std::max(next_ahead_, current);
    while (next_ahead_ < asked_.size() && ahead_bytes_ < kAheadBytes) {
      if (next_ahead_ != current) {
        Ask(next_ahead_);
        asked_[next_ahead_] = true;
        ahead_bytes_ += BytesOf(next_ahead_);
      }
      ++next_ahead_;
    }
  }

  int64_t BytesOf(size_t tensor_index) const {
    const RankTensor& tensor = plan_.tensors[tensor_index];
    return tensor.rows * tensor.cols * static_cast<int64_t>(SizeOf(tensor.stored_type));
  }

  // Advice only: where it is refused, reading waits.
  void Ask(size_t tensor_index) const {
    for (const int64_t index : catalogue_.slices_of(static_cast<int64_t>(tensor_index))) {
      const Slice& slice = plan_.slices[static_cast<size_t>(index)];
      const int64_t cols = slice.col_end - slice.col_start;
      if (cols * kLeastColumnsShare < slice.source_cols) continue;
      const int64_t start = OffsetOf(slice, slice.row_start, 0);
      const int64_t bytes = OffsetOf(slice, slice.row_end, 0) - start;
      posix_fadvise(files_[static_cast<size_t>(slice.file_index)].get(), start, bytes,
                    POSIX_FADV_WILLNEED);
    }
  }

  // Rows of a slice where they belong, in the type that is wanted there. The readers meet once for
  // each batch: one that has lost its processor holds up nobody in between.
  void ReadInto(const Slice& slice, const Matrix& part) {
    const auto run_bytes = part.cols * static_cast<int64_t>(SizeOf(slice.type));
    const int64_t step = std::max<int64_t>(1, kPieceBytes / run_bytes);
    const int64_t batch = step * (kBatchBytes / kPieceBytes);
    for (int64_t first = 0; first < part.rows; first += batch) {
      const Matrix to = part.Rows(first, std::min(batch, part.rows - first));
      readers().ParallelFor((to.rows + step - 1) / step, [&](int64_t piece) {
        const Matrix rows = to.Rows(piece * step, std::min(step, to.rows - piece * step));
        ReadPiece(slice, slice.row_start + first + piece * step, rows);
      });
      Count(to.rows * run_bytes);
    }
  }

  // Any thread.
  void ReadPiece(const Slice& slice, int64_t first_row, const Matrix& to) {
    const auto run_bytes = to.cols * static_cast<int64_t>(SizeOf(slice.type));
    if (to.type == slice.type && to.stride == to.cols) {
      return ReadPacked(slice, first_row, to.rows, run_bytes, to.As<char>());
    }
    const auto window = std::make_unique_for_overwrite<char[]>(static_cast<size_t>(to.rows) *
                                                               static_cast<size_t>(run_bytes));
    ReadPacked(slice, first_row, to.rows, run_bytes, window.get());
    for (int64_t i = 0; i < to.rows; ++i) {
      ConvertElements(window.get() + i * run_bytes, slice.type, to.Rows(i, 1).data, to.type,
                      to.cols);
    }
  }

  // Any thread. One run of the file where the slice is as wide as its source, else one for each
  // row.
  void ReadPacked(const Slice& slice, int64_t first_row, int64_t rows, int64_t run_bytes,
                  char* to) {
    const int64_t offset = OffsetOf(slice, first_row, slice.col_start);
    const auto source_row_bytes = slice.source_cols * static_cast<int64_t>(SizeOf(slice.type));
    if (run_bytes == source_row_bytes) return ReadBytes(slice, offset, to, rows * run_bytes);
    for (int64_t row = 0; row < rows; ++row) {
      ReadBytes(slice, offset + row * source_row_bytes, to + row * run_bytes, run_bytes);
    }
  }

  // Rows of a slice, packed, by all readers.
  void ReadTogether(const Slice& slice, int64_t first_row, int64_t rows, int64_t run_bytes,
                    char* to) {
    const int64_t step = std::max<int64_t>(1, kPieceBytes / run_bytes);
    readers().ParallelFor((rows + step - 1) / step, [&](int64_t piece) {
      const int64_t row = piece * step;
      ReadPacked(slice, first_row + row, std::min(step, rows - row), run_bytes,
                 to + row * run_bytes);
    });
  }

  ThreadPool& readers() {
    if (readers_ == nullptr) {
      readers_ = std::make_unique<ThreadPool>(std::clamp(NumUsableCpus(), 1, kMaxReaders));
    }
    return *readers_;
  }

  void Count(int64_t bytes) {
    read_bytes_ += bytes;
    meter_.Add(bytes);
  }

  // Any thread. Adds to the checksum, and looks for what is no number, while what was read is still
  // in the processor's caches.
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
      const auto before = std::chrono::steady_clock::now();
      checksums_[static_cast<size_t>(slice.tensor_index)] +=
          ChecksumOf(at, got, slice.file_index, offset + done);
      checksum_ns_ += (std::chrono::steady_clock::now() - before).count();
      done += got;
    }
    CheckFinite(slice, offset, to, bytes);
  }

  // Any thread. Whole elements of a slice, `offset` in its file.
  void CheckFinite(const Slice& slice, int64_t offset, const void* data, int64_t bytes) {
    const auto before = std::chrono::steady_clock::now();
    const auto size = static_cast<int64_t>(SizeOf(slice.type));
    const int64_t found = FirstNonFinite(data, slice.type, bytes / size);
    checksum_ns_ += (std::chrono::steady_clock::now() - before).count();
    if (found == bytes / size) return;
    const int64_t element = (offset - slice.data_offset) / size + found;
    throw Error(
        "CORRUPT_WEIGHTS",
        Format("%s: tensor %s: element [%lld, %lld] is not a finite number",
               plan_.files[static_cast<size_t>(slice.file_index)].path.c_str(),
               slice.source_name.c_str(), static_cast<long long>(element / slice.source_cols),
               static_cast<long long>(element % slice.source_cols)));
  }

  const LoadPlan& plan_;
  const TensorCatalogue& catalogue_;
  LoadProgressMeter meter_;
  std::vector<FileDescriptor> files_;
  std::unique_ptr<ThreadPool> readers_;
  int64_t read_bytes_ = 0;
  // By tensor.
  std::vector<std::atomic<uint64_t>> checksums_;
  // Tensors that the kernel was asked for, and the bytes of those that were not read yet.
  std::vector<bool> asked_;
  size_t next_ahead_ = 0;
  int64_t ahead_bytes_ = 0;
  LoadTimes times_;
  std::atomic<int64_t> checksum_ns_ = 0;
};

}  // namespace

std::unique_ptr<WeightSource> MakeFileWeightSource(const WeightSourceOptions& options) {
  return std::make_unique<FileWeightSource>(options);
}

}  // namespace skein
