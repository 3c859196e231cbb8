#pragma once
// Names and sizes of the element types (kernels/dtype.h).

#include <cstddef>
#include <string_view>

#include "kernels/dtype.h"

namespace weft {

/// Bytes of one element.
std::size_t size_of(DType dtype);
/// "f32", "bf16", ...
std::string_view name_of(DType dtype);

}  // namespace weft
