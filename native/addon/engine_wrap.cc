#include "addon/engine_wrap.h"

#include "addon/convert.h"
#include "addon/field_reader.h"
#include "addon/js_errors.h"
#include "core/error.h"

namespace skein {
namespace {

constexpr int64_t kMaxSafeInteger = (int64_t{1} << 53) - 1;

// The step listener is a property of the object, not a reference held here: it usually refers to
// the object itself, and only a cycle that the collector can see can be collected.
constexpr char kListenerName[] = "stepListener";
constexpr auto kHiddenProperty =
    static_cast<napi_property_attributes>(napi_writable | napi_configurable);

Napi::Value ToJsValue(Napi::Env env, const CompletionValue& value) {
  if (const auto* result = std::get_if<LoadResult>(&value)) return ToJs(env, *result);
  if (const auto* use = std::get_if<MemoryUse>(&value)) return ToJs(env, *use);
  if (const auto* bytes = std::get_if<int64_t>(&value)) {
    return Napi::Number::New(env, static_cast<double>(*bytes));
  }
  if (const auto* address = std::get_if<std::string>(&value)) {
    Napi::Uint8Array array = Napi::Uint8Array::New(env, address->size());
    std::copy(address->begin(), address->end(), array.Data());
    return array;
  }
  if (const auto* values = std::get_if<std::vector<float>>(&value)) {
    Napi::Float32Array array = Napi::Float32Array::New(env, values->size());
    std::copy(values->begin(), values->end(), array.Data());
    return array;
  }
  return env.Undefined();
}

uint64_t ToEpoch(const Napi::Value& value) {
  return static_cast<uint64_t>(ToInteger(value, "groupEpoch", 0, kMaxSafeInteger));
}

}  // namespace

Napi::Function EngineWrap::Define(Napi::Env env) {
  return DefineClass(
      env, "NativeEngine",
      {InstanceMethod("describe", &EngineWrap::Describe), InstanceMethod("load", &EngineWrap::Load),
       InstanceMethod("prepareGroup", &EngineWrap::PrepareGroup),
       InstanceMethod("joinGroup", &EngineWrap::JoinGroup),
       InstanceMethod("putPixels", &EngineWrap::PutPixels),
       InstanceMethod("memoryUse", &EngineWrap::GetMemoryUse),
       InstanceMethod("inspect", &EngineWrap::Inspect),
       InstanceMethod("onStep", &EngineWrap::OnStep),
       InstanceMethod("submitStep", &EngineWrap::SubmitStep),
       InstanceMethod("abort", &EngineWrap::Abort),
       InstanceMethod("endEpoch", &EngineWrap::EndEpoch),
       InstanceMethod("progress", &EngineWrap::GetProgress),
       InstanceMethod("close", &EngineWrap::Close)});
}

EngineWrap::EngineWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<EngineWrap>(info) {
  const Napi::Env env = info.Env();
  Guarded(env, [&] {
    const BackendOptions options = ToBackendOptions(info[0]);
    link_ = new Link{this};
    // One wake-up may wait: it empties the whole list of completions.
    wake_ = WakeFunction::New(env, "skein engine", 1, 1, link_,
                              [](Napi::Env, void*, Link* link) { delete link; });
    wake_.Unref(env);
    try {
      // A full queue means that a wake-up is on its way already.
      thread_ = std::make_unique<EngineThread>(options,
                                               [wake = wake_] { wake.NonBlockingCall(nullptr); });
    } catch (...) {
      link_->wrap = nullptr;
      wake_.Release();
      throw;
    }
    napi_add_env_cleanup_hook(env, &EngineWrap::OnEnvironmentExit, this);
    has_hook_ = true;
  });
}

// Nothing is under way here, or the environment is ending.
EngineWrap::~EngineWrap() {
  if (thread_ == nullptr) return;
  if (has_hook_) napi_remove_env_cleanup_hook(Env(), &EngineWrap::OnEnvironmentExit, this);
  Detach();
  thread_->Stop();
  thread_->Join();
  if (!is_joined_) wake_.Release();
}

void EngineWrap::OnEnvironmentExit(void* wrap) {
  auto* self = static_cast<EngineWrap*>(wrap);
  self->has_hook_ = false;
  if (self->is_joined_) return;
  self->is_closed_ = true;
  self->is_joined_ = true;
  self->Detach();
  self->thread_->Stop();
  self->thread_->Join();
  self->wake_.Abort();
}

// Wake-ups that still wait find nobody. The link itself dies with the thread-safe function.
void EngineWrap::Detach() {
  if (link_ != nullptr) link_->wrap = nullptr;
  link_ = nullptr;
}

void EngineWrap::CheckOpen() const {
  if (is_closed_) throw Error("ENGINE_CLOSED", "the engine was closed");
}

void EngineWrap::AddActivity(Napi::Env env) {
  if (num_active_++ > 0) return;
  Ref();
  wake_.Ref(env);
}

void EngineWrap::RemoveActivity(Napi::Env env) {
  if (--num_active_ > 0) return;
  wake_.Unref(env);
  Unref();
}

Napi::Value EngineWrap::Start(Napi::Env env,
                              const std::function<EngineThread::Command(Pending&)>& make) {
  Pending pending{Napi::Promise::Deferred::New(env), {}};
  const Napi::Promise promise = pending.deferred.Promise();
  try {
    CheckOpen();
    EngineThread::Command command = make(pending);
    // Getters of what was read may have closed it.
    CheckOpen();
    const uint64_t ticket = thread_->Submit(std::move(command));
    pending_.emplace(ticket, std::move(pending));
    AddActivity(env);
  } catch (const Napi::Error& error) {
    pending.deferred.Reject(error.Value());
  } catch (...) {
    pending.deferred.Reject(ToJsError(env, CurrentFailure()).Value());
  }
  return promise;
}

Napi::Value EngineWrap::Describe(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    CheckOpen();
    return DescribeBackend(info.Env(), thread_->backend());
  });
}

