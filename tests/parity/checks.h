#pragma once
// The comparisons: module by module, whole net, one SGD step.

#include <memory>
#include <string>
#include <vector>

#include "core/device.h"
#include "nn/model.h"
#include "tests/parity/truth.h"

namespace weft::parity {

/// One number of the table.
struct Check {
  std::string where;  ///< "layer1.0.conv1", "whole net"
  std::string what;   ///< "y", "dx", "dweight"
  double error = 0;
  double bound = 0;
  bool passed() const { return error <= bound; }  // false for NaN
};

struct Bounds {
  double node = 1e-4;          ///< of each output and gradient of a module: strict math; fast math's is 1e-3
  double forward = 1e-3;       ///< of logits, loss and running statistics of the whole net
  double all_gradients = 0.1;  ///< as one vector: ReLU and max pool flip at their kinks in any float32
  double sgd = 1e-5;
};

struct Setting {
  std::shared_ptr<Device> device;
  CompileOptions compile;
  Bounds bounds;
};

/// Feeds each module of the file its own input and upstream gradient, in a graph of that node alone. Throws Error where
/// the model has no such module.
std::vector<Check> check_modules(const Truth& truth, const Model& model, const Setting& setting);

/// Logits, loss, gradients and running statistics of one step of the whole net, and an SGD step from the file's own
/// gradients (lr 0.1, momentum 0.9, weight decay 1e-4).
std::vector<Check> check_whole_net(const Truth& truth, const Model& model, const Setting& setting);

/// The architecture whose parameters' names and shapes the file has, the number of classes apart. Throws Error where it
/// is none that is known.
std::string architecture_of(const Truth& truth);

}  // namespace weft::parity
