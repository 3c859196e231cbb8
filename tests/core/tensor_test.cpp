// Element types, shapes and host tensors.
#include "core/tensor.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "tests/temporary_folder.h"

using namespace weft;
using weft::test::error_of;

namespace {

// value rounded to a float with `fraction` bits after the leading one and smallest exponent `lowest`, ties to even; by
// double arithmetic, so that it shares nothing with the code it judges.
double rounded(float value, int fraction, int lowest, double largest) {
  if (value == 0 || !std::isfinite(value)) {
    return value;
  }
  const int exponent = std::max(std::ilogb(value), lowest);
  const double unit = std::ldexp(1.0, exponent - fraction);
  const double result = std::nearbyint(static_cast<double>(value) / unit) * unit;
  return std::abs(result) > largest ? std::copysign(std::numeric_limits<double>::infinity(), value) : result;
}

bool same(double a, double b) {
  return (std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b));
}

std::vector<float> awkward_floats() {
  std::vector<float> values = {0.0f, -0.0f, 1.0f, 65504.0f, 65519.996f, 65520.0f, 65536.0f, 3.4e38f, 1e-45f};
  for (const float scale : {0x1p-24f, 0x1p-25f, 0x1p-14f, 0x1p-126f, 1.0f}) {  // around f16's and bf16's edges
    for (const float factor : {1.0f, 1.5f, 0x1.001p0f, 0x1.002p0f, 0x1.003p0f, 0x1.01p0f, 0x1.03p0f, 0x1.ffcp0f,
                               0x1.ffep0f, 0x1.fffffep0f, 0x1.000002p0f, 0.5f, 0x1.fffffep-1f}) {
      values.push_back(scale * factor);
    }
  }
  std::mt19937 random(1);
  for (int i = 0; i < 200000; ++i) {
    values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(random()) & 0x7fffffffu));
  }
  return values;
}

}  // namespace

