// The address that ranks of an NCCL group exchange; it needs neither NCCL nor a GPU.
#include "collective/nccl_address.h"

#include <gtest/gtest.h>

#include <functional>

#include "core/error.h"

namespace skein {
namespace {

std::string CodeOf(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  return "none";
}

TEST(NcclAddressTest, ComesBackAsItWas) {
  // A unique id is any bytes, newlines and zeros among them.
  const std::string id("\n\0id\n\n\xff", 7);
  const NcclAddress address{"host a", "0000:3B:00.0", id};
  const NcclAddress read = ParseNcclAddress(SerializeNcclAddress(address), 0);
  EXPECT_EQ(read.host, address.host);
  EXPECT_EQ(read.pci_bus_id, address.pci_bus_id);
  EXPECT_EQ(read.unique_id, id);
}

TEST(NcclAddressTest, RefusesWhatIsNone) {
  const std::string good = SerializeNcclAddress({"host", "bus", ""});
  for (const std::string& text :
       {std::string(), std::string("skein-gloo-1\nhost\nbus\n"), good.substr(0, good.size() - 1),
        std::string("skein-nccl-1\n") + std::string(4096, 'h') + "\nbus\n"}) {
    EXPECT_EQ(CodeOf([&] { ParseNcclAddress(text, 1); }), "COLLECTIVE_ERROR") << text;
  }
}

TEST(NcclAddressTest, OneGpuServesOneRankOfAHost) {
  const NcclAddress a{"host", "0000:01:00.0", ""}, b{"host", "0000:02:00.0", ""},
      elsewhere{"other host", "0000:01:00.0", ""};
  EXPECT_EQ(CodeOf([&] { CheckDistinctDevices({a, b, elsewhere}); }), "none");
  try {
    CheckDistinctDevices({a, b, a});
    FAIL() << "two ranks on one GPU were accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "INVALID_REQUEST");
    EXPECT_NE(std::string(error.what()).find("ranks 0 and 2 both use the GPU at 0000:01:00.0"),
              std::string::npos)
        << error.what();
  }
  EXPECT_TRUE(AreOnOneHost({a, b}));
  EXPECT_FALSE(AreOnOneHost({a, elsewhere}));
}

TEST(NcclAddressTest, AClaimedHostIsTheHost) {
  setenv("NCCL_HOSTID", "rank-3\nof 4", 1);
  EXPECT_EQ(NcclHost(), "rank-3 of 4");
  unsetenv("NCCL_HOSTID");
  EXPECT_FALSE(NcclHost().empty());
}

}  // namespace
}  // namespace skein
