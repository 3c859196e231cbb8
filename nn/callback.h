#pragma once
// Own code in the training loop: one interface, on which best checkpoint, early stop, gradient clipping, accumulation
// and the average of the weights (nn/callbacks/) are built as any of yours would be.
//
// The order of one call of Learner::fit(), for callbacks in the order in which they were added:
//
//   begin_fit                      the numbers are in place, nothing has been trained; then load() where a run goes on
//   each step:   on_gradients      the batch's gradients are in the store; may change them, or hold the weights still
//                on_update         the weights moved
//                on_step           for those who watch
//   each epoch:  before_validation
//                validated         what came of it, with the validated weights still in place   } in the opposite
//                after_validation                                                              } order: they nest
//                on_epoch          for those who watch
//   end_fit                        the last word on the numbers before the model is saved; not where training was
//   stopped
//
// So that a resumed run has the bits of an unbroken one, what a callback does may depend on the numbers, on the
// counters and on its own state, never on the time; a callback with state of its own gives it a name() and says it in
// save() and load(). State is of one call of fit(), and begin_fit() starts afresh, but for what a callback carries
// over (carry(); KeepBest over a whole run does).

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "core/parameter_store.h"
#include "nn/checkpoint.h"

namespace weft {

/// What a callback sees of a step.
struct StepResult {
  int epoch = 0;                                                ///< counts through all calls of fit(), from 0
  std::int64_t step = 0, steps_per_epoch = 0, total_steps = 0;  ///< `step` counts from this fit()'s start
  double loss = 0, lr = 0, momentum = 0;  ///< the rate of the schedule; groups have their factors of it
  std::int64_t pictures = 0;              ///< in this step's batch
  double seconds = 0, data_seconds = 0;   ///< that it took, and of these waited for data
  bool last_of_epoch() const { return step % steps_per_epoch == steps_per_epoch - 1; }
};

/// The loop as a callback sees it, good during the call alone.
class Training {
 public:
  using Note = std::function<void(const std::string&)>;
  Training(ParameterStore& store, std::filesystem::path run, Note note);

  /// Weights, gradients, velocities and running statistics on the device: of the whole model, or with a frozen trunk of
  /// its head. Who writes weights() or a state's data() in place calls touch_trained() or touch_states() behind it.
  ParameterStore& store() const { return store_; }
  /// The folder RUN; empty where nothing is saved.
  const std::filesystem::path& run() const { return run_; }
  /// The step under way, or the last one.
  const StepResult& step() const { return step_; }
  void set_step(const StepResult& step) { step_ = step; }
  /// Ends this fit() behind the epoch under way, as if it had been its last one; `why` becomes a note.
  void stop_after_epoch(const std::string& why);
  bool stops() const { return stops_; }
  /// A line for who watches (Callback::on_note).
  void note(const std::string& line) const { note_(line); }

 private:
  ParameterStore& store_;
  std::filesystem::path run_;
  Note note_;
  StepResult step_;
  bool stops_ = false;
};

/// Any function may be left as it is. An Error thrown by one ends the training.
class Callback {
 public:
  virtual ~Callback();

  // To watch.

  /// Something worth a line, once: a plan of another machine; why it stopped early.
  virtual void on_note(const std::string& /*line*/) {}
  /// Bytes of the device that a graph takes, once it is laid out: what trains and, where it is frozen, the trunk. The
  /// line gives activations with and without sharing, workspace, and the largest layers (core/memory_plan.h).
  virtual void on_memory(const std::string& /*line*/) {}
  /// While frozen features are computed, `done` of `total` pictures.
  virtual void on_features(std::int64_t /*done*/, std::int64_t /*total*/) {}
  virtual void on_step(const StepResult&) {}
  virtual void on_epoch(const EpochResult&) {}

  // To take part.

  virtual void begin_fit(Training&) {}
  /// False: the weights stay where they are at this step, and callbacks added later are not asked.
  virtual bool on_gradients(Training&) { return true; }
  virtual void on_update(Training&) {}
  virtual void before_validation(Training&) {}
  virtual void validated(Training&, const EpochResult&) {}
  /// Called for each before_validation(), also where validation was interrupted.
  virtual void after_validation(Training&) {}
  virtual void end_fit(Training&) {}

  // To go on after a break.

  /// Names the state in checkpoints; one learner's callbacks have different ones. Empty: nothing to remember.
  virtual std::string name() const { return {}; }
  /// What the bits depend on beside the state ("decay 0.999"): --resume is refused where it is another.
  virtual std::string settings() const { return {}; }
  virtual CallbackState save(Training&) const { return {}; }
  /// Takes back what save() gave. Throws Error where it is not that.
  virtual void load(Training&, const CallbackState&) {}
  /// Asked behind end_fit(): numbers for the next call of fit(), whose begin_fit() take_over() comes before, be it in
  /// another process that resumes the run between the two. Nothing is taken over of a fit() that did not end.
  virtual std::map<std::string, double> carry() const { return {}; }
  virtual void take_over(const std::map<std::string, double>& /*numbers*/) {}
};

}  // namespace weft
