// What the coordinator's encoding threads load: pictures resized into tiles, and turned. Calls take
// as long as their work does; nothing is kept between them, so that any thread may load it.
#include <napi.h>

#include <string>

#include "picture/resize.h"

namespace {

using skein::picture::RgbView;
using skein::picture::TileGrid;

// Raised whenever coordinator/vision/picture-addon.ts changes.
constexpr int kInterfaceVersion = 1;

// Sides that the coordinator accepts are smaller; products of these stay within 64 bits.
constexpr int64_t kMaxSide = 1 << 20;
constexpr int64_t kMaxThreads = 256;

[[noreturn]] void Refuse(const Napi::Env& env, const std::string& what) {
  throw Napi::TypeError::New(env, what);
}

int64_t Number(const Napi::Value& value, const char* name, int64_t max) {
  if (!value.IsNumber()) Refuse(value.Env(), std::string(name) + ": a number is needed");
  const double number = value.As<Napi::Number>().DoubleValue();
  if (!(number >= 1 && number <= static_cast<double>(max)) ||
      number != static_cast<double>(static_cast<int64_t>(number)))
    Refuse(value.Env(),
           std::string(name) + ": a whole number from 1 to " + std::to_string(max) + " is needed");
  return static_cast<int64_t>(number);
}

uint8_t* Bytes(const Napi::Value& value, const char* name, int64_t num_bytes) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
    Refuse(value.Env(), std::string(name) + ": a Uint8Array is needed");
  auto array = value.As<Napi::Uint8Array>();
  if (static_cast<int64_t>(array.ByteLength()) != num_bytes)
    Refuse(value.Env(), std::string(name) + ": has " + std::to_string(array.ByteLength()) +
                            " bytes; " + std::to_string(num_bytes) + " are needed");
  return array.Data();
}

RgbView Picture(const Napi::CallbackInfo& info) {
  const int64_t width = Number(info[1], "width", kMaxSide),
                height = Number(info[2], "height", kMaxSide);
  return {Bytes(info[0], "pixels", width * height * 3), width, height};
}

// resizeIntoTiles(pixels, width, height, tiles, columns, rows, tileWidth, tileHeight, numThreads)
void ResizeIntoTiles(const Napi::CallbackInfo& info) {
  const RgbView source = Picture(info);
  TileGrid target = {nullptr, Number(info[4], "columns", kMaxSide),
                     Number(info[5], "rows", kMaxSide), Number(info[6], "tileWidth", kMaxSide),
                     Number(info[7], "tileHeight", kMaxSide)};
  if (target.width() > kMaxSide || target.height() > kMaxSide)
    Refuse(info.Env(), "tiles: their sides add up to more than " + std::to_string(kMaxSide));
  target.data = Bytes(info[3], "tiles", target.num_bytes());
  const auto num_threads = static_cast<int>(Number(info[8], "numThreads", kMaxThreads));
  try {
    skein::picture::ResizeIntoTiles(source, target, num_threads);
  } catch (const std::bad_alloc&) {
    throw Napi::Error::New(info.Env(), "no memory to resize a picture");
  }
}

// turnUpright(pixels, width, height, orientation, turned, numThreads)
void TurnUpright(const Napi::CallbackInfo& info) {
  const RgbView source = Picture(info);
  const auto orientation = static_cast<int>(Number(info[3], "orientation", 8));
  uint8_t* turned = Bytes(info[4], "turned", source.width * source.height * 3);
  const auto num_threads = static_cast<int>(Number(info[5], "numThreads", kMaxThreads));
  skein::picture::TurnUpright(source, orientation, num_threads, turned);
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("interfaceVersion", Napi::Number::New(env, kInterfaceVersion));
  exports.Set("resizeIntoTiles", Napi::Function::New(env, ResizeIntoTiles, "resizeIntoTiles"));
  exports.Set("turnUpright", Napi::Function::New(env, TurnUpright, "turnUpright"));
  return exports;
}

}  // namespace

NODE_API_MODULE(skein_picture, Init)
