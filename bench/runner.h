#pragma once
// Registers every measurement with Google Benchmark, runs them, keeps the rows.

#include <chrono>
#include <cmath>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "bench/report.h"

namespace weft::bench {

struct RunOptions {
  std::string rung;  ///< regular expression that a rung's name must hold; empty: any. Peers are measured all the same
  bool peers = true, rungs = true;
  double budget = INFINITY;                ///< seconds after which what is left is passed over, and said so
  double search_seconds = kSearchSeconds;  ///< that a call's peer may spend on its choice among algorithms
  MeasureOptions measure;
};

class Runner {
 public:
  Runner(const Place& place, std::vector<Case> cases, const RunOptions& options);

  /// Runs what Google Benchmark's own flags (--benchmark_filter, _repetitions, _list_tests, ...) leave, printing a line
  /// each. The report holds a row for each, in the order of the cases.
  const Report& run();
  const std::vector<Case>& cases() const { return cases_; }
  /// The fastest sound rung of each case, by name; empty where none was measured.
  std::vector<std::string> fastest() const;

 private:
  struct Item {
    std::size_t which;  ///< case
    const Rung* rung;   ///< null: the peer
  };
  void register_all();
  /// Its set, op and arithmetic; nothing counted yet.
  PassedOver part_of(const Item& item) const;
  void measure(const Item& item, void* state);
  Session& session(std::size_t which);

  Place place_;
  std::unique_ptr<Clock> clock_;
  std::vector<Case> cases_;
  RunOptions options_;
  std::vector<std::unique_ptr<Peer>> peers_;
  std::deque<Item> items_;
  std::unique_ptr<Session> session_;
  std::size_t session_of_ = 0;
  Report report_;
  std::vector<std::size_t> row_case_;  ///< the case of each row
  std::chrono::steady_clock::time_point start_;
};

}  // namespace weft::bench
