// The one native thread of an engine: takes commands and step plans from a bounded queue, in order,
// and starts the next without going back to JavaScript, on a device even before the step in front
// has ended. Knows nothing of Node: results wait in a bounded list, and `wake` says that there are
// some.
//
// Owner's side (one thread): all public functions but ReportProgress. Abort, progress and backend
// only before Stop: the engine goes with its thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "engine/engine.h"

namespace skein {

struct Failure {
  std::string code, message;
};

// Of the exception in flight; call inside a catch block.
Failure CurrentFailure();

using CompletionValue = std::variant<std::monostate, LoadResult, std::string, int64_t, StepResult,
                                     std::vector<float>, MemoryUse>;

struct Completion {
  static constexpr uint64_t kStep = 0;

  uint64_t ticket = kStep;
  std::optional<Failure> failure;
  CompletionValue value;
};

class EngineThread {
 public:
  using Command = std::function<CompletionValue(Engine&)>;

  // Plans that may wait behind the running one.
  static constexpr size_t kMaxQueuedSteps = 8;
  // While a step runs pixels may come for every tile slot, one tile a picture.
  static constexpr size_t kMaxQueuedCommands = 512;
  static constexpr size_t kMaxCompletions = 32;

  // Starts the thread and makes the engine on it; throws what that throws. `wake` is called on the
  // engine's thread and must not block.
  EngineThread(const BackendOptions& options, std::function<void()> wake);
  ~EngineThread();
  EngineThread(const EngineThread&) = delete;
  EngineThread& operator=(const EngineThread&) = delete;

  // False when the queue is full. Every accepted plan gets one completion, in order.
  bool SubmitStep(StepPlan plan);
  // The ticket of the completion to come. Throws QUEUE_FULL.
  uint64_t Submit(Command command);
  std::vector<Completion> TakeCompletions();
  // For commands: the newest (done, total) goes to the owner by TakeProgress. Throws ABORTED once
  // stopping.
  void ReportProgress(int64_t done, int64_t total);
  std::optional<std::pair<int64_t, int64_t>> TakeProgress();

  void Abort(uint64_t group_epoch) { engine_->Abort(group_epoch); }
  Progress progress() const { return engine_->progress(); }
  Backend& backend() { return *backend_; }

  // Aborts what runs and fails what waits with ENGINE_CLOSED. Idempotent; does not wait.
  void Stop();
  // True once the thread has run its last command: Join returns at once.
  bool has_stopped() const;
  void Join();

 private:
  // A command, or a step.
  struct Item {
    uint64_t ticket = Completion::kStep;
    Command command;
    StepPlan plan;
  };
  enum class Next : uint8_t { kStop, kItem, kFinishStep };

  void Run(const BackendOptions& options);
  bool is_stopping() const;
  void Loop();
  // What to do now. While a step is under way: the one that may follow it, once that has come, or
  // else its end.
  Next Await(Item* item);
  bool MayFollow(const Item& item) const {
    return item.ticket == Completion::kStep && engine_->MayFollow(item.plan);
  }
  void Pop(Item* item);
  Completion Execute(Item& item);
  void StartStep(const StepPlan& plan);
  void FinishStep();
  void StepFailed(uint64_t group_epoch, const Failure& failure);
  void DeliverStep(std::optional<Failure> failure, CompletionValue value = {});
  void Deliver(Completion completion);

  const std::function<void()> wake_;
  mutable std::mutex mutex_;
  std::condition_variable work_, space_, state_;
  std::deque<Item> queue_;
  std::deque<Completion> completions_;
  std::optional<std::pair<int64_t, int64_t>> progress_;
  size_t queued_steps_ = 0;
  uint64_t next_ticket_ = 1;
  bool has_started_ = false, is_stopping_ = false, has_stopped_ = false;
  std::optional<Failure> start_failure_;
  // Steps of this epoch fail: one before them did. Engine thread only.
  uint64_t failed_epoch_ = 0;
  // Of the steps that are under way.
  std::deque<uint64_t> started_epochs_;
  std::unique_ptr<Engine> engine_;
  Backend* backend_ = nullptr;
  std::thread thread_;
};

}  // namespace skein
