// Which rung a device takes, tried for devices that are not here: the choice is a function of a number.

#include <doctest/doctest.h>

#include <string>

#include "tests/kernels/synthetic_op.h"

namespace weft::test {
namespace {

TEST_CASE("rung choice: Hopper's rungs are for Hopper alone") {
  const Op op = synthetic_op();
  const Problem problem{{64}, {}, DType::bf16};
  CHECK(pick_rung(op, problem, 75) == plain);
  CHECK(pick_rung(op, problem, 80) == mma);
  CHECK(pick_rung(op, problem, 89) == mma);
  CHECK(pick_rung(op, problem, 90) == wgmma);
  CHECK(pick_rung(op, problem, 100) == mma);
  CHECK(pick_rung(op, problem, 120) == mma);
  CHECK(pick_rung(op, problem, 0) == wgmma);  // simt emulates everything
}

TEST_CASE("rung choice: a shape or a type that a rung does not take falls to the one below") {
  const Op op = synthetic_op();
  CHECK(pick_rung(op, {{63}, {}, DType::bf16}, 90) == mma);
  CHECK(pick_rung(op, {{64}, {}, DType::f32}, 90) == plain);
  CHECK(pick_rung(op, {{64}, {}, DType::f16}, 90) == -1);
}

TEST_CASE("rung choice: an op's own choice is taken only where the device can run it") {
  Op op = synthetic_op();
  op.choose = [](const Problem&, int) -> int { return wgmma; };
  const Problem problem{{64}, {}, DType::bf16};
  CHECK(pick_rung(op, problem, 90) == wgmma);
  CHECK(pick_rung(op, problem, 100) == mma);
  CHECK(pick_rung(op, problem, 120) == mma);
  op.choose = [](const Problem&, int) -> int { return plain; };
  CHECK(pick_rung(op, problem, 90) == plain);
}

TEST_CASE("rung choice: a rung that does not take every shape says which it takes") {
  int particular = 0;
  for (const Op* op : simt::target().catalogue())
    for (const Rung& rung : op->rungs) {
      CAPTURE(std::string(op->name) + "/" + rung.name);
      CHECK((rung.needs.takes == nullptr) == (rung.needs.takes_what == nullptr));
      if (rung.needs.takes_what != nullptr) particular += std::string(rung.needs.takes_what).empty() ? 0 : 1;
    }
  CHECK(particular > 0);
}

}  // namespace
}  // namespace weft::test
