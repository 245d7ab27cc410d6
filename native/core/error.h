// The one error type of the native code. Thrown inside the library, converted at the addon's
// boundary (and at the top of every thread); no exception crosses either. `code` is one of the
// catalogue in common/errors.ts.
#pragma once

#include <cstdio>
#include <stdexcept>
#include <string>
#include <utility>

namespace skein {

class Error : public std::runtime_error {
 public:
  Error(std::string code, const std::string& message)
      : std::runtime_error(message), code_(std::move(code)) {}
  const std::string& code() const { return code_; }

 private:
  std::string code_;
};

// printf into a string; for error messages.
std::string Format(const char* format, ...) __attribute__((format(printf, 1, 2)));

[[noreturn]] void CheckFailed(const char* condition, const char* file, int line,
                              const std::string& message);

}  // namespace skein

// A broken invariant of our own code, not of the input: becomes INTERNAL.
#define SKEIN_CHECK(condition, ...)                                                          \
  do {                                                                                       \
    if (!(condition))                                                                        \
      ::skein::CheckFailed(#condition, __FILE__, __LINE__, ::skein::Format("" __VA_ARGS__)); \
  } while (0)
