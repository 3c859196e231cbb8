// Three steps of SGD against torch's.
//
// The literals come from torch 1.13, float32, for each (nesterov, momentum, weight_decay) below:
//   w = torch.tensor([1., -2, 0.5], requires_grad=True)
//   o = torch.optim.SGD([w], lr=0.1, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)
//   for g in ([0.5, -1, 2], [1, 1, -0.25], [-2, 0.125, 3]):
//       w.grad = torch.tensor(g, dtype=torch.float); o.step(); print(w)

#include <doctest/doctest.h>

#include <cmath>
#include <iterator>

#include "kernels/error.h"
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
      const Problem problem{{3, sequence.nesterov}, {sequence.momentum, 0.1, sequence.weight_decay}};
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

/// The part of `values` from `begin` to `end`.
Values part(const Values& values, std::int64_t begin, std::int64_t end) {
  return {values.begin() + begin, values.begin() + end};
}

TEST_CASE("sgd: groups in one launch have the bits of a launch each") {
  constexpr std::int64_t kEnds[] = {0, 3, 3, 1030, 1033, 2048, 2050, 2059};  // two groups are empty
  constexpr std::int64_t kSize = 2059;
  constexpr int kGroups = extents::SgdStep::kMaxGroups;
  static_assert(std::size(kEnds) == kGroups);
  for (const bool nesterov : {false, true}) {
    Problem together{{kSize, nesterov, kGroups - 1}, {0.9}};
    for (int group = 0; group < kGroups; ++group) {
      if (group < kGroups - 1) together.extents[extents::SgdStep::split + group] = kEnds[group];
      together.scalars[extents::SgdStep::lr + 2 * group] = 0.01 + 0.013 * group;
      together.scalars[extents::SgdStep::weight_decay + 2 * group] = 0.003 * group;
    }
    const Device simt{simt::target()};
    const std::vector<Values> operands =
        draw_operands(simt.target.catalogue(), op_of(simt, "sgd_step"), together, Draw::random, true);
    std::vector<std::vector<Values>> whole;  // by device and rung
    call_every_rung("sgd_step", together, operands,
                    [&](const std::vector<Values>& results) { whole.push_back(results); });
    CHECK(whole.size() >= 2);
    std::int64_t begin = 0;
    for (int group = 0; group < kGroups; ++group) {
      const std::int64_t end = kEnds[group];
      if (end == begin) continue;
      const Problem alone{{end - begin, nesterov},
                          {0.9, together.scalars[extents::SgdStep::lr + 2 * group],
                           together.scalars[extents::SgdStep::weight_decay + 2 * group]}};
      std::size_t run = 0;
      call_every_rung("sgd_step", alone,
                      {part(operands[0], begin, end), part(operands[1], begin, end), part(operands[2], begin, end)},
                      [&](const std::vector<Values>& results) {
                        CAPTURE(group);
                        REQUIRE(run < whole.size());
                        CHECK(results[0] == part(whole[run][0], begin, end));
                        CHECK(results[2] == part(whole[run][2], begin, end));
                        CHECK(results[0] != part(operands[0], begin, end));
                        ++run;
                      });
      begin = end;
    }
    CHECK(begin == kSize);
  }
}

TEST_CASE("sgd: groups that cannot be are refused, with the group and the places") {
  const Op& op = op_of({simt::target()}, "sgd_step");
  CHECK_THROWS_WITH_AS(op.check({{100, 0, 8}}), "sgd_step: 9 parameter groups; a launch takes 1 to 8", Error);
  CHECK_THROWS_WITH_AS(op.check({{100, 0, 2, 60, 40}}),
                       "sgd_step: group 2 ends at 40, but begins at 60 and there are 100 parameters", Error);
  CHECK_THROWS_WITH_AS(op.check({{100, 0, 1, 101}}),
                       "sgd_step: group 1 ends at 101, but begins at 0 and there are 100 parameters", Error);
  CHECK_NOTHROW(op.check({{100, 0, 7, 0, 0, 50, 50, 100, 100, 100}}));
}

}  // namespace
}  // namespace weft::test
