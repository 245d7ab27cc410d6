#include "addon/engine_thread.h"

#include <new>
#include <utility>

#include "core/error.h"

namespace skein {

Failure CurrentFailure() {
  try {
    throw;
  } catch (const Error& error) {
    return {error.code(), error.what()};
  } catch (const std::bad_alloc&) {
    return {"DEVICE_OUT_OF_MEMORY", "an allocation failed"};
  } catch (const std::exception& error) {
    return {"INTERNAL", error.what()};
  } catch (...) {
    return {"INTERNAL", "an unknown exception"};
  }
}

EngineThread::EngineThread(const BackendOptions& options, std::function<void()> wake)
    : wake_(std::move(wake)) {
  thread_ = std::thread([this, options] { Run(options); });
  std::unique_lock lock(mutex_);
  state_.wait(lock, [this] { return has_started_; });
  if (!start_failure_) return;
  lock.unlock();
  thread_.join();
  throw Error(start_failure_->code, start_failure_->message);
}

EngineThread::~EngineThread() {
  Stop();
  Join();
}

void EngineThread::Run(const BackendOptions& options) {
  std::optional<Failure> failure;
  try {
    // On this thread, since a back end may bind thread pools or a device to the thread that uses
    // it.
    engine_ = std::make_unique<Engine>(options);
    backend_ = &engine_->backend();
  } catch (...) {
    failure = CurrentFailure();
  }
  {
    const std::lock_guard lock(mutex_);
    start_failure_ = failure;
    has_started_ = true;
    state_.notify_all();
  }
  if (failure) return;
  Loop();
  {
    const std::lock_guard lock(mutex_);
    has_stopped_ = true;
  }
  wake_();
}

void EngineThread::Loop() {
  while (true) {
    Item item;
    bool is_stopping = false;
    {
      std::unique_lock lock(mutex_);
      work_.wait(lock, [this] { return is_stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      is_stopping = is_stopping_;
      item = std::move(queue_.front());
      queue_.pop_front();
      if (item.ticket == Completion::kStep) --queued_steps_;
    }
    if (is_stopping) {
      Deliver({item.ticket, Failure{"ENGINE_CLOSED", "the engine was closed"}, {}});
    } else {
      Deliver(Execute(item));
    }
  }
}

Completion EngineThread::Execute(Item& item) {
  Completion completion;
  completion.ticket = item.ticket;
  try {
    completion.value = item.command(*engine_);
  } catch (...) {
    completion.failure = CurrentFailure();
  }
  return completion;
}

CompletionValue EngineThread::RunStep(const StepPlan& plan) {
  if (plan.group_epoch == failed_epoch_) {
    throw Error("ABORTED", "an earlier step of this group epoch failed");
  }
  try {
    return engine_->RunStep(plan);
  } catch (const Error& error) {
    // A plan of another epoch says nothing about the present one.
    if (error.code() != "STALE_EPOCH" && error.code() != "NOT_READY") {
      failed_epoch_ = plan.group_epoch;
    }
    throw;
  } catch (...) {
    failed_epoch_ = plan.group_epoch;
    throw;
  }
}

void EngineThread::Deliver(Completion completion) {
  {
    std::unique_lock lock(mutex_);
    space_.wait(lock, [this] { return is_stopping_ || completions_.size() < kMaxCompletions; });
    completions_.push_back(std::move(completion));
  }
  wake_();
}

bool EngineThread::SubmitStep(StepPlan plan) {
  const std::lock_guard lock(mutex_);
  if (queued_steps_ >= kMaxQueuedSteps) return false;
  ++queued_steps_;
  queue_.push_back({Completion::kStep, [this, plan = std::move(plan)](Engine&) -> CompletionValue {
                      return RunStep(plan);
                    }});
  work_.notify_one();
  return true;
}

uint64_t EngineThread::Submit(Command command) {
  const std::lock_guard lock(mutex_);
  if (queue_.size() - queued_steps_ >= kMaxQueuedCommands) {
    throw Error("QUEUE_FULL",
                Format("the engine's queue holds %zu commands already", kMaxQueuedCommands));
  }
  queue_.push_back({next_ticket_, std::move(command)});
  work_.notify_one();
  return next_ticket_++;
}

std::vector<Completion> EngineThread::TakeCompletions() {
  const std::lock_guard lock(mutex_);
  std::vector<Completion> taken(std::make_move_iterator(completions_.begin()),
                                std::make_move_iterator(completions_.end()));
  completions_.clear();
  space_.notify_one();
  return taken;
}

void EngineThread::ReportProgress(int64_t done, int64_t total) {
  {
    const std::lock_guard lock(mutex_);
    if (is_stopping_) throw Error("ABORTED", "the engine is closing");
    progress_ = {done, total};
  }
  wake_();
}

std::optional<std::pair<int64_t, int64_t>> EngineThread::TakeProgress() {
  const std::lock_guard lock(mutex_);
  return std::exchange(progress_, std::nullopt);
}

void EngineThread::Stop() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
    work_.notify_all();
    space_.notify_all();
  }
  if (engine_ != nullptr) engine_->Abort(0);
}

bool EngineThread::has_stopped() const {
  const std::lock_guard lock(mutex_);
  return has_stopped_;
}

void EngineThread::Join() {
  if (thread_.joinable()) thread_.join();
}

}  // namespace skein