Napi::Value EngineWrap::Load(const Napi::CallbackInfo& info) {
  return Start(info.Env(), [&](Pending& pending) -> EngineThread::Command {
    const auto plan = std::make_shared<LoadPlan>(ToLoadPlan(info[0]));
    pending.on_progress = Napi::Persistent(ToFunction(info[1], "onProgress"));
    return [plan, thread = thread_.get()](Engine& engine) -> CompletionValue {
      return engine.Load(*plan, [thread](int64_t loaded, int64_t total) {
        thread->ReportProgress(loaded, total);
      });
    };
  });
}

Napi::Value EngineWrap::PrepareGroup(const Napi::CallbackInfo& info) {
  return Start(info.Env(), [&](Pending&) -> EngineThread::Command {
    return [options = ToGroupOptions(info[0])](Engine& engine) -> CompletionValue {
      return engine.PrepareGroup(options);
    };
  });
}

Napi::Value EngineWrap::JoinGroup(const Napi::CallbackInfo& info) {
  return Start(info.Env(), [&](Pending&) -> EngineThread::Command {
    const uint64_t epoch = ToEpoch(info[0]);
    const Napi::Array array = ToArray(info[1], "addresses");
    std::vector<std::string> addresses;
    for (uint32_t i = 0; i < array.Length(); ++i) {
      const std::vector<uint8_t> bytes =
          ToBytes(array.Get(i), "addresses[" + std::to_string(i) + "]");
      addresses.emplace_back(bytes.begin(), bytes.end());
    }
    const int64_t num_kv_blocks = ToInteger(info[2], "numKvBlocks", 1, INT32_MAX);
    const auto timeout_ms = static_cast<int>(ToInteger(info[3], "timeoutMs", 1, INT32_MAX));
    return [=](Engine& engine) -> CompletionValue {
      return engine.JoinGroup(epoch, addresses, num_kv_blocks, timeout_ms);
    };
  });
}

Napi::Value EngineWrap::PutPixels(const Napi::CallbackInfo& info) {
  return Start(info.Env(), [&](Pending&) -> EngineThread::Command {
    const uint64_t epoch = ToEpoch(info[0]);
    const auto id = static_cast<uint32_t>(ToInteger(info[1], "pictureId", 0, UINT32_MAX));
    std::vector<int32_t> slots = ToIndices(info[2], "tileSlots");
    const auto pixels = std::make_shared<std::vector<uint8_t>>(ToBytes(info[3], "pixels"));
    return [=, slots = std::move(slots)](Engine& engine) -> CompletionValue {
      engine.PutPixels(epoch, id, slots, std::move(*pixels));
      return std::monostate();
    };
  });
}

Napi::Value EngineWrap::GetMemoryUse(const Napi::CallbackInfo& info) {
  return Start(info.Env(), [&](Pending&) -> EngineThread::Command {
    return [](Engine& engine) -> CompletionValue { return engine.memory_use(); };
  });
}

Napi::Value EngineWrap::Inspect(const Napi::CallbackInfo& info) {
  return Start(info.Env(), [&](Pending&) -> EngineThread::Command {
    const std::string what = ToText(info[0], "what");
    if (what != "hidden" && what != "tiles") RefuseField("what", "hidden or tiles");
    const auto target = what == "hidden" ? InspectTarget::kHidden : InspectTarget::kTiles;
    const int64_t rows = ToInteger(info[1], "rows", 1, INT32_MAX);
    return [=](Engine& engine) -> CompletionValue { return engine.Inspect(target, rows); };
  });
}

