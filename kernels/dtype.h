#pragma once
// Element types. float32 is the type of everything unless said otherwise.

#include <cstdint>

namespace weft {

enum class DType : std::uint8_t { f32, f16, bf16, i32, i64, u8 };

}  // namespace weft
