// Memory limits of control groups, read from trees as the two versions of the interface lay them
// out.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "cpu/host_memory.h"

namespace skein::test {
namespace {

constexpr int64_t kGiB = int64_t{1} << 30;
// What version 1 writes for "no limit": the largest number of whole pages.
const char* const kNoLimitV1 = "9223372036854771712";

// A folder that stands for the root of a file system; a host of 64 GiB of which 48 are available.
class Tree {
 public:
  Tree() {
    std::string name = (std::filesystem::temp_directory_path() / "skein-cgroup-XXXXXX").string();
    root_ = mkdtemp(name.data());
    Write(
        "/proc/meminfo",
        "MemTotal:       67108864 kB\nMemFree:         1048576 kB\nMemAvailable:   50331648 kB\n");
  }
  ~Tree() { std::filesystem::remove_all(root_); }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  void Write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file(root_ + path);
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }

  void Write(const std::string& path, int64_t number) const {
    Write(path, std::to_string(number) + "\n");
  }

  // In GiB, total and free.
  void Expect(double total, double free) const {
    const cpu::HostMemory memory = cpu::ReadHostMemory(root_);
    EXPECT_DOUBLE_EQ(static_cast<double>(memory.total_bytes) / kGiB, total);
    EXPECT_DOUBLE_EQ(static_cast<double>(memory.free_bytes) / kGiB, free);
  }

 private:
  std::string root_;
};

TEST(HostMemoryTest, IsTheHostsWithoutControlGroups) {
  const Tree tree;
  tree.Expect(64, 48);
  tree.Write("/proc/self/cgroup", "0::/\n");
  tree.Expect(64, 48);
}

TEST(HostMemoryTest, IsTheLimitOfAVersion2Group) {
  const Tree tree;
  tree.Write("/proc/self/cgroup", "0::/system.slice/skein.service\n");
  const std::string folder = "/sys/fs/cgroup/system.slice/skein.service/";
  tree.Write(folder + "memory.max", "max\n");
  tree.Write(folder + "memory.current", 3 * kGiB);
  tree.Expect(64, 48);
  tree.Write(folder + "memory.max", 8 * kGiB);
  tree.Expect(8, 5);
  // Pages of files can be taken back: a checkpoint that was read does not fill the group.
  tree.Write(folder + "memory.stat", "anon 1073741824\ninactive_file 2147483648\nactive_file 7\n");
  tree.Expect(8, 7);
  tree.Write(folder + "memory.high", 6 * kGiB);
  tree.Expect(6, 5);
  tree.Write(folder + "memory.current", 9 * kGiB);
  tree.Expect(6, 0);
}

TEST(HostMemoryTest, IsTheLeastLimitOfVersion2Parents) {
  const Tree tree;
  tree.Write("/proc/self/cgroup", "0::/a/b/c\n");
  tree.Write("/sys/fs/cgroup/a/b/c/memory.max", 20 * kGiB);
  tree.Write("/sys/fs/cgroup/a/b/c/memory.current", 1 * kGiB);
  tree.Write("/sys/fs/cgroup/a/memory.max", 10 * kGiB);
  tree.Write("/sys/fs/cgroup/a/memory.current", 9 * kGiB);
  tree.Expect(10, 1);
}

TEST(HostMemoryTest, FindsAContainersOwnLimitAtItsMount) {
  for (const char* path : {"0::/\n", "0::/docker/0123\n", "0::/../../other\n"}) {
    const Tree tree;
    tree.Write("/proc/self/cgroup", path);
    tree.Write("/sys/fs/cgroup/memory.max", 4 * kGiB);
    tree.Write("/sys/fs/cgroup/memory.current", 1 * kGiB);
    tree.Expect(4, 3);
  }
}

TEST(HostMemoryTest, IsTheLimitOfAVersion1Group) {
  const Tree tree;
  tree.Write("/proc/self/cgroup", "11:cpu,cpuacct:/x\n9:memory:/batch/job\n1:name=systemd:/x\n");
  const std::string folder = "/sys/fs/cgroup/memory/batch/job/";
  tree.Write(folder + "memory.limit_in_bytes", std::string(kNoLimitV1) + "\n");
  tree.Write(folder + "memory.usage_in_bytes", 3 * kGiB);
  tree.Expect(64, 48);
  tree.Write(folder + "memory.limit_in_bytes", 12 * kGiB);
  tree.Expect(12, 9);
  tree.Write(folder + "memory.stat", "inactive_file 5\ntotal_inactive_file 1073741824\n");
  tree.Expect(12, 10);
  tree.Write("/sys/fs/cgroup/memory/batch/memory.limit_in_bytes", 11 * kGiB);
  tree.Write("/sys/fs/cgroup/memory/batch/memory.usage_in_bytes", 10 * kGiB);
  tree.Expect(11, 1);
}

TEST(HostMemoryTest, BelievesVersion1AboutParentsThatItCannotSee) {
  const Tree tree;
  tree.Write("/proc/self/cgroup", "9:memory:/docker/0123\n0::/docker/0123\n");
  tree.Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", std::string(kNoLimitV1) + "\n");
  tree.Write("/sys/fs/cgroup/memory/memory.usage_in_bytes", 1 * kGiB);
  tree.Write("/sys/fs/cgroup/memory/memory.stat", "hierarchical_memory_limit 2147483648\n");
  tree.Expect(2, 1);
}

}  // namespace
}  // namespace skein::test