Napi::Value EngineWrap::EndEpoch(const Napi::CallbackInfo& info) {
  return Start(info.Env(), [&](Pending&) -> EngineThread::Command {
    return [](Engine& engine) -> CompletionValue {
      engine.EndEpoch();
      return std::monostate();
    };
  });
}

void EngineWrap::OnStep(const Napi::CallbackInfo& info) {
  Guarded(info.Env(), [&] {
    CheckOpen();
    const Napi::Function listener = ToFunction(info[0], "listener");
    Value().DefineProperty(
        Napi::PropertyDescriptor::Value(kListenerName, listener, kHiddenProperty));
  });
}

Napi::Value EngineWrap::SubmitStep(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    CheckOpen();
    StepPlan plan = ToStepPlan(info[0]);
    CheckOpen();
    const bool is_queued = thread_->SubmitStep(std::move(plan));
    if (is_queued) AddActivity(info.Env());
    return Napi::Boolean::New(info.Env(), is_queued);
  });
}

void EngineWrap::Abort(const Napi::CallbackInfo& info) {
  Guarded(info.Env(), [&] {
    CheckOpen();
    thread_->Abort(ToEpoch(info[0]));
  });
}

Napi::Value EngineWrap::GetProgress(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    CheckOpen();
    return ToJs(info.Env(), thread_->progress());
  });
}

Napi::Value EngineWrap::Close(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto deferred = Napi::Promise::Deferred::New(env);
  if (is_joined_) {
    deferred.Resolve(env.Undefined());
    return deferred.Promise();
  }
  closing_.push_back(deferred);
  if (!is_closed_) {
    is_closed_ = true;
    AddActivity(env);
    thread_->Stop();
  }
  return deferred.Promise();
}

void EngineWrap::OnWake(Napi::Env env, Napi::Function, Link* link, void*) {
  if (static_cast<napi_env>(env) != nullptr && link->wrap != nullptr) link->wrap->Drain(env);
}

void EngineWrap::Drain(Napi::Env env) {
  const Napi::HandleScope scope(env);
  if (const auto progress = thread_->TakeProgress()) {
    for (auto& [ticket, pending] : pending_) {
      if (pending.on_progress.IsEmpty()) continue;
      CallListener(env, pending.on_progress.Value(),
                   {Napi::Number::New(env, static_cast<double>(progress->first)),
                    Napi::Number::New(env, static_cast<double>(progress->second))});
      break;
    }
  }
  // Asked before the completions are taken, so that none can come after them.
  const bool has_stopped = thread_->has_stopped();
  for (Completion& completion : thread_->TakeCompletions()) {
    const Napi::HandleScope inner(env);
    if (completion.ticket == Completion::kStep) {
      SettleStep(env, completion);
    } else {
      Settle(env, completion);
    }
  }
  if (has_stopped) FinishClose(env);
}

void EngineWrap::Settle(Napi::Env env, Completion& completion) {
  const auto found = pending_.find(completion.ticket);
  if (found == pending_.end()) return;
  const Napi::Promise::Deferred deferred = found->second.deferred;
  pending_.erase(found);
  if (completion.failure) {
    deferred.Reject(ToJsError(env, *completion.failure).Value());
  } else {
    deferred.Resolve(ToJsValue(env, completion.value));
  }
  RemoveActivity(env);
}

void EngineWrap::SettleStep(Napi::Env env, Completion& completion) {
  napi_value error = env.Null(), result = env.Null();
  if (completion.failure) {
    error = ToJsError(env, *completion.failure).Value();
  } else {
    result = ToJs(env, std::get<StepResult>(completion.value));
  }
  const Napi::Value listener = Value().Get(kListenerName);
  if (listener.IsFunction()) CallListener(env, listener.As<Napi::Function>(), {error, result});
  RemoveActivity(env);
}

void EngineWrap::CallListener(Napi::Env env, const Napi::Function& listener,
                              const std::vector<napi_value>& arguments) {
  try {
    listener.Call(arguments);
  } catch (const Napi::Error& error) {
    napi_fatal_exception(env, error.Value());
  }
}

void EngineWrap::FinishClose(Napi::Env env) {
  if (is_joined_) return;
  is_joined_ = true;
  Detach();
  thread_->Join();
  const std::vector<Napi::Promise::Deferred> closing = std::move(closing_);
  closing_.clear();
  for (const Napi::Promise::Deferred& deferred : closing) deferred.Resolve(env.Undefined());
  RemoveActivity(env);
  wake_.Release();
}

}  // namespace skein
