// What dropout promises beyond its formula: the same mask both ways, no mask in common between ops or steps, and the
// rate that was asked for.

#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>

#include "kernels/error.h"
#include "kernels/ops.h"
#include "kernels/philox.h"
#include "tests/kernels/call.h"

namespace weft::test {
namespace {

constexpr int kSize = 10007;  // prime: packs, and a rest

Problem dropout_call(std::int64_t seed, std::int64_t op, std::int64_t step, double p) {
  return {{kSize, seed, op, step}, {p}};
}

/// Values of one rung of "dropout" on ones: 0 or 1 / (1 - p).
Values mask(const Problem& problem, const char* name = "dropout") {
  Values found;
  call_every_rung(name, problem, {Values(kSize, 1.0), Values(kSize)}, [&](const std::vector<Values>& results) {
    if (found.empty()) found = results[1];
    CHECK(found == results[1]);  // every rung, on every device
  });
  return found;
}

TEST_CASE("dropout: each element follows its own word of Philox") {
  const Values values = mask(dropout_call(5, 3, 17, 0.3));
  const auto threshold = static_cast<std::uint32_t>(std::llround(0.3 * 4294967296.0));
  for (int i = 0; i < kSize; ++i) {
    const bool kept =
        philox4x32_10(5, (std::uint64_t{3} << 32) + 17, static_cast<std::uint64_t>(i / 4))[i % 4] >= threshold;
    REQUIRE(values[i] == (kept ? static_cast<double>(static_cast<float>(1 / 0.7)) : 0.0));
  }
}

TEST_CASE("dropout: the rate is the one asked for, and the backward mask is the forward one") {
  const Problem problem = dropout_call(1, 2, 3, 0.2);
  const Values values = mask(problem);
  int dropped = 0;
  for (const double value : values) dropped += value == 0;
  CHECK(std::abs(dropped - 0.2 * kSize) < 4 * std::sqrt(kSize * 0.2 * 0.8));
  CHECK(mask(problem, "dropout_backward") == values);
}

TEST_CASE("dropout: another seed, op or step is another mask") {
  const Values values = mask(dropout_call(1, 2, 3, 0.5));
  CHECK(values == mask(dropout_call(1, 2, 3, 0.5)));
  for (const Problem& other : {dropout_call(2, 2, 3, 0.5), dropout_call(1, 3, 3, 0.5), dropout_call(1, 2, 4, 0.5)}) {
    const Values theirs = mask(other);
    int same = 0;
    for (int i = 0; i < kSize; ++i) same += values[i] == theirs[i];
    CHECK(std::abs(same - 0.5 * kSize) < 4 * std::sqrt(kSize * 0.25));
  }
}

TEST_CASE("dropout: nothing at p = 0, everything at p = 1, and no other p") {
  CHECK(mask(dropout_call(1, 2, 3, 0)) == Values(kSize, 1.0));
  CHECK(mask(dropout_call(1, 2, 3, 1)) == Values(kSize, 0.0));
  const Op& op = op_of(devices().front(), "dropout");
  CHECK_THROWS_WITH_AS(op.check(dropout_call(1, 2, 3, 1.5)), "dropout: p is 1.500000, and must be a probability",
                       Error);
  CHECK_THROWS_AS(op.check(dropout_call(1, 2, 3, std::nan(""))), Error);
  CHECK_THROWS_AS(op.check(dropout_call(1, 2, -1, 0.5)), Error);
}

}  // namespace
}  // namespace weft::test
