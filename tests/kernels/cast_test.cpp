// Rounding where it is not obvious: ties, overflow, subnormal numbers, infinities, NaN.
//
// The literals come from torch 1.13: v.bfloat16().float() and v.half().float().

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/error.h"
#include "kernels/ops.h"
#include "tests/kernels/call.h"

namespace weft::test {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

Values as_float32(Values values) {
  for (double& value : values) value = static_cast<float>(value);
  return values;
}

void check_cast(DType from, DType to, const Values& x, const Values& y) {
  const Problem problem{
      {static_cast<std::int64_t>(x.size()), static_cast<std::int64_t>(from), static_cast<std::int64_t>(to)}};
  call_every_rung("cast", problem, {x, Values(x.size())}, [&](const std::vector<Values>& results) {
    for (std::size_t i = 0; i < y.size(); ++i) {
      CAPTURE(x[i]);
      CAPTURE(results[1][i]);
      CHECK((results[1][i] == y[i] || (std::isnan(y[i]) && std::isnan(results[1][i]))));
    }
  });
}

TEST_CASE("cast: float32 rounds to nearest even") {
  const Values x = as_float32({1.00390625, 1.01171875, -1.00390625, 3.4e38, 1e-40, kInfinity, kNaN, 65519., 65520.,
                               6e-8, 2.9e-8, 2.98023224e-8, 5.97e-5, 0.1, -kInfinity, 0});
  check_cast(DType::f32, DType::bf16, x,
             as_float32({1, 1.015625, -1, kInfinity, 9.18354962e-41, kInfinity, kNaN, 65536, 65536, 6.00703061e-08,
                         2.89874151e-08, 2.98023224e-08, 5.96046448e-05, 0.100097656, -kInfinity, 0}));
  check_cast(DType::f32, DType::f16, x,
             as_float32({1.00390625, 1.01171875, -1.00390625, kInfinity, 0, kInfinity, kNaN, 65504, kInfinity,
                         5.96046448e-08, 0, 0, 5.97238541e-05, 0.0999755859, -kInfinity, 0}));
}

TEST_CASE("cast: every float16 goes to float32 and back unchanged") {
  Bytes bytes(2 * 65536);
  for (std::size_t i = 0; i < 65536; ++i) {
    bytes[2 * i] = static_cast<std::byte>(i & 255);
    bytes[2 * i + 1] = static_cast<std::byte>(i >> 8);
  }
  const Values all = decode(DType::f16, bytes);
  check_cast(DType::f16, DType::f32, all, all);
  check_cast(DType::f32, DType::f16, all, all);
}

TEST_CASE("cast: every pixel is exact in every float") {
  Values pixels;
  for (int i = 0; i < 256; ++i) pixels.push_back(i);
  for (const DType to : {DType::f32, DType::bf16, DType::f16}) check_cast(DType::u8, to, pixels, pixels);
}

TEST_CASE("cast: to integers towards zero, saturating") {
  const Values x = {2.9, -2.9, 1e20, -1e20, kNaN, 255.9, 256, -0.5, 2147483520, -2147483648.0};
  check_cast(DType::f32, DType::i32, as_float32(x),
             {2, -2, 2147483647, -2147483648.0, 0, 255, 256, 0, 2147483520, -2147483648.0});
  check_cast(DType::f32, DType::u8, as_float32(x), {2, 0, 255, 0, 0, 255, 255, 0, 255, 0});
}

TEST_CASE("cast: what would round twice is refused") {
  const Op& op = op_of(devices().front(), "cast");
  const auto call = [](DType from, DType to) {
    return Problem{{1, static_cast<std::int64_t>(from), static_cast<std::int64_t>(to)}};
  };
  CHECK_THROWS_WITH_AS(op.check(call(DType::i32, DType::bf16)), "cast: i32 to bf16 is not supported", Error);
  CHECK_THROWS_AS(op.check(call(DType::i64, DType::f32)), Error);
}

}  // namespace
}  // namespace weft::test
