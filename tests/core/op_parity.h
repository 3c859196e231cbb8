#pragma once
// Every built-in op of the graph, forward and backward, on a device, against the references in double precision.

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/device.h"

namespace weft::test {

struct ParityOptions {
  /// Of the largest |exact| of each tensor.
  double tolerance = 2e-5;
  CompileOptions compile = {.math = Math::strict};
  std::set<std::string> skip;  ///< ops that the device does not have
  bool fused = true;           ///< nodes with a residual or a ReLU of their own, which the cpu device refuses
};

struct ParityReport {
  int graphs = 0, tensors = 0;
  std::set<std::string> ops;       ///< that ran
  std::vector<std::string> wrong;  ///< a line each: the case, the tensor, the element, both values
};

/// Runs each case (a node, its gradient asked of its op with a random dy) and compares the first output and all
/// gradients. Memory is poisoned before each run.
ParityReport check_op_parity(const std::shared_ptr<Device>& device, const ParityOptions& options = {});

}  // namespace weft::test
