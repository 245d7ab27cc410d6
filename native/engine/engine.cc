#include "engine/engine.h"

#include <chrono>
#include <deque>
#include <utility>

#include "core/error.h"
#include "engine/epoch.h"
#include "engine/group_session.h"
#include "engine/loaded_model.h"
#include "engine/step_timer.h"

namespace skein {

struct Engine::Impl {
  std::unique_ptr<Backend> backend;
  bool deterministic = true;
  std::unique_ptr<LoadedModel> model;
  std::string weights_hash;
  std::unique_ptr<Epoch> epoch;
  GroupSession session;
  std::atomic<bool> load_cancelled{false};
  // Of the last step.
  StepTimer::Clock::time_point step_end;
  struct StartedStep {
    StepTimer timer;
    StepResult result;
  };
  std::deque<StartedStep> started;

  // The phase, for as long as it lasts; a step that was started goes on.
  class Busy {
   public:
    Busy(Impl& impl, EnginePhase phase) : impl_(impl) { impl_.session.SetPhase(phase); }
    ~Busy() {
      if (impl_.started.empty()) impl_.session.SetPhase(EnginePhase::kIdle);
    }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;

   private:
    Impl& impl_;
  };

  // Steps of the joined epoch. A failure ends it, whoever caused it.
  void Compute(uint64_t group_epoch, const std::function<void(Communicator&)>& steps) {
    try {
      steps(session.communicator());
      // An abort lets a device's waiting kernels leave with whatever they had.
      session.CheckEpoch(group_epoch);
    } catch (...) {
      session.CheckNotAborted(group_epoch);
      // The sequences are between two steps: nothing may run on them any more.
      session.Abort(group_epoch);
      throw;
    }
  }

  // For other limits, or another share of the device: nothing is read.
  LoadResult KeepWeights(const LoadPlan& plan) {
    const auto start = std::chrono::steady_clock::now();
    if (!model->HasLimitsOf(plan)) {
      EndEpoch();
      try {
        model->SetLimits(*backend, plan);
      } catch (...) {
        weights_hash.clear();
        model.reset();
        backend->BeginLoad();
        throw;
      }
    }
    model->CountAvailable(*backend, plan.memory_share);
    LoadResult result = model->result();
    result.read_bytes = 0;
    result.times = {};
    result.load_ms =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    return result;
  }

