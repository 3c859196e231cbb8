#include "tests/kernels/harness.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <numeric>

#include "kernels/error.h"
#include "kernels/philox.h"

namespace weft::test {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// Significand bits (the leading one included) and the exponent of the smallest normal number.
struct Format {
  int bits, min_exponent, max_exponent;
};

Format format_of(DType type) {
  switch (type) {
    case DType::f32:
      return {24, -126, 127};
    case DType::bf16:
      return {8, -126, 127};
    case DType::f16:
      return {11, -14, 15};
    default:
      fail("not a floating-point type");
  }
}

void fill_operand(const Operand& operand, Draw draw, Philox& random, Values& values) {
  const auto small = [&](int from, int to) { return from + static_cast<int>(random.below(to - from + 1)); };
  const bool integers = draw == Draw::integers;
  if (operand.fill == Fill::distinct) {
    // A random order of equally spaced values. As integers they wrap at 100, so that bfloat16 holds them: ties occur.
    const int n = static_cast<int>(values.size());
    std::iota(values.begin(), values.end(), 0.0);
    for (int i = n - 1; i > 0; --i) std::swap(values[i], values[random.below(i + 1)]);
    for (double& value : values)
      value = integers ? std::fmod(value, 201) - 100 : (value - 0.5 * (n - 1) + 0.25) * 0.013;
    return;
  }
  for (double& value : values) {
    switch (operand.fill) {
      case Fill::normal:
        value = integers ? small(-3, 3) : random.normal();
        break;
      case Fill::away:
        value = integers ? small(1, 3) : 0.1 + std::fabs(random.normal());
        if (random.below(2) == 0) value = -value;
        break;
      case Fill::positive:
        value = integers ? small(1, 3) : 0.5 + random.uniform();
        break;
      case Fill::labels:
        value = random.below(static_cast<std::uint32_t>(operand.limit));
        break;
      case Fill::pixels:
        value = random.below(256);
        break;
      case Fill::distinct:
      case Fill::derived:
        break;
    }
  }
}

std::uint64_t seed_of(const Problem& problem) {
  std::uint64_t seed = 20240229;
  for (std::int64_t extent : problem.extents) seed = seed * 1000003 + static_cast<std::uint64_t>(extent);
  return seed;
}

/// Fills what the forward op computes for its gradient, from the same inputs where both have an operand of that name.
void derive(Catalogue catalogue, const Op& op, const Problem& problem, const Signature& signature, Draw draw,
            bool rounded, std::vector<Values>& values) {
  const Op* forward = op.gradient_of ? find_op(catalogue, op.gradient_of) : nullptr;
  if (forward == nullptr) fail(fmt::format("{}: a derived operand needs gradient_of to name an op", op.name));
  const Signature theirs = forward->signature(problem);
  std::vector<Values> forward_values = draw_operands(catalogue, *forward, problem, draw, rounded);
  for (int i = 0; i < theirs.count; ++i) {
    const int mine = find_operand(signature, theirs.operands[i].name);
    if (theirs.operands[i].role == Role::output || mine < 0 || signature.operands[mine].fill == Fill::derived) continue;
    if (theirs.operands[i].role == Role::inout) continue;
    forward_values[i] = values[mine];
  }
  const Truth truth = evaluate(*forward, problem, forward_values);
  for (int i = 0; i < signature.count; ++i) {
    const Operand& operand = signature.operands[i];
    if (operand.role != Role::input || operand.fill != Fill::derived || !operand.present) continue;
    const int source = find_operand(theirs, operand.name);
    if (source < 0) fail(fmt::format("{}: {} has no operand {} to derive", op.name, forward->name, operand.name));
    values[i] = truth.operands[source];
  }
}

}  // namespace

std::size_t bytes_of(DType type) {
  switch (type) {
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::f16:
    case DType::bf16:
      return 2;
    case DType::i64:
      return 8;
    case DType::u8:
      return 1;
  }
  fail("unknown type");
}

bool is_float(DType type) {
  return type == DType::f32 || type == DType::f16 || type == DType::bf16;
}

const char* name_of(DType type) {
  constexpr const char* kNames[] = {"f32", "f16", "bf16", "i32", "i64", "u8"};
  return kNames[static_cast<int>(type)];
}

double unit_roundoff(DType type) {
  return std::ldexp(1.0, -format_of(type).bits);
}

