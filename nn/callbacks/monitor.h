#pragma once
// Which of two epochs is the better one.

#include <limits>
#include <string>

#include "nn/checkpoint.h"

namespace weft {

/// One number of an epoch's row: "valid_loss", where less is better, or "accuracy" or "macro_f1", where more is.
class Monitor {
 public:
  /// Throws UsageError naming the choices for any other.
  explicit Monitor(std::string what);
  const std::string& what() const { return what_; }
  double value(const EpochResult& row) const;
  /// Better than `best` by more than `by`. A NaN never is.
  bool better(double value, double best, double by = 0) const;
  /// What everything is better than.
  double worst() const;

 private:
  std::string what_;
  bool less_;
};

}  // namespace weft
