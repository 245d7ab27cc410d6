// Strict reading of JavaScript values: every field must be there with the right type and range, and
// the error names its path, e.g. "plan.newSequences[0].tokenIds: expected a Uint32Array".
#pragma once

#include <napi.h>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace skein {

// Throws Error(INVALID_REQUEST).
[[noreturn]] void RefuseField(const std::string& path, const char* expected);

// Values by themselves, for arguments.
int64_t ToInteger(const Napi::Value& value, const std::string& path, int64_t low, int64_t high);
std::string ToText(const Napi::Value& value, const std::string& path);
std::vector<int32_t> ToIndices(const Napi::Value& value, const std::string& path);
std::vector<uint8_t> ToBytes(const Napi::Value& value, const std::string& path);
Napi::Array ToArray(const Napi::Value& value, const std::string& path);
Napi::Function ToFunction(const Napi::Value& value, const std::string& path);

class FieldReader {
 public:
  FieldReader(const Napi::Value& value, std::string path);

  const std::string& path() const { return path_; }
  std::string PathOf(const char* name) const { return path_ + "." + name; }

  int64_t Count(const char* name) const;  // 0 .. 2^53 - 1
  int64_t Integer(const char* name, int64_t low, int64_t high) const;
  int32_t Index(const char* name) const;  // 0 .. 2^31 - 1
  uint32_t Id(const char* name) const;    // 0 .. 2^32 - 1
  double Number(const char* name) const;
  float Float(const char* name) const { return static_cast<float>(Number(name)); }
  bool Flag(const char* name) const;
  uint64_t BigUnsigned(const char* name) const;
  std::string Text(const char* name) const;
  std::vector<int32_t> Indices(const char* name) const;        // Uint32Array, each below 2^31
  std::vector<uint32_t> Ids(const char* name) const;           // Uint32Array
  std::vector<float> Floats(const char* name) const;           // Float32Array
  std::vector<uint64_t> BigUnsigneds(const char* name) const;  // BigUint64Array
  FieldReader Object(const char* name) const;
  bool IsNull(const char* name) const;
  // Position of the text in `words`.
  size_t Word(const char* name, std::initializer_list<const char*> words) const;

  // Reads an array of objects, each by `read`.
  template <typename T>
  std::vector<T> List(const char* name, T (*read)(const FieldReader&)) const {
    const Napi::Array array = ToArray(Get(name), PathOf(name));
    // Not reserved: a length says nothing about what is there.
    std::vector<T> list;
    for (uint32_t i = 0; i < array.Length(); ++i) {
      const Napi::HandleScope scope(array.Env());
      list.push_back(read(FieldReader(array.Get(i), PathOf(name) + "[" + std::to_string(i) + "]")));
    }
    return list;
  }

 private:
  Napi::Value Get(const char* name) const { return object_.Get(name); }

  Napi::Object object_;
  std::string path_;
};

}  // namespace skein