double unit_of(const Op& op, const Problem& problem, const Operand& output) {
  if (!is_float(output.dtype)) return 0;
  const double given = op.bound.unit             ? op.bound.unit(problem)
                       : is_float(problem.dtype) ? unit_roundoff(problem.dtype)
                                                 : 0;
  return std::max(unit_roundoff(output.dtype), given);
}

double round_to(DType type, double value) {
  if (!is_float(type) || value == 0 || !std::isfinite(value)) return value;
  const Format format = format_of(type);
  const int exponent = std::max(std::ilogb(value), format.min_exponent);
  const double quantum = std::ldexp(1.0, exponent - format.bits + 1);
  const double rounded = std::nearbyint(value / quantum) * quantum;
  const double largest = std::ldexp(2.0 - std::ldexp(1.0, 1 - format.bits), format.max_exponent);
  return std::fabs(rounded) > largest ? std::copysign(std::numeric_limits<double>::infinity(), value) : rounded;
}

std::size_t element_count(const Operand& operand) {
  std::size_t count = 1;
  for (int i = 0; i < operand.rank; ++i) count *= static_cast<std::size_t>(operand.dims[i]);
  return count;
}

Bytes encode(DType type, const Values& values) {
  Bytes bytes(values.size() * bytes_of(type));
  const auto store = [&](std::size_t i, auto value) { std::memcpy(&bytes[i * sizeof value], &value, sizeof value); };
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double value = round_to(type, values[i]);
    switch (type) {
      case DType::f32:
        store(i, static_cast<float>(value));
        break;
      case DType::bf16: {
        const auto wide = static_cast<float>(value);
        std::uint32_t bits;
        std::memcpy(&bits, &wide, sizeof bits);
        store(i, static_cast<std::uint16_t>(std::isnan(value) ? 0x7FC0 : bits >> 16));
        break;
      }
      case DType::f16: {
        const std::uint16_t sign = std::signbit(value) ? 0x8000 : 0;
        std::uint16_t rest = 0;
        if (std::isnan(value)) {
          rest = 0x7E00;
        } else if (std::isinf(value)) {
          rest = 0x7C00;
        } else if (std::fabs(value) < 0x1p-14) {
          rest = static_cast<std::uint16_t>(std::fabs(value) * 0x1p24);
        } else {
          const int exponent = std::ilogb(value);
          rest = static_cast<std::uint16_t>(((exponent + 15) << 10) +
                                            (std::ldexp(std::fabs(value), 10 - exponent) - 1024));
        }
        store(i, static_cast<std::uint16_t>(sign | rest));
        break;
      }
      case DType::i32:
        store(i, static_cast<std::int32_t>(value));
        break;
      case DType::i64:
        store(i, static_cast<std::int64_t>(value));
        break;
      case DType::u8:
        store(i, static_cast<std::uint8_t>(value));
        break;
    }
  }
  return bytes;
}

Values decode(DType type, const Bytes& bytes) {
  Values values(bytes.size() / bytes_of(type));
  const auto load = [&](std::size_t i, auto value) {
    std::memcpy(&value, &bytes[i * sizeof value], sizeof value);
    return value;
  };
  for (std::size_t i = 0; i < values.size(); ++i) {
    switch (type) {
      case DType::f32:
        values[i] = static_cast<double>(load(i, float{}));
        break;
      case DType::bf16: {
        const std::uint32_t bits = static_cast<std::uint32_t>(load(i, std::uint16_t{})) << 16;
        float wide;
        std::memcpy(&wide, &bits, sizeof wide);
        values[i] = static_cast<double>(wide);
        break;
      }
      case DType::f16: {
        const auto bits = load(i, std::uint16_t{});
        const int exponent = (bits >> 10) & 31, fraction = bits & 1023;
        double value = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
        if (exponent == 31) value = fraction ? kNaN : std::numeric_limits<double>::infinity();
        values[i] = bits & 0x8000 ? -value : value;
        break;
      }
      case DType::i32:
        values[i] = load(i, std::int32_t{});
        break;
      case DType::i64:
        values[i] = static_cast<double>(load(i, std::int64_t{}));
        break;
      case DType::u8:
        values[i] = load(i, std::uint8_t{});
        break;
    }
  }
  return values;
}

