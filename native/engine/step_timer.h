// What a step took, by part: measured on the engine's thread, which on a CPU computes itself.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "collective/communicator.h"
#include "engine/engine.h"

namespace skein {

class StepTimer {
 public:
  using Clock = std::chrono::steady_clock;

  // The step begins.
  StepTimer() : start_(Clock::now()) {}

  void BeginSampling(Communicator& communicator) {
    wait_before_sampling_ns_ = communicator.TakeWaitNanoseconds();
    sampling_start_ = Clock::now();
  }

  // Everything is computed, and sampled where sampling has begun.
  void EndCompute(Communicator& communicator, StepResult* result) const {
    const int64_t wait_ns = communicator.TakeWaitNanoseconds();
    result->collective_ns = wait_before_sampling_ns_ + wait_ns;
    if (sampling_start_ == Clock::time_point{}) return;
    const int64_t sampling_ns = Nanoseconds(sampling_start_, Clock::now()) - wait_ns;
    result->sampling_ns = sampling_ns > 0 ? sampling_ns : 0;
  }

  // `previous_end`: of the step before in this epoch; the clock's epoch: there is none. A step that
  // was started before that one ended begins with its end.
  void End(Clock::time_point previous_end, StepResult* result) {
    end_ = Clock::now();
    result->step_ns = Nanoseconds(std::max(start_, previous_end), end_);
    if (previous_end != Clock::time_point{}) {
      result->plan_wait_ns = std::max<int64_t>(0, Nanoseconds(previous_end, start_));
    }
  }

  Clock::time_point end() const { return end_; }

 private:
  static int64_t Nanoseconds(Clock::time_point from, Clock::time_point to) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(to - from).count();
  }

  Clock::time_point start_;
  Clock::time_point sampling_start_, end_;
  int64_t wait_before_sampling_ns_ = 0;
};

}  // namespace skein
