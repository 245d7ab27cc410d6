#include "core/error.h"

#include <cstdarg>
#include <vector>

namespace skein {

std::string Format(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  va_list again;
  va_copy(again, arguments);
  const int size = std::vsnprintf(nullptr, 0, format, arguments);
  va_end(arguments);
  std::string text(size < 0 ? 0 : static_cast<size_t>(size), '\0');
  if (size > 0) std::vsnprintf(text.data(), text.size() + 1, format, again);
  va_end(again);
  return text;
}

void CheckFailed(const char* condition, const char* file, int line, const std::string& message) {
  throw Error("INTERNAL",
              Format("%s:%d: check failed: %s %s", file, line, condition, message.c_str()));
}

}  // namespace skein