TEST_CASE("16-bit floats round to the nearest, ties to even") {
  int wrong = 0;
  for (const float positive : awkward_floats()) {
    for (const float value : {positive, -positive}) {
      const double f16 = f16_to_float(float_to_f16(value)), bf16 = bf16_to_float(float_to_bf16(value));
      wrong += same(f16, rounded(value, 10, -14, 65504.0)) ? 0 : 1;
      wrong += same(bf16, rounded(value, 7, -126, 0x1.fep127)) ? 0 : 1;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("each 16-bit pattern survives the way through float32") {
  int wrong = 0;
  for (std::uint32_t i = 0; i <= 0xffffu; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    const bool f16_nan = (bits & 0x7fffu) > 0x7c00u, bf16_nan = (bits & 0x7fffu) > 0x7f80u;
    CHECK(std::isnan(f16_to_float(bits)) == f16_nan);
    CHECK(std::isnan(bf16_to_float(bits)) == bf16_nan);
    wrong += f16_nan ? !std::isnan(f16_to_float(float_to_f16(f16_to_float(bits))))
                     : float_to_f16(f16_to_float(bits)) != bits;
    wrong += bf16_nan ? !std::isnan(bf16_to_float(float_to_bf16(bf16_to_float(bits))))
                      : float_to_bf16(bf16_to_float(bits)) != bits;
  }
  CHECK(wrong == 0);
  // A NaN whose fraction lies in the bits that go must not become infinity.
  const float low_nan = std::bit_cast<float>(0x7f800001u);
  CHECK(std::isnan(f16_to_float(float_to_f16(low_nan))));
  CHECK(std::isnan(bf16_to_float(float_to_bf16(low_nan))));
}

TEST_CASE("known values of 16-bit floats") {
  CHECK(float_to_f16(1.0f) == 0x3c00);
  CHECK(float_to_f16(-2.0f) == 0xc000);
  CHECK(float_to_f16(0x1p-24f) == 0x0001);
  CHECK(float_to_f16(65504.0f) == 0x7bff);
  CHECK(float_to_f16(65520.0f) == 0x7c00);
  CHECK(float_to_bf16(1.0f) == 0x3f80);
  CHECK(float_to_bf16(0x1.01p0f) == 0x3f80);  // half of a unit above 1: to the even one, below
  CHECK(float_to_bf16(0x1.03p0f) == 0x3f82);  // and above
}

TEST_CASE("shapes count, print and refuse") {
  const Shape shape = {2, 3, 4};
  CHECK(shape.elements() == 24);
  CHECK(shape[-1] == 4);
  CHECK(to_string(shape) == "(2, 3, 4)");
  CHECK(Shape{}.elements() == 1);
  CHECK(to_string(Shape{}) == "()");
  CHECK(error_of([&] { (void)shape[3]; }) == "the shape (2, 3, 4) has no axis 3");
  CHECK(error_of([] { Shape bad = {2, -1}; }).find("negative extent: -1") != std::string::npos);
  const Shape huge = {std::int64_t{1} << 40, std::int64_t{1} << 40};
  CHECK(error_of([&] { (void)huge.elements(); }).find("more elements than 64 bits") != std::string::npos);
  CHECK(Shape{std::int64_t{1} << 40, std::int64_t{1} << 40, 0}.elements() == 0);
  CHECK(error_of([] { Tensor x(Shape{std::int64_t{1} << 62}); }).find("more bytes") != std::string::npos);
}

TEST_CASE("tensors alias when copied and not when cloned") {
  Tensor x = Tensor::from<float>({2, 3}, std::vector<float>{1, 2, 3, 4, 5, 6});
  CHECK(reinterpret_cast<std::uintptr_t>(x.data()) % 64 == 0);
  const Tensor alias = x, other = x.clone(), flat = x.reshape({6});
  x.values<float>()[4] = 50;
  CHECK(alias.values<float>()[4] == 50);
  CHECK(flat.values<float>()[4] == 50);
  CHECK(other.values<float>()[4] == 5);
  CHECK(error_of([&] { x.reshape({5}); }) == "a tensor (2, 3) cannot be seen as (5)");
  CHECK(error_of([&] { (void)x.values<std::int32_t>(); }) == "a tensor (2, 3) of f32 was read as i32");
  CHECK(error_of([] { Tensor::from<float>({3}, std::vector<float>{1, 2}); }) == "a tensor (3) has 3 elements, not 2");
  CHECK(Tensor().empty());
  CHECK(Tensor().values<float>().empty());
  CHECK_FALSE(Tensor::zeros({0, 4}).empty());
}

TEST_CASE("conversions keep what they can and refuse what they cannot") {
  const Tensor x = Tensor::from<float>({3}, std::vector<float>{0.5f, -3.0f, 1e6f});
  const Tensor half = x.to(DType::f16).to(DType::f32), brain = x.to(DType::bf16).to(DType::f32);
  CHECK(half.values<float>()[1] == -3.0f);
  CHECK(std::isinf(half.values<float>()[2]));
  CHECK(brain.values<float>()[2] == 999424.0f);
  CHECK(x.to(DType::f16).to(DType::bf16).values<std::uint16_t>()[0] == 0x3f00);
  const Tensor i = Tensor::from<std::int64_t>({2}, std::vector<std::int64_t>{255, 7});
  CHECK(i.to(DType::u8).values<std::uint8_t>()[0] == 255);
  CHECK(i.to(DType::i32).to(DType::i64).values<std::int64_t>()[1] == 7);
  const Tensor big = Tensor::from<std::int64_t>({2}, std::vector<std::int64_t>{1, 256});
  CHECK(error_of([&] { big.to(DType::u8); }) == "element 1 of a tensor (2) is 256, which u8 does not hold");
  CHECK(error_of([&] { x.to(DType::i32); }) == "a tensor (3) of f32 cannot be converted to i32");
}

TEST_CASE("channels move last and back, whatever the type") {
  std::vector<float> numbers(2 * 3 * 4 * 5);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = static_cast<float>(i);
  }
  const Tensor nchw = Tensor::from<float>({2, 3, 4, 5}, numbers);
  for (const DType dtype : {DType::f32, DType::f16}) {
    const Tensor nhwc = nchw_to_nhwc(nchw.to(dtype)).to(DType::f32);
    CHECK(nhwc.shape() == Shape{2, 4, 5, 3});
    int wrong = 0;
    for (int n = 0; n < 2; ++n) {
      for (int c = 0; c < 3; ++c) {
        for (int h = 0; h < 4; ++h) {
          for (int w = 0; w < 5; ++w) {
            const auto at = static_cast<std::size_t>(((n * 4 + h) * 5 + w) * 3 + c);
            wrong += nhwc.values<float>()[at] != static_cast<float>(((n * 3 + c) * 4 + h) * 5 + w);
          }
        }
      }
    }
    CHECK(wrong == 0);
    const Tensor back = nhwc_to_nchw(nhwc);
    CHECK(std::vector<float>(back.values<float>().begin(), back.values<float>().end()) == numbers);
  }
  const Tensor filter = filter_to_torch(filter_from_torch(nchw));
  CHECK(filter.shape() == nchw.shape());
  CHECK(std::vector<float>(filter.values<float>().begin(), filter.values<float>().end()) == numbers);
  CHECK(error_of([] { nchw_to_nhwc(Tensor::zeros({2, 3})); }).find("rank 4, not in (2, 3)") != std::string::npos);
}