const Op* find_op(Catalogue catalogue, const char* name) {
  for (const Op* op : catalogue)
    if (std::strcmp(op->name, name) == 0) return op;
  return nullptr;
}

bool op_selected(const char* name) {
  const char* list = std::getenv("WEFT_OPS");
  return list == nullptr || (std::string(",") + list + ",").find(std::string(",") + name + ",") != std::string::npos;
}

int find_operand(const Signature& signature, const std::string& name) {
  for (int i = 0; i < signature.count; ++i)
    if (name == signature.operands[i].name) return i;
  return -1;
}

std::vector<Values> draw_operands(Catalogue catalogue, const Op& op, const Problem& problem, Draw draw, bool rounded) {
  const Signature signature = op.signature(problem);
  std::vector<Values> values(static_cast<std::size_t>(signature.count));
  bool derives = false;
  for (int i = 0; i < signature.count; ++i) {
    const Operand& operand = signature.operands[i];
    if (!operand.present) continue;
    values[i].assign(element_count(operand), kNaN);
    if (operand.role == Role::output) continue;
    derives |= operand.fill == Fill::derived;
    // An operand's own name is its stream of numbers, so that a gradient sees its forward op's inputs.
    Philox random(seed_of(problem), subsequence_of(operand.name));
    fill_operand(operand, draw, random, values[i]);
  }
  if (derives) derive(catalogue, op, problem, signature, draw, rounded, values);
  for (int i = 0; rounded && i < signature.count; ++i)
    for (double& value : values[i]) value = round_to(signature.operands[i].dtype, value);
  return values;
}

Truth evaluate(const Op& op, const Problem& problem, const std::vector<Values>& operands) {
  const Signature signature = op.signature(problem);
  Truth truth{operands, std::vector<Values>(operands.size())};
  double* values[kMaxOperands] = {};
  double* magnitudes[kMaxOperands] = {};
  for (int i = 0; i < signature.count; ++i) {
    if (!signature.operands[i].present) continue;
    values[i] = truth.operands[i].data();
    if (signature.operands[i].role == Role::input) continue;
    truth.magnitudes[i].assign(truth.operands[i].size(), kNaN);
    magnitudes[i] = truth.magnitudes[i].data();
  }
  op.reference(problem, values, magnitudes);
  for (int i = 0; i < signature.count; ++i)
    for (std::size_t j = 0; j < truth.magnitudes[i].size(); ++j)
      if (std::isnan(truth.magnitudes[i][j])) truth.magnitudes[i][j] = std::fabs(truth.operands[i][j]);
  return truth;
}

std::vector<std::string> compare(const Op& op, const Problem& problem, const Signature& signature, const Truth& truth,
                                 const Outcome& outcome, bool exactly, double factor) {
  constexpr std::size_t kLines = 4;
  std::vector<std::string> lines;
  const double terms = op.bound.terms ? static_cast<double>(op.bound.terms(problem)) : 1.0;
  for (int i = 0; i < signature.count; ++i) {
    const Operand& operand = signature.operands[i];
    if (operand.role == Role::input || !operand.present) continue;
    const Values got = decode(operand.dtype, outcome.operands[i]);
    const bool integer = !is_float(operand.dtype);
    const double unit = unit_of(op, problem, operand);
    std::size_t wrong = 0;
    for (std::size_t j = 0; j < got.size(); ++j) {
      const double exact = truth.operands[i][j];
      const double wanted = exactly || integer ? round_to(operand.dtype, exact) : exact;
      const double bound =
          exactly || integer ? 0 : factor * op.bound.c * unit * std::sqrt(terms) * truth.magnitudes[i][j];
      // An infinity must be met by the same infinity: their difference is NaN, which fails like any other NaN.
      const bool same_infinity = std::isinf(wanted) && wanted == got[j];
      if (same_infinity || std::fabs(got[j] - wanted) <= bound) continue;
      if (wrong++ < kLines && lines.size() < 3 * kLines)
        lines.push_back(
            fmt::format("{}[{}] = {:.9g}, should be {:.9g} within {:.3g}", operand.name, j, got[j], wanted, bound));
    }
    if (wrong > kLines)
      lines.push_back(fmt::format("{}: {} of {} elements are wrong", operand.name, wrong, got.size()));
  }
  return lines;
}

}  // namespace weft::test
