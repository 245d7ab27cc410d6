// The addresses that ranks hand out to each other, as any bytes.
#include <string>

#include "collective/gloo_address.h"
#include "collective/nccl_address.h"
#include "core/error.h"
#include "fuzz/fuzz_input.h"
#include "fuzz/targets.h"

namespace skein::fuzz {

// What is understood is written again and understood the same.
void RunRankAddress(const uint8_t* data, size_t size) {
  FuzzInput in(data, size);
  const bool is_gloo = in.Flag();
  const auto rank = static_cast<int>(in.In(0, 3));
  const int world_size = 4;
  const uint64_t epoch = in.In(0, 3);
  const std::string text(reinterpret_cast<const char*>(in.rest()), in.rest_size());
  try {
    if (is_gloo) {
      const GlooAddress address = ParseGlooAddress(text, epoch, rank, world_size);
      FUZZ_CHECK(static_cast<int>(address.by_peer.size()) == world_size);
      const std::string again = SerializeGlooAddress(address);
      FUZZ_CHECK(ParseGlooAddress(again, epoch, rank, world_size).by_peer == address.by_peer);
    } else {
      const NcclAddress address = ParseNcclAddress(text, rank);
      FUZZ_CHECK(SerializeNcclAddress(address) == text);
    }
  } catch (const Error& error) {
    FUZZ_CHECK(error.code() == "COLLECTIVE_ERROR");
  }
}

}  // namespace skein::fuzz
