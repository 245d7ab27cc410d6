// Failures as JavaScript errors: an Error whose `code` is one of the catalogue in common/errors.ts.
#pragma once

#include <napi.h>

#include <string>

#include "addon/engine_thread.h"

namespace skein {

inline Napi::Error ToJsError(Napi::Env env, const Failure& failure) {
  Napi::Error error = Napi::Error::New(env, failure.message);
  error.Value().As<Napi::Object>().Set("code", Napi::String::New(env, failure.code));
  return error;
}

// Runs `body`; native exceptions leave as JavaScript errors.
template <typename Body>
auto Guarded(Napi::Env env, const Body& body) -> decltype(body()) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw ToJsError(env, CurrentFailure());
  }
}

}  // namespace skein
