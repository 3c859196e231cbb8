#pragma once
// `train --watch PORT`: the run's points as they come, for a page that draws them (watch_page.h) and a server that
// hands them out (watch_server.h).

#include <memory>
#include <string>

#include "nn/callbacks/step_log.h"
#include "nn/learner.h"
#include "tools/dogs_vs_cats/progress.h"
#include "tools/dogs_vs_cats/watch_server.h"

namespace weft::cli {

/// It watches and takes no part: the training's bits are those without it. The thread that trains appends a point under
/// a lock; a server's thread copies under the same lock what was asked for and writes JSON of it without.
class Watch : public Callback {
 public:
  /// Serves from now on. `log` is added to the learner before this: it knows the steps of a run that goes on. Throws as
  /// WatchServer does.
  Watch(int port, std::shared_ptr<const StepLog> log);
  ~Watch() override;
  /// "http://127.0.0.1:8080/".
  std::string address() const;

  enum class End { finished, stopped, failed };
  /// What the page says from now on: `text`, a sentence. Where someone has the page open, waits until it has heard so,
  /// 1.5 s at most.
  void ended(End how, const std::string& text);
  /// What is trained ("resnet18: cats, dogs"), the folder RUN, and in how many stages.
  void describe(const std::string& title, const std::string& run, std::size_t stages);

  void on_note(const std::string& line) override;
  void on_features(std::int64_t done, std::int64_t total) override;
  void begin_fit(Training& training) override;
  void on_step(const StepResult& step) override;
  void before_validation(Training&) override;
  void on_epoch(const EpochResult& epoch) override;

 private:
  struct Points;
  void catch_up(int epoch);

  std::shared_ptr<Points> points_;  // a server's thread may outlive this object
  std::shared_ptr<const StepLog> log_;
  std::filesystem::path run_;
  bool caught_up_ = false;
  TimeLeft left_;
  std::unique_ptr<WatchServer> server_;
};

}  // namespace weft::cli
