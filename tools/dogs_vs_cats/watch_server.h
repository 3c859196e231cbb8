#pragma once
// The web server of `train --watch`: two things to read, nothing to write, for this machine alone.

#include <cstddef>
#include <functional>
#include <future>
#include <memory>
#include <string>

namespace weft::cli {

/// What it answers with. `points` is called from its threads, several at once.
struct WatchAnswers {
  std::string page;  ///< at /
  /// At /points?from=STEP&epoch=EPOCH: JSON of what came after so many steps and epochs.
  std::function<std::string(std::size_t step, std::size_t epoch)> points;
};

class WatchServer {
 public:
  /// Answers at 127.0.0.1:`port` (0: any free one) from now on, in threads of its own that take no signals. A browser
  /// that a foreign page has sent here under a name of its own (DNS rebinding) is refused by its Host header. Throws
  /// UsageError where `port` is none or only root may have it, Error where it is taken or this build has no server.
  WatchServer(int port, WatchAnswers answers);
  /// Stops, at once or, where someone is slow to listen, within two seconds.
  ~WatchServer();
  int port() const;

 private:
  struct Service;
  std::shared_ptr<Service> service_;  // the thread holds it too: it may outlive this object
  std::future<void> done_;
};

}  // namespace weft::cli
