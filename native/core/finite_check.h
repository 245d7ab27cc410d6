// Whether stored weights are numbers at all: a NaN or an infinity in one tensor makes every answer
// nonsense, silently, so such a file is refused where it is read.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace skein {

// The first of `count` elements that is no finite number; `count` where all are. Integers always
// are.
int64_t FirstNonFinite(const void* data, DType type, int64_t count);

}  // namespace skein
