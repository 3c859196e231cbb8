#pragma once
// First numbers of parameters.

#include <functional>

#include "core/tensor.h"
#include "kernels/philox.h"

namespace weft {

/// Fills a parameter with its first numbers; the stream is the parameter's own (named by its name), so that adding a
/// layer does not move the numbers of the others.
///
/// Fans are those of a filter (K, R, S, C): fan_in = R S C, fan_out = K R S; or of a matrix (out, in): fan_in = in,
/// fan_out = out.
using Initialise = std::function<void(Tensor&, Philox&)>;

/// He et al., "Delving Deep into Rectifiers", 2015, for ReLU: normal with deviation sqrt(2 / fan).
Initialise kaiming_normal(bool fan_out = true);
/// The same as a uniform within sqrt(6 / fan_in).
Initialise kaiming_uniform_relu();
/// torch's default for Linear and Conv2d: uniform within 1 / sqrt(fan_in), which is Kaiming's with a leaky ReLU of
/// slope sqrt(5). A bias has no fan of its own and is given its weight's; 0: taken from the shape.
Initialise kaiming_uniform(double fan_in = 0);
/// Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010: uniform within
/// sqrt(6 / (fan_in + fan_out)).
Initialise xavier_uniform();
Initialise normal(double mean, double deviation);
Initialise constant(float value);

}  // namespace weft
