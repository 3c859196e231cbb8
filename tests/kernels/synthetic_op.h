#pragma once
// An op whose rungs need this or that device and do nothing: for tests of the choice among them.

#include "kernels/catalogue.h"
#include "tests/kernels/harness.h"

namespace weft::test {

inline void launch_nothing(const Problem&, void* const*, void*, Stream) {}

inline constexpr unsigned kF32 = 1u << static_cast<unsigned>(DType::f32);
inline constexpr unsigned kBf16 = 1u << static_cast<unsigned>(DType::bf16);

inline constexpr const char* kExtents[] = {"n", "flag"};
inline constexpr Rung kRungs[] = {
    {"plain", "Runs anywhere.", {.dtypes = kF32 | kBf16}, launch_nothing},
    {"mma", "mma.sync.", {.min_capability = 80, .dtypes = kBf16}, launch_nothing},
    {"wgmma",
     "Hopper's own, which nothing newer has.",
     {.min_capability = 90,
      .exact_capability = 90,
      .dtypes = kBf16,
      .takes = [](const Problem& p) { return p.extents[0] % 8 == 0; }},
     launch_nothing},
};
enum { plain, mma, wgmma };

inline Op synthetic_op() {
  Op op{};
  op.name = "synthetic";
  op.extent_names = kExtents;
  op.rungs = kRungs;
  return op;
}

}  // namespace weft::test
