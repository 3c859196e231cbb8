#pragma once
// Inside nn/: executors of one kind of graph, one for each size of batch, over one store.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "core/executor.h"

namespace weft {

/// What devices chose, by purpose and batch ("train 64"): what a former run used is wanted again.
struct Plans {
  std::map<std::string, std::string> wanted, used;
  /// What differs from the former run: another instruction set, thread count or library. Empty: nothing.
  std::string difference;
  /// As one text, for config.json; and back. An unreadable text wants nothing.
  std::string text() const;
  void want(const std::string& text);
};

class Executors {
 public:
  struct Setup {
    std::string purpose;                             ///< "train", "evaluate": names the plan
    std::function<Graph(std::int64_t batch)> graph;  ///< for one size of batch
    CompileOptions compile;
    std::function<int(const std::string&)> group_of;  ///< of the parameters; empty: one group
  };
  /// Makes the executor for `batch`, whose layouts the store gets where there is none yet. `plans` must outlive it.
  Executors(std::shared_ptr<Device> device, Setup setup, Plans& plans, std::int64_t batch,
            std::shared_ptr<ParameterStore> store = nullptr);

  Executor& at(std::int64_t batch);
  const std::shared_ptr<ParameterStore>& store() const { return store_; }

 private:
  std::shared_ptr<Device> device_;
  Setup setup_;
  Plans& plans_;
  std::shared_ptr<ParameterStore> store_;
  std::map<std::int64_t, std::unique_ptr<Executor>> executors_;
};

}  // namespace weft
