#pragma once
// The arithmetic around a launch, on the host: how many blocks, which element type, which checks. Kernels themselves do
// not need this file.

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "kernels/catalogue.h"
#include "kernels/element.h"
#include "kernels/error.h"
#include "kernels/target.h"

namespace weft::WEFT_TARGET {

/// Threads of a block where nothing speaks for another number: 8 warps, of which an SM holds 8 such blocks.
inline constexpr int kBlock = 256;

/// Blocks that give each of `items` a place, `per_block` to a block. A grid has at most 2^31 - 1 blocks in x: with 256
/// items to a block that is 2^39 of them, more than any device's memory, so kernels do not loop over the grid.
inline unsigned blocks_for(int64_t items, int64_t per_block) {
  const int64_t blocks = ceil_div(items, per_block);
  if (blocks < 1 || blocks > 2147483647)
    fail("a launch over " + std::to_string(items) + " items, " + std::to_string(per_block) +
         " to a block, needs between 1 and 2147483647 blocks");
  return static_cast<unsigned>(blocks);
}

/// For Needs::dtypes.
constexpr unsigned bit(DType dtype) {
  return 1u << static_cast<unsigned>(dtype);
}
inline constexpr unsigned kFloats = bit(DType::f32) | bit(DType::bf16);

/// Bytes of one element of a problem's type, for Op::bytes.
inline double width(const Problem& problem) {
  return problem.dtype == DType::bf16 ? 2 : 4;
}

/// Calls run<float>() or run<bfloat16>().
template <class Run>
void with_type(DType dtype, Run&& run) {
  if (dtype == DType::bf16)
    run.template operator()<bfloat16>();
  else
    run.template operator()<float>();
}

/// An operand as a pointer to T (or to const T).
template <class T>
T* as(void* operand) {
  return static_cast<T*>(operand);
}

/// True where a Pack can be read at each of these addresses.
inline bool aligned(std::initializer_list<const void*> addresses) {
  for (const void* address : addresses)
    if (reinterpret_cast<std::uintptr_t>(address) % 16 != 0) return false;
  return true;
}

/// A rung's place in its op's array, by its name, so that a choice does not depend on their order.
template <std::size_t kCount>
constexpr int rung_named(const Rung (&rungs)[kCount], std::string_view name) {
  for (std::size_t i = 0; i < kCount; ++i)
    if (rungs[i].name == name) return static_cast<int>(i);
  fail("there is no rung " + std::string(name));
}

/// Refuses a call in which one of the first `count` extents is below 1: there is nothing to launch over.
inline void require_positive(const char* op, std::span<const char* const> names, const Problem& problem) {
  for (std::size_t i = 0; i < names.size(); ++i)
    if (problem.extents[i] < 1)
      fail(std::string(op) + ": " + names[i] + " is " + std::to_string(problem.extents[i]) +
           ", and must be at least 1");
}

}  // namespace weft::WEFT_TARGET
