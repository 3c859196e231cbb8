#include "nn/callbacks/monitor.h"

#include <fmt/format.h>

#include <utility>

#include "kernels/error.h"

namespace weft {

Monitor::Monitor(std::string what) : what_(std::move(what)), less_(what_ == "valid_loss") {
  if (!less_ && what_ != "accuracy" && what_ != "macro_f1")
    throw UsageError(
        fmt::format("there is no '{}' to tell a better epoch by; there are valid_loss, accuracy, macro_f1", what_));
}

double Monitor::value(const EpochResult& row) const {
  return less_ ? row.valid_loss : what_ == "accuracy" ? row.accuracy : row.macro_f1;
}

bool Monitor::better(double value, double best, double by) const {
  return less_ ? value < best - by : value > best + by;
}

double Monitor::worst() const {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  return less_ ? kInfinity : -kInfinity;
}

}  // namespace weft
