#include "addon/field_reader.h"

#include <cmath>

#include "core/error.h"

namespace skein {
namespace {

constexpr int64_t kMaxSafeInteger = (int64_t{1} << 53) - 1;

template <typename Array>
Array Typed(const Napi::Value& value, napi_typedarray_type type, const std::string& path,
            const char* expected) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type) {
    RefuseField(path, expected);
  }
  return value.As<Array>();
}

}  // namespace

void RefuseField(const std::string& path, const char* expected) {
  throw Error("INVALID_REQUEST", path + ": expected " + expected);
}

int64_t ToInteger(const Napi::Value& value, const std::string& path, int64_t low, int64_t high) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
  if (!(number >= static_cast<double>(low) && number <= static_cast<double>(high)) ||
      number != std::floor(number)) {
    RefuseField(path, Format("an integer in %lld..%lld", static_cast<long long>(low),
                             static_cast<long long>(high))
                          .c_str());
  }
  return static_cast<int64_t>(number);
}

std::string ToText(const Napi::Value& value, const std::string& path) {
  if (!value.IsString()) RefuseField(path, "a string");
  return value.As<Napi::String>().Utf8Value();
}

std::vector<int32_t> ToIndices(const Napi::Value& value, const std::string& path) {
  const auto array = Typed<Napi::Uint32Array>(value, napi_uint32_array, path, "a Uint32Array");
  std::vector<int32_t> indices(array.ElementLength());
  for (size_t i = 0; i < indices.size(); ++i) {
    const uint32_t element = array[i];
    if (element > INT32_MAX) RefuseField(path, "elements below 2^31");
    indices[i] = static_cast<int32_t>(element);
  }
  return indices;
}

std::vector<uint8_t> ToBytes(const Napi::Value& value, const std::string& path) {
  const auto array = Typed<Napi::Uint8Array>(value, napi_uint8_array, path, "a Uint8Array");
  return {array.Data(), array.Data() + array.ElementLength()};
}

Napi::Array ToArray(const Napi::Value& value, const std::string& path) {
  if (!value.IsArray()) RefuseField(path, "an array");
  return value.As<Napi::Array>();
}

Napi::Function ToFunction(const Napi::Value& value, const std::string& path) {
  if (!value.IsFunction()) RefuseField(path, "a function");
  return value.As<Napi::Function>();
}

FieldReader::FieldReader(const Napi::Value& value, std::string path) : path_(std::move(path)) {
  if (!value.IsObject() || value.IsArray()) RefuseField(path_, "an object");
  object_ = value.As<Napi::Object>();
}

int64_t FieldReader::Count(const char* name) const { return Integer(name, 0, kMaxSafeInteger); }

int64_t FieldReader::Integer(const char* name, int64_t low, int64_t high) const {
  return ToInteger(Get(name), PathOf(name), low, high);
}

int32_t FieldReader::Index(const char* name) const {
  return static_cast<int32_t>(Integer(name, 0, INT32_MAX));
}

uint32_t FieldReader::Id(const char* name) const {
  return static_cast<uint32_t>(Integer(name, 0, UINT32_MAX));
}

double FieldReader::Number(const char* name) const {
  const Napi::Value value = Get(name);
  if (!value.IsNumber()) RefuseField(PathOf(name), "a number");
  return value.As<Napi::Number>().DoubleValue();
}

bool FieldReader::Flag(const char* name) const {
  const Napi::Value value = Get(name);
  if (!value.IsBoolean()) RefuseField(PathOf(name), "a boolean");
  return value.As<Napi::Boolean>().Value();
}

uint64_t FieldReader::BigUnsigned(const char* name) const {
  const Napi::Value value = Get(name);
  bool is_lossless = false;
  uint64_t number = 0;
  if (value.IsBigInt()) number = value.As<Napi::BigInt>().Uint64Value(&is_lossless);
  if (!is_lossless) RefuseField(PathOf(name), "a bigint in 0..2^64-1");
  return number;
}

std::string FieldReader::Text(const char* name) const { return ToText(Get(name), PathOf(name)); }

std::vector<int32_t> FieldReader::Indices(const char* name) const {
  return ToIndices(Get(name), PathOf(name));
}

std::vector<uint32_t> FieldReader::Ids(const char* name) const {
  const auto array =
      Typed<Napi::Uint32Array>(Get(name), napi_uint32_array, PathOf(name), "a Uint32Array");
  return {array.Data(), array.Data() + array.ElementLength()};
}

std::vector<float> FieldReader::Floats(const char* name) const {
  const auto array =
      Typed<Napi::Float32Array>(Get(name), napi_float32_array, PathOf(name), "a Float32Array");
  return {array.Data(), array.Data() + array.ElementLength()};
}

std::vector<uint64_t> FieldReader::BigUnsigneds(const char* name) const {
  const auto array = Typed<Napi::BigUint64Array>(Get(name), napi_biguint64_array, PathOf(name),
                                                 "a BigUint64Array");
  return {array.Data(), array.Data() + array.ElementLength()};
}

FieldReader FieldReader::Object(const char* name) const {
  return FieldReader(Get(name), PathOf(name));
}

bool FieldReader::IsNull(const char* name) const { return Get(name).IsNull(); }

size_t FieldReader::Word(const char* name, std::initializer_list<const char*> words) const {
  const Napi::Value value = Get(name);
  std::string all;
  size_t index = 0;
  for (const char* word : words) {
    if (value.IsString() && value.As<Napi::String>().Utf8Value() == word) return index;
    all += (index == 0 ? "" : " or ") + std::string(word);
    ++index;
  }
  RefuseField(PathOf(name), all.c_str());
}

}  // namespace skein
