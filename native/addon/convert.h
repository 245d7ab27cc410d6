// Transfer objects of common/native/native.ts to and from those of engine.h. Copies everything: no
// JavaScript handle outlives a call.
#pragma once

#include <napi.h>

#include "engine/engine.h"
#include "engine/memory_estimate.h"

namespace skein {

BackendOptions ToBackendOptions(const Napi::Value& value);
LoadPlan ToLoadPlan(const Napi::Value& value);
GroupOptions ToGroupOptions(const Napi::Value& value);
StepPlan ToStepPlan(const Napi::Value& value);

Napi::Object ToJs(Napi::Env env, const LoadResult& result);
Napi::Object ToJs(Napi::Env env, const MemoryUse& use);
Napi::Object ToJs(Napi::Env env, const MemoryEstimate& estimate);
Napi::Object ToJs(Napi::Env env, const StepResult& result);
Napi::Object ToJs(Napi::Env env, const Progress& progress);
Napi::Object DescribeBackend(Napi::Env env, const Backend& backend);

}  // namespace skein
