// The JavaScript object over an EngineThread: promises, the step listener, and lifetime. All
// methods run on the thread of their environment; the engine's thread only ever calls Wake.
//
// While something is under way the object holds itself and the event loop; idle, it may be
// collected and the process may end.
#pragma once

#include <napi.h>

#include <map>
#include <memory>

#include "addon/engine_thread.h"

namespace skein {

class EngineWrap : public Napi::ObjectWrap<EngineWrap> {
 public:
  static Napi::Function Define(Napi::Env env);

  explicit EngineWrap(const Napi::CallbackInfo& info);
  ~EngineWrap() override;

 private:
  // Outlives the wrap: a queued wake-up may still run when it is gone.
  struct Link {
    EngineWrap* wrap = nullptr;
  };
  static void OnWake(Napi::Env env, Napi::Function, Link* link, void*);
  using WakeFunction = Napi::TypedThreadSafeFunction<Link, void, OnWake>;

  struct Pending {
    Napi::Promise::Deferred deferred;
    Napi::FunctionReference on_progress;  // empty unless loading
  };

  Napi::Value Describe(const Napi::CallbackInfo& info);
  Napi::Value Load(const Napi::CallbackInfo& info);
  Napi::Value PrepareGroup(const Napi::CallbackInfo& info);
  Napi::Value JoinGroup(const Napi::CallbackInfo& info);
  Napi::Value PutPixels(const Napi::CallbackInfo& info);
  Napi::Value GetMemoryUse(const Napi::CallbackInfo& info);
  Napi::Value Inspect(const Napi::CallbackInfo& info);
  void OnStep(const Napi::CallbackInfo& info);
  Napi::Value SubmitStep(const Napi::CallbackInfo& info);
  void Abort(const Napi::CallbackInfo& info);
  Napi::Value EndEpoch(const Napi::CallbackInfo& info);
  Napi::Value GetProgress(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);

  void CheckOpen() const;
  // Queues what `make` returns and answers with a promise; a failure to queue rejects it.
  Napi::Value Start(Napi::Env env, const std::function<EngineThread::Command(Pending&)>& make);
  void Drain(Napi::Env env);
  void Settle(Napi::Env env, Completion& completion);
  void SettleStep(Napi::Env env, Completion& completion);
  // Calls a listener; what it throws becomes an uncaught exception and does not stop the others.
  void CallListener(Napi::Env env, const Napi::Function& listener,
                    const std::vector<napi_value>& arguments);
  void Detach();
  void FinishClose(Napi::Env env);
  void AddActivity(Napi::Env env);
  void RemoveActivity(Napi::Env env);
  static void OnEnvironmentExit(void* wrap);

  Link* link_ = nullptr;
  WakeFunction wake_;
  std::unique_ptr<EngineThread> thread_;
  std::map<uint64_t, Pending> pending_;
  std::vector<Napi::Promise::Deferred> closing_;
  int64_t num_active_ = 0;
  bool is_closed_ = false, is_joined_ = false, has_hook_ = false;
};

}  // namespace skein
