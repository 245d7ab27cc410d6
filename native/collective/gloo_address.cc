// Writing and reading of the address; what is read came over the network, so every length is
// checked.
#include "collective/gloo_address.h"

#include "core/error.h"

namespace skein {
namespace {

constexpr char kTag[] = "skein-gloo-1";
constexpr size_t kTagBytes = sizeof(kTag) - 1;
// Longer than any address of any version of Gloo.
constexpr size_t kMaxPeerAddress = 512;

void PutNumber(std::string& out, uint64_t value) {
  for (int i = 0; i < 8; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

std::string FoldZeros(const std::string& bytes) {
  std::string out;
  for (size_t i = 0; i < bytes.size();) {
    if (bytes[i] != 0) {
      out.push_back(bytes[i++]);
      continue;
    }
    size_t run = 0;
    while (i < bytes.size() && bytes[i] == 0 && run < 255) ++run, ++i;
    out.push_back(0);
    out.push_back(static_cast<char>(run));
  }
  return out;
}

class Reader {
 public:
  Reader(const std::string& text, int rank) : text_(text), rank_(rank) {}

  std::string Take(size_t size) {
    if (text_.size() - at_ < size) Refuse();
    at_ += size;
    return text_.substr(at_ - size, size);
  }
  uint8_t TakeByte() { return static_cast<uint8_t>(Take(1)[0]); }
  uint64_t TakeNumber() {
    uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value |= static_cast<uint64_t>(TakeByte()) << (8 * i);
    return value;
  }
  std::string TakeUnfolded(size_t folded_size) {
    const size_t end = at_ + folded_size;
    std::string out;
    while (at_ < end) {
      const auto byte = static_cast<char>(TakeByte());
      if (byte == 0) {
        out.append(TakeByte(), '\0');
      } else {
        out.push_back(byte);
      }
      if (out.size() > kMaxPeerAddress) Refuse();
    }
    return out;
  }
  bool is_at_end() const { return at_ == text_.size(); }
  [[noreturn]] void Refuse() const {
    throw Error("COLLECTIVE_ERROR", Format("address of rank %d is not a Gloo address", rank_));
  }

 private:
  const std::string& text_;
  int rank_;
  size_t at_ = 0;
};

}  // namespace

std::string SerializeGlooAddress(const GlooAddress& address) {
  std::string out(kTag);
  PutNumber(out, address.group_epoch);
  PutNumber(out, static_cast<uint64_t>(address.rank));
  PutNumber(out, address.by_peer.size());
  for (const std::string& peer : address.by_peer) {
    const std::string folded = FoldZeros(peer);
    PutNumber(out, folded.size());
    out += folded;
  }
  return out;
}

GlooAddress ParseGlooAddress(const std::string& text, uint64_t group_epoch, int rank,
                             int world_size) {
  Reader reader(text, rank);
  if (reader.Take(kTagBytes) != kTag) reader.Refuse();
  GlooAddress address;
  address.group_epoch = reader.TakeNumber();
  const uint64_t own_rank = reader.TakeNumber();
  const uint64_t peers = reader.TakeNumber();
  if (address.group_epoch != group_epoch || own_rank != static_cast<uint64_t>(rank) ||
      peers != static_cast<uint64_t>(world_size)) {
    throw Error("COLLECTIVE_ERROR",
                Format("address of rank %d is of another rank, world size or epoch", rank));
  }
  address.rank = rank;
  for (uint64_t peer = 0; peer < peers; ++peer) {
    const uint64_t size = reader.TakeNumber();
    if (size > 2 * kMaxPeerAddress) reader.Refuse();
    address.by_peer.push_back(reader.TakeUnfolded(size));
  }
  if (!reader.is_at_end()) reader.Refuse();
  return address;
}

}  // namespace skein
