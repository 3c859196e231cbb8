// The judge is judged: what the harness must not let through.

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "kernels/error.h"
#include "kernels/ops.h"
#include "tests/kernels/harness.h"

namespace weft::test {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t kCount = 100;

// A small op, y = 2 x + 1, and rungs that get it wrong. Memory on simt is the host's, so a launcher can do the work.

Signature twice_signature(const Problem& problem) {
  return {2, {{"x", Role::input, problem.dtype, 1, {kCount}}, {"y", Role::output, problem.dtype, 1, {kCount}}}};
}

void twice_reference(const Problem&, double* const* operands, double* const*) {
  for (int i = 0; i < kCount; ++i) operands[1][i] = 2 * operands[0][i] + 1;
}

void twice(void* const* operands, std::int64_t count) {
  const auto* x = static_cast<const float*>(operands[0]);
  auto* y = static_cast<float*>(operands[1]);
  for (std::int64_t i = 0; i < count; ++i) y[i] = 2 * x[i] + 1;
}

Op twice_op() {
  Op op{};
  op.name = "twice";
  op.signature = twice_signature;
  op.reference = twice_reference;
  return op;
}

/// Runs a launcher on random input; returns all that the harness has to say against it.
std::vector<std::string> verdict(void (*launch)(const Problem&, void* const*, void*, Stream)) {
  const Op op = twice_op();
  const Problem problem{};
  const auto operands = draw_operands({}, op, problem, Draw::random, true);
  const Rung rung{"synthetic", "", {}, launch};
  const Outcome outcome = run_rung({simt::target()}, rung, problem, op.signature(problem), operands);
  auto lines = compare(op, problem, op.signature(problem), evaluate(op, problem, operands), outcome, false);
  lines.insert(lines.end(), outcome.complaints.begin(), outcome.complaints.end());
  return lines;
}

TEST_CASE("harness: a right answer passes") {
  CHECK(verdict([](const Problem&, void* const* o, void*, Stream) { twice(o, kCount); }).empty());
}

TEST_CASE("harness: an element left out is NaN and fails") {
  const auto lines = verdict([](const Problem&, void* const* o, void*, Stream) { twice(o, kCount - 1); });
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].find("y[99] = ") == 0);
}

TEST_CASE("harness: an error of a few units in the last place passes, one of a hundred fails") {
  CHECK(verdict([](const Problem&, void* const* o, void*, Stream) {
          twice(o, kCount);
          static_cast<float*>(o[1])[7] *= 1 + 0x1p-23f;
        }).empty());
  CHECK(!verdict([](const Problem&, void* const* o, void*, Stream) {
           twice(o, kCount);
           static_cast<float*>(o[1])[7] *= 1 + 0x1p-17f;
         }).empty());
}

TEST_CASE("harness: a changed input is seen") {
  CHECK(!verdict([](const Problem&, void* const* o, void*, Stream) {
           twice(o, kCount);
           static_cast<float*>(o[0])[3] += 1;
         }).empty());
}

// The same op with y's rows, 10 of 10, a pitch of 12 apart, and x's of 11.

Signature strided_signature(const Problem& problem) {
  Signature signature{
      2, {{"x", Role::input, problem.dtype, 2, {10, 10}}, {"y", Role::output, problem.dtype, 2, {10, 10}}}};
  signature.operands[0].row_pitch = 11;
  signature.operands[1].row_pitch = 12;
  return signature;
}

std::vector<std::string> strided_verdict(void (*launch)(const Problem&, void* const*, void*, Stream)) {
  Op op = twice_op();
  op.signature = strided_signature;
  const Problem problem{};
  const auto operands = draw_operands({}, op, problem, Draw::random, true);
  const Outcome outcome =
      run_rung({simt::target()}, {"synthetic", "", {}, launch}, problem, op.signature(problem), operands);
  auto lines = compare(op, problem, op.signature(problem), evaluate(op, problem, operands), outcome, false);
  lines.insert(lines.end(), outcome.complaints.begin(), outcome.complaints.end());
  return lines;
}

void twice_strided(void* const* operands) {
  for (int i = 0; i < 10; ++i)
    for (int j = 0; j < 10; ++j)
      static_cast<float*>(operands[1])[i * 12 + j] = 2 * static_cast<const float*>(operands[0])[i * 11 + j] + 1;
}

