// The opaque address of a rank of an NCCL group: which host and GPU it is, and, of rank 0, NCCL's
// unique id. Bytes in, bytes out.
#pragma once

#include <string>
#include <vector>

namespace skein {

struct NcclAddress {
  // What NCCL takes for a host: ranks that share a GPU claim one each (NCCL_HOSTID).
  std::string host;
  // "0000:3b:00.0".
  std::string pci_bus_id;
  // Rank 0 only.
  std::string unique_id;
};

// The host as NCCL will see it: NCCL_HOSTID, or else its name and the id of its boot.
std::string NcclHost();

std::string SerializeNcclAddress(const NcclAddress& address);
// Throws COLLECTIVE_ERROR for what is no such address.
NcclAddress ParseNcclAddress(const std::string& text, int rank);

// Throws INVALID_REQUEST where two ranks claim one GPU of one host: NCCL would refuse them less
// clearly.
void CheckDistinctDevices(const std::vector<NcclAddress>& addresses);
bool AreOnOneHost(const std::vector<NcclAddress>& addresses);

}  // namespace skein
