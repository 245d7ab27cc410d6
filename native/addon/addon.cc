// The addon's exports. Keeps its constructor in the environment's instance data: no globals, so
// that worker threads work.
#include <napi.h>

#include "addon/engine_wrap.h"

namespace {

// Raised whenever worker/native/native.ts changes.
constexpr int kInterfaceVersion = 10;

struct AddonData {
  Napi::FunctionReference engine_constructor;
};

Napi::Value CreateEngine(const Napi::CallbackInfo& info) {
  const auto* data = info.Env().GetInstanceData<AddonData>();
  return data->engine_constructor.New({info[0]});
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  auto data = std::make_unique<AddonData>();
  data->engine_constructor = Napi::Persistent(skein::EngineWrap::Define(env));
  env.SetInstanceData(data.release());
  exports.Set("createEngine", Napi::Function::New(env, CreateEngine, "createEngine"));
  exports.Set("deviceCollectives", Napi::String::New(env, skein::DescribeDeviceCollectives()));
  exports.Set("interfaceVersion", Napi::Number::New(env, kInterfaceVersion));
  return exports;
}

}  // namespace

NODE_API_MODULE(skein, Init)
