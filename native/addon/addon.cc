// The addon's exports. Keeps its constructor in the environment's instance data: no globals, so
// that worker threads work.
#include <napi.h>

#include "addon/convert.h"
#include "addon/engine_wrap.h"
#include "addon/field_reader.h"
#include "addon/js_errors.h"

namespace {

// Raised whenever common/native/native.ts changes.
constexpr int kInterfaceVersion = 12;

struct AddonData {
  Napi::FunctionReference engine_constructor;
};

Napi::Value CreateEngine(const Napi::CallbackInfo& info) {
  const auto* data = info.Env().GetInstanceData<AddonData>();
  return data->engine_constructor.New({info[0]});
}

// Arithmetic over a plan: on the caller's thread, without a device.
Napi::Value EstimateMemory(const Napi::CallbackInfo& info) {
  return skein::Guarded(info.Env(), [&] {
    const skein::LoadPlan plan = skein::ToLoadPlan(info[0]);
    const std::string kind = skein::ToText(info[1], "kind");
    return skein::ToJs(info.Env(), skein::EstimateMemory(plan, kind));
  });
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  auto data = std::make_unique<AddonData>();
  data->engine_constructor = Napi::Persistent(skein::EngineWrap::Define(env));
  env.SetInstanceData(data.release());
  exports.Set("createEngine", Napi::Function::New(env, CreateEngine, "createEngine"));
  exports.Set("estimateMemory", Napi::Function::New(env, EstimateMemory, "estimateMemory"));
  exports.Set("deviceCollectives", Napi::String::New(env, skein::DescribeDeviceCollectives()));
  exports.Set("interfaceVersion", Napi::Number::New(env, kInterfaceVersion));
  return exports;
}

}  // namespace

NODE_API_MODULE(skein, Init)
