#pragma once
// Names and sizes of the element types (kernels/dtype.h), and the two 16-bit floats on the host.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kernels/dtype.h"

namespace weft {

/// Bytes of one element.
std::size_t size_of(DType dtype);
/// "f32", "bf16", ...
std::string_view name_of(DType dtype);

/// IEEE 754 binary16 (1 sign, 5 exponent, 10 fraction bits) and bfloat16 (the upper half of a float32), as their bits.
/// To 16 bits: to nearest, ties to even; what is too large becomes infinity; a NaN stays one. Back: exact.
std::uint16_t float_to_f16(float value);
float f16_to_float(std::uint16_t bits);
std::uint16_t float_to_bf16(float value);
float bf16_to_float(std::uint16_t bits);

}  // namespace weft
