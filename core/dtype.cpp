#include "core/dtype.h"

#include <bit>

#include "kernels/error.h"

namespace weft {

std::size_t size_of(DType dtype) {
  switch (dtype) {
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
  fail_at(__FILE__, __LINE__, "not an element type");
}

std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::f16:
      return "f16";
    case DType::bf16:
      return "bf16";
    case DType::i32:
      return "i32";
    case DType::i64:
      return "i64";
    case DType::u8:
      return "u8";
  }
  fail_at(__FILE__, __LINE__, "not an element type");
}

namespace {

// value / 2^shift, to nearest, ties to even. shift is 1 ... 31.
std::uint32_t shift_right_rounding(std::uint32_t value, int shift) {
  const std::uint32_t kept = value >> shift, lost = value & ((1u << shift) - 1u), half = 1u << (shift - 1);
  return kept + (lost > half || (lost == half && (kept & 1u)) ? 1u : 0u);
}

}  // namespace

std::uint16_t float_to_f16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {  // NaN: the quiet bit keeps the fraction from becoming 0, which would be infinity
    return static_cast<std::uint16_t>(sign | 0x7e00u | (magnitude >> 13 & 0x1ffu));
  }
  if (magnitude >= 0x47800000u) {  // 65536 and above, infinity included
    return static_cast<std::uint16_t>(sign | 0x7c00u);
  }
  const int exponent = static_cast<int>(magnitude >> 23);
  if (exponent >= 113) {  // normal in binary16 (2^-14 and above): 13 bits go. A carry runs into the exponent, and from
                          // 65520 into infinity, as it should.
    return static_cast<std::uint16_t>(sign | shift_right_rounding(magnitude - (112u << 23), 13));
  }
  if (exponent < 102) {  // below 2^-25, half of the smallest subnormal
    return sign;
  }
  // Subnormal: a multiple of 2^-24. The float is significand * 2^(exponent - 150).
  const std::uint32_t significand = (magnitude & 0x7fffffu) | 0x800000u;
  return static_cast<std::uint16_t>(sign | shift_right_rounding(significand, 126 - exponent));
}

float f16_to_float(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 0x1fu, fraction = bits & 0x3ffu;
  if (exponent == 0x1fu) {
    return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13);
  }
  if (exponent == 0) {  // zero and subnormals: fraction * 2^-24, exact in float32
    const float value = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) | sign);
  }
  return std::bit_cast<float>(sign | (exponent + 112u) << 23 | fraction << 13);
}

std::uint16_t float_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return static_cast<std::uint16_t>(bits >> 16 | 0x40u);
  }
  const std::uint32_t sign = bits & 0x80000000u;
  return static_cast<std::uint16_t>(sign >> 16 | shift_right_rounding(bits & 0x7fffffffu, 16));
}

float bf16_to_float(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

}  // namespace weft
