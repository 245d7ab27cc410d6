// A device's stream of work, as the layers that know no device hand it on; what it is only its back
// end knows (cuda/stream.h). The CPU has none: null.
#pragma once

namespace skein {

class DeviceStream {
 public:
  DeviceStream(const DeviceStream&) = delete;
  DeviceStream& operator=(const DeviceStream&) = delete;

 protected:
  DeviceStream() = default;
  ~DeviceStream() = default;
};

}  // namespace skein