TEST_CASE("harness: operands with a row pitch, and what lies between their rows") {
  CHECK(strided_verdict([](const Problem&, void* const* o, void*, Stream) { twice_strided(o); }).empty());
  // Rows taken for dense.
  CHECK(!strided_verdict([](const Problem&, void* const* o, void*, Stream) { twice(o, kCount); }).empty());
  // A write between two rows, of the output and of the input.
  CHECK(strided_verdict([](const Problem&, void* const* o, void*, Stream) {
          twice_strided(o);
          static_cast<float*>(o[1])[3 * 12 + 10] = 0;
        }) == std::vector<std::string>{"wrote between the rows of y"});
  CHECK(strided_verdict([](const Problem&, void* const* o, void*, Stream) {
          twice_strided(o);
          static_cast<float*>(o[0])[9 * 11 - 1] = 0;
        }) == std::vector<std::string>{"wrote between the rows of x"});
  // What is read there is NaN.
  CHECK(!strided_verdict([](const Problem&, void* const* o, void*, Stream) {
           twice_strided(o);
           static_cast<float*>(o[1])[0] += 0 * static_cast<const float*>(o[0])[10];
         }).empty());
}

TEST_CASE("harness: an exception is seen") {
  CHECK(!verdict([](const Problem&, void* const* o, void*, Stream) {
           twice(o, kCount);
           fail("no");
         }).empty());
}

#if !defined(__SANITIZE_ADDRESS__)  // which ends the program there, with a report of its own
TEST_CASE("harness: a write before or past an operand is seen") {
  CHECK(!verdict([](const Problem&, void* const* o, void*, Stream) { twice(o, kCount + 1); }).empty());
  CHECK(!verdict([](const Problem&, void* const* o, void*, Stream) {
           twice(o, kCount);
           static_cast<float*>(o[1])[-1] = 0;
         }).empty());
}
#endif

TEST_CASE("harness: rounding to the types of 16 and 32 bits") {
  CHECK(round_to(DType::bf16, 1.0 + 0x1p-8) == 1.0);  // a tie goes to the even neighbour
  CHECK(round_to(DType::bf16, 1.0 + 3 * 0x1p-8) == 1.0 + 0x1p-6);
  CHECK(round_to(DType::bf16, 1.0 + 0x1p-8 + 0x1p-30) == 1.0 + 0x1p-7);
  CHECK(round_to(DType::bf16, 3.4e38) == kInfinity);
  CHECK(round_to(DType::f16, 65519.0) == 65504.0);
  CHECK(round_to(DType::f16, -65520.0) == -kInfinity);
  CHECK(round_to(DType::f16, 0x1p-24) == 0x1p-24);
  CHECK(round_to(DType::f16, 0x1p-25) == 0.0);
  CHECK(round_to(DType::f32, 1.0 / 3) == static_cast<double>(1.0f / 3));
  CHECK(round_to(DType::f32, 0x1.8p-149) == 0x1p-148);
  const Values values{0.0, -0.0, 1.0, -2.5, 0.333984375, 65504.0, 0x1p-14, 0x1p-24, -kInfinity};
  for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
    const Values back = decode(type, encode(type, values));
    for (std::size_t i = 0; i < values.size(); ++i) {
      CHECK(back[i] == round_to(type, values[i]));
      CHECK(std::signbit(back[i]) == std::signbit(values[i]));
    }
  }
  CHECK(std::isnan(decode(DType::f16, encode(DType::f16, {std::nan("")}))[0]));
  CHECK(std::isnan(decode(DType::bf16, encode(DType::bf16, {std::nan("")}))[0]));
}

TEST_CASE("conv2d: what makes no sense is refused with the extents") {
  using extents::Conv2d;
  const Op* op = find_op(simt::target().catalogue(), "conv2d");
  REQUIRE(op != nullptr);
  const auto refusal = [&](int extent, std::int64_t value) {
    Problem problem{{2, 9, 9, 4, 6, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0}};
    problem.extents[extent] = value;
    try {
      op->check(problem);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(refusal(Conv2d::N, 2).empty());
  CHECK(refusal(Conv2d::groups, 2).empty());
  CHECK(refusal(Conv2d::groups, 4).find("groups must divide C and K") != std::string::npos);
  CHECK(refusal(Conv2d::groups, 3).find("C=4") != std::string::npos);
  CHECK(refusal(Conv2d::groups, 0).find("groups must be at least 1") != std::string::npos);
  CHECK(refusal(Conv2d::stride_h, 0).find("stride_h must be at least 1") != std::string::npos);
  CHECK(refusal(Conv2d::pad_w, -1).find("pad_w must be at least 0") != std::string::npos);
  CHECK(refusal(Conv2d::R, 12).find("larger than the padded picture") != std::string::npos);
}

}  // namespace
}  // namespace weft::test
