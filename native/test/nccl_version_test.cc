// Which versions of NCCL get symmetric windows.
#include "collective/nccl_version.h"

#include <gtest/gtest.h>

namespace skein {
namespace {

TEST(NcclVersion, WindowsOnlyWhereTheirKernelsWait) {
  // 2.18 to 2.26 have none.
  for (const int version : {21801, 21903, 22005, 22105, 22203, 22304, 22403, 22501, 22606}) {
    EXPECT_FALSE(ChooseNcclWindows(version, nullptr).are_used) << version;
    EXPECT_FALSE(ChooseNcclWindows(version, "1").are_used) << version;
  }
  for (const int version : {22703, 22705, 22706, 22707, 23007, 23101, 23202}) {
    EXPECT_TRUE(ChooseNcclWindows(version, nullptr).are_used) << version;
    EXPECT_FALSE(ChooseNcclWindows(version, "0").are_used) << version;
  }
  for (const int version : {22803, 22807, 22809, 22902, 22903, 22907, 23003, 23004}) {
    EXPECT_FALSE(ChooseNcclWindows(version, nullptr).are_used) << version;
    EXPECT_TRUE(ChooseNcclWindows(version, "1").are_used) << version;
    EXPECT_FALSE(ChooseNcclWindows(version, "0").are_used) << version;
    EXPECT_NE(ChooseNcclWindows(version, nullptr).why.find("without waiting"), std::string::npos);
  }
}

TEST(NcclVersion, ReadsAsNcclWritesIt) {
  EXPECT_EQ(NcclVersionText(22809), "2.28.9");
  EXPECT_EQ(NcclVersionText(21801), "2.18.1");
  EXPECT_EQ(NcclVersionText(23200), "2.32.0");
}

}  // namespace
}  // namespace skein