  // The epoch's state goes before the communicator that its ops may still refer to.
  void EndEpoch() {
    DropEpoch();
    session.End();
  }
  void DropEpoch() {
    started.clear();
    epoch.reset();
  }
};

Engine::Engine(const BackendOptions& options) : impl_(std::make_unique<Impl>()) {
  impl_->backend = MakeBackend(options);
  impl_->deterministic = options.deterministic;
}

Engine::~Engine() { impl_->EndEpoch(); }

Backend& Engine::backend() { return *impl_->backend; }

LoadResult Engine::Load(const LoadPlan& plan,
                        const std::function<void(int64_t, int64_t)>& progress) {
  const Impl::Busy busy(*impl_, EnginePhase::kLoad);
  const bool is_resident = impl_->model != nullptr && !plan.weights_hash.empty() &&
                           plan.weights_hash == impl_->weights_hash &&
                           (plan.expected_checksums.empty() ||
                            plan.expected_checksums == impl_->model->result().tensor_checksums);
  if (is_resident) return impl_->KeepWeights(plan);
  // The old weights go first: both together need not fit.
  impl_->EndEpoch();
  impl_->weights_hash.clear();
  impl_->model.reset();
  impl_->backend->BeginLoad();
  impl_->load_cancelled = false;
  try {
    impl_->model =
        std::make_unique<LoadedModel>(*impl_->backend, plan, progress, impl_->load_cancelled);
  } catch (...) {
    // Half a model is of no use: others may want the memory.
    impl_->backend->BeginLoad();
    throw;
  }
  impl_->weights_hash = plan.weights_hash;
  return impl_->model->result();
}

MemoryUse Engine::memory_use() const {
  MemoryUse use = impl_->backend->memory_use();
  if (impl_->backend->stream() != nullptr || impl_->model == nullptr) return use;
  use.weights = impl_->model->result().weight_bytes;
  use.activations = impl_->model->result().activation_bytes;
  use.kv_cache = impl_->epoch == nullptr ? 0 : impl_->epoch->kv_bytes();
  return use;
}

const std::string& Engine::resident_weights_hash() const { return impl_->weights_hash; }

std::string Engine::PrepareGroup(const GroupOptions& options) {
  if (impl_->model == nullptr) throw Error("NOT_READY", "no weights are loaded");
  const RankLayout& layout = impl_->model->plan().layout;
  if (options.rank != layout.rank || options.world_size != layout.world_size) {
    throw Error("INVALID_REQUEST",
                Format("rank: %d of %d, but the weights are those of rank %lld of %lld",
                       options.rank, options.world_size, static_cast<long long>(layout.rank),
                       static_cast<long long>(layout.world_size)));
  }
  // A stale request leaves the present epoch alone.
  impl_->session.CheckNewEpoch(options.group_epoch);
  // Which memory a collective takes decides which back ends it serves.
  const bool is_nccl = options.collective == CollectiveKind::kNccl;
  const bool is_device = impl_->backend->stream() != nullptr;
  if (options.collective != CollectiveKind::kNone && is_nccl != is_device) {
    throw Error(
        "INVALID_REQUEST",
        Format("collective: %s on device %s; the CPU takes shared-memory or gloo, CUDA nccl",
               is_nccl ? "nccl" : "a host transport", impl_->backend->name().c_str()));
  }
  impl_->DropEpoch();
  GroupOptions prepared = options;
  prepared.deterministic = impl_->deterministic;
  return impl_->session.Prepare(prepared);
}

int64_t Engine::JoinGroup(uint64_t group_epoch, const std::vector<std::string>& addresses,
                          int64_t num_kv_blocks, int timeout_ms) {
  const Impl::Busy busy(*impl_, EnginePhase::kJoin);
  if (impl_->model == nullptr) throw Error("NOT_READY", "no weights are loaded");
  impl_->session.CheckPrepared(group_epoch, addresses.size());
  if (num_kv_blocks < 1 || num_kv_blocks > INT32_MAX) {
    throw Error("INVALID_REQUEST",
                Format("numKvBlocks: %lld", static_cast<long long>(num_kv_blocks)));
  }
  auto epoch = std::make_unique<Epoch>(*impl_->backend, *impl_->model, num_kv_blocks);
  impl_->session.Join(group_epoch, addresses, timeout_ms);
  impl_->epoch = std::move(epoch);
  impl_->Compute(group_epoch, [this](Communicator& communicator) {
    for (const Matrix& rows : impl_->model->decoder().reduced()) {
      communicator.Register(rows.data, static_cast<size_t>(rows.rows) * rows.RowBytes());
    }
    impl_->epoch->WarmUp(communicator);
  });
  return impl_->epoch->kv_bytes();
}

void Engine::PutPixels(uint64_t group_epoch, uint32_t picture_id,
                       const std::vector<int32_t>& tile_slots, std::vector<uint8_t> pixels) {
  impl_->session.CheckEpoch(group_epoch);
  impl_->epoch->PutPixels(picture_id, tile_slots, std::move(pixels));
}

void Engine::StartStep(const StepPlan& plan) {
  Impl::StartedStep step;
  impl_->session.CheckEpoch(plan.group_epoch);
  impl_->epoch->Check(plan);
  const Impl::Busy busy(*impl_, EnginePhase::kDecoder);
  step.result.group_epoch = plan.group_epoch;
  step.result.step = plan.step;
  impl_->Compute(plan.group_epoch, [&](Communicator& communicator) {
    // What a device does is not known from when its host asks for it.
    const bool is_host = impl_->backend->stream() == nullptr;
    impl_->epoch->Start(plan, communicator, [&](EnginePhase phase) {
      impl_->session.SetPhase(phase);
      if (is_host && phase == EnginePhase::kSampling) step.timer.BeginSampling(communicator);
    });
    if (is_host) step.timer.EndCompute(communicator, &step.result);
  });
  impl_->started.push_back(std::move(step));
}

StepResult Engine::FinishStep() {
  SKEIN_CHECK(!impl_->started.empty(), "no step was started");
  Impl::StartedStep step = std::move(impl_->started.front());
  impl_->started.pop_front();
  StepResult& result = step.result;
  const Impl::Busy busy(*impl_, EnginePhase::kSampling);
  impl_->session.CheckEpoch(result.group_epoch);
  impl_->Compute(result.group_epoch, [&](Communicator& communicator) {
    impl_->epoch->Finish(&result);
    if (impl_->backend->stream() != nullptr) step.timer.EndCompute(communicator, &result);
  });
  // A step's first wait is for work, not for a plan.
  step.timer.End(result.step == 1 ? StepTimer::Clock::time_point{} : impl_->step_end, &result);
  impl_->step_end = step.timer.end();
  impl_->session.StepDone(result.step);
  return result;
}

int Engine::num_started() const { return static_cast<int>(impl_->started.size()); }

bool Engine::MayFollow(const StepPlan& plan) const {
  return impl_->started.size() == 1 &&
         impl_->started.front().result.group_epoch == plan.group_epoch &&
         impl_->epoch->MayFollow(plan);
}

bool Engine::IsStepDone() const { return impl_->started.empty() || impl_->epoch->IsDone(); }

void Engine::DropSteps() { impl_->started.clear(); }

std::vector<float> Engine::Inspect(InspectTarget target, int64_t rows) {
  if (impl_->model == nullptr) throw Error("NOT_READY", "no weights are loaded");
  PictureEncoder* const encoder = impl_->model->encoder();
  const bool is_hidden = target == InspectTarget::kHidden;
  const Decoder& decoder = impl_->model->decoder();
  const int64_t available = is_hidden            ? decoder.max_rows()
                            : encoder == nullptr ? 0
                                                 : encoder->tile_cache().rows;
  if (rows < 1 || rows > available) {
    throw Error("INVALID_REQUEST",
                Format("rows: %lld, there are %lld", static_cast<long long>(rows),
                       static_cast<long long>(available)));
  }
  return impl_->backend->Read(is_hidden ? decoder.hidden(rows)
                                        : encoder->tile_cache().Rows(0, rows));
}

void Engine::EndEpoch() { impl_->EndEpoch(); }

void Engine::Abort(uint64_t group_epoch) {
  if (group_epoch == 0) impl_->load_cancelled = true;
  impl_->session.Abort(group_epoch);
}

Progress Engine::progress() const { return impl_->session.progress(); }

}  // namespace skein
