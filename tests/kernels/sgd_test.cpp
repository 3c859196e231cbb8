// Three steps of SGD against torch's.
//
// The literals come from torch 1.13, float32, for each (nesterov, momentum, weight_decay) below:
//   w = torch.tensor([1., -2, 0.5], requires_grad=True)
//   o = torch.optim.SGD([w], lr=0.1, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)
//   for g in ([0.5, -1, 2], [1, 1, -0.25], [-2, 0.125, 3]):
//       w.grad = torch.tensor(g, dtype=torch.float); o.step(); print(w)

#include <doctest/doctest.h>

#include <cmath>

#include "kernels/ops.h"
#include "tests/kernels/call.h"

namespace weft::test {
namespace {

struct Sequence {
  bool nesterov;
  double momentum, weight_decay;
  Values weights[3];
};

const Sequence kSequences[] = {
    {false,
     0,
     0,
     {{0.949999988, -1.89999998, 0.300000012},
      {0.849999964, -2, 0.325000018},
      {1.04999995, -2.01250005, 0.0250000134}}},
    {false,
     0.9,
     0,
     {{0.949999988, -1.89999998, 0.300000012},
      {0.805000007, -1.90999997, 0.145000011},
      {0.874499977, -1.93149996, -0.294499993}}},
    {true,
     0.9,
     0.01,
     {{0.903100014, -1.80620003, 0.119049974},
      {0.670074105, -1.91014826, 0.00391877256},
      {0.929890454, -1.93544793, -0.692099571}}},
    {false,
     0.5,
     0.1,
     {{0.939999998, -1.88, 0.294999987},
      {0.800599992, -1.90119994, 0.214549989},
      {0.922894001, -1.90528798, -0.127820522}}},
};
const Values kGradients[] = {{0.5, -1, 2}, {1, 1, -0.25}, {-2, 0.125, 3}};

TEST_CASE("sgd: three steps are torch's, with and without momentum, Nesterov and weight decay") {
  for (const Sequence& sequence : kSequences) {
    CAPTURE(sequence.nesterov);
    CAPTURE(sequence.momentum);
    Values weight = {1, -2, 0.5}, velocity = {0, 0, 0};
    for (int step = 0; step < 3; ++step) {
      const Problem problem{{3, sequence.nesterov}, {0.1, sequence.momentum, sequence.weight_decay}};
      Values next_weight, next_velocity;
      call_every_rung("sgd_step", problem, {weight, kGradients[step], velocity},
                      [&](const std::vector<Values>& results) {
                        for (int i = 0; i < 3; ++i) CHECK(std::abs(results[0][i] - sequence.weights[step][i]) <= 4e-7);
                        next_weight = results[0];
                        next_velocity = results[2];
                      });
      weight = next_weight;
      velocity = next_velocity;
    }
  }
}

}  // namespace
}  // namespace weft::test
