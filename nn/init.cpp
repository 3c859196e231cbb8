#include "nn/init.h"

#include <cmath>

#include "kernels/error.h"

namespace weft {
namespace {

struct Fans {
  double in = 0, out = 0;
};

/// Of (K, R, S, C) or (out, in): the first axis is what comes out, the last what goes in, those between are the window.
Fans fans_of(const Shape& shape) {
  if (shape.rank() < 2)
    fail("an initialiser that counts fans needs a weight of rank 2 or more, not " + to_string(shape));
  double window = 1;
  for (int axis = 1; axis < shape.rank() - 1; ++axis) window *= static_cast<double>(shape[axis]);
  return {window * static_cast<double>(shape[-1]), window * static_cast<double>(shape[0])};
}

void fill_uniform(Tensor& tensor, Philox& random, double bound) {
  for (float& value : tensor.values<float>()) value = static_cast<float>(bound * (2.0 * random.uniform() - 1.0));
}

void fill_normal(Tensor& tensor, Philox& random, double mean, double deviation) {
  for (float& value : tensor.values<float>()) value = static_cast<float>(mean + deviation * random.normal());
}

}  // namespace

Initialise kaiming_normal(bool fan_out) {
  return [fan_out](Tensor& tensor, Philox& random) {
    const Fans fans = fans_of(tensor.shape());
    fill_normal(tensor, random, 0, std::sqrt(2 / (fan_out ? fans.out : fans.in)));
  };
}

Initialise kaiming_uniform_relu() {
  return
      [](Tensor& tensor, Philox& random) { fill_uniform(tensor, random, std::sqrt(6 / fans_of(tensor.shape()).in)); };
}

Initialise kaiming_uniform(double fan_in) {
  return [fan_in](Tensor& tensor, Philox& random) {
    fill_uniform(tensor, random, 1 / std::sqrt(fan_in > 0 ? fan_in : fans_of(tensor.shape()).in));
  };
}

Initialise xavier_uniform() {
  return [](Tensor& tensor, Philox& random) {
    const Fans fans = fans_of(tensor.shape());
    fill_uniform(tensor, random, std::sqrt(6 / (fans.in + fans.out)));
  };
}

Initialise normal(double mean, double deviation) {
  return [mean, deviation](Tensor& tensor, Philox& random) { fill_normal(tensor, random, mean, deviation); };
}

Initialise constant(float value) {
  return [value](Tensor& tensor, Philox&) {
    for (float& element : tensor.values<float>()) element = value;
  };
}

}  // namespace weft
