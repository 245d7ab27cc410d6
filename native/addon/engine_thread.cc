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
  // Here, since giving back many gigabytes takes a while.
  engine_.reset();
  {
    const std::lock_guard lock(mutex_);
    has_stopped_ = true;
  }
  wake_();
}

void EngineThread::Loop() {
  while (true) {
    Item item;
    switch (Await(&item)) {
      case Next::kStop:
        return;
      case Next::kFinishStep:
        FinishStep();
        break;
      case Next::kItem:
        if (is_stopping()) {
          Deliver({item.ticket, Failure{"ENGINE_CLOSED", "the engine was closed"}, {}});
        } else if (item.ticket == Completion::kStep) {
          StartStep(item.plan);
        } else {
          Deliver(Execute(item));
        }
        break;
    }
  }
}

EngineThread::Next EngineThread::Await(Item* item) {
  std::unique_lock lock(mutex_);
  if (started_epochs_.empty()) {
    work_.wait(lock, [this] { return is_stopping_ || !queue_.empty(); });
    if (queue_.empty()) return Next::kStop;
    Pop(item);
    return Next::kItem;
  }
  // Looked at all the time, as one who waits for a device does: what may follow must be there
  // before the step has ended.
  while (!is_stopping_ && started_epochs_.size() == 1) {
    if (!queue_.empty()) {
      if (!MayFollow(queue_.front())) break;
      Pop(item);
      return Next::kItem;
    }
    lock.unlock();
    const bool is_done = engine_->IsStepDone();
    if (!is_done) std::this_thread::yield();
    lock.lock();
    if (is_done && queue_.empty()) break;
  }
  return Next::kFinishStep;
}

void EngineThread::Pop(Item* item) {
  *item = std::move(queue_.front());
  queue_.pop_front();
  if (item->ticket == Completion::kStep) --queued_steps_;
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

void EngineThread::StartStep(const StepPlan& plan) {
  try {
    if (plan.group_epoch == failed_epoch_) {
      throw Error("ABORTED", "an earlier step of this group epoch failed");
    }
    engine_->StartStep(plan);
    started_epochs_.push_back(plan.group_epoch);
  } catch (...) {
    const Failure failure = CurrentFailure();
    // The one in front is told of first.
    if (!started_epochs_.empty()) FinishStep();
    StepFailed(plan.group_epoch, failure);
    DeliverStep(failure);
  }
}

void EngineThread::FinishStep() {
  const uint64_t group_epoch = started_epochs_.front();
  started_epochs_.pop_front();
  try {
    StepResult result = engine_->FinishStep();
    DeliverStep(std::nullopt, std::move(result));
  } catch (...) {
    const Failure failure = CurrentFailure();
    StepFailed(group_epoch, failure);
    DeliverStep(failure);
    engine_->DropSteps();
    for (; !started_epochs_.empty(); started_epochs_.pop_front()) {
      DeliverStep(Failure{"ABORTED", "an earlier step of this group epoch failed"});
    }
  }
}

void EngineThread::StepFailed(uint64_t group_epoch, const Failure& failure) {
  // A plan of another epoch says nothing about the present one.
  if (failure.code != "STALE_EPOCH" && failure.code != "NOT_READY") failed_epoch_ = group_epoch;
}

void EngineThread::DeliverStep(std::optional<Failure> failure, CompletionValue value) {
  Deliver({Completion::kStep, std::move(failure), std::move(value)});
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
  queue_.push_back({Completion::kStep, nullptr, std::move(plan)});
  work_.notify_one();
  return true;
}

uint64_t EngineThread::Submit(Command command) {
  const std::lock_guard lock(mutex_);
  if (queue_.size() - queued_steps_ >= kMaxQueuedCommands) {
    throw Error("QUEUE_FULL",
                Format("the engine's queue holds %zu commands already", kMaxQueuedCommands));
  }
  queue_.push_back({next_ticket_, std::move(command), {}});
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
  const std::lock_guard lock(mutex_);
  if (is_stopping_) return;
  is_stopping_ = true;
  // Under the lock: the thread drops the engine only once it has seen the flag.
  if (engine_ != nullptr) engine_->Abort(0);
  work_.notify_all();
  space_.notify_all();
}

bool EngineThread::is_stopping() const {
  const std::lock_guard lock(mutex_);
  return is_stopping_;
}

bool EngineThread::has_stopped() const {
  const std::lock_guard lock(mutex_);
  return has_stopped_;
}

void EngineThread::Join() {
  if (thread_.joinable()) thread_.join();
}

}  // namespace skein
