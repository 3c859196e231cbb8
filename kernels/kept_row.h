#pragma once
// A row of a (rows, C) matrix that a block keeps in shared memory from when it reads it until the row's sums are known,
// for rows longer than registers hold (row_team.h). Packs of 16 bytes, laid as packs.h lays them: thread i takes packs
// i, i + blockDim.x, ... of the row, and puts each at the same place of dynamic shared memory. It alone looks there
// again, so there is no barrier for it; and neighbours' packs lie side by side, so there is no bank conflict.

#include <cstdint>

#include "kernels/launch_math.h"

namespace weft::WEFT_TARGET {

/// Threads of a block that keeps a long row, and so has an SM nearly for itself.
inline constexpr int kWideBlock = 1024;

/// A block of compute capability 9.0 may have 227 KiB, one of 12.0 only 99; the warps' sums want a little of it.
inline constexpr int64_t kMostKeptBytes = 224 * 1024;
inline constexpr const char* kKeptWhat = "rows of which 224 KiB at most are kept";

/// Bytes of shared memory for what is kept of a row, wherever it starts: of each element, in the type of `problem`,
/// `element_bytes` of one tensor or of several together. The first pack and the last may lie partly outside the row.
inline int64_t kept_bytes(const Problem& problem, double element_bytes) {
  const auto in_pack = static_cast<int64_t>(16 / width(problem));
  return (ceil_div(problem.extents[1], in_pack) + 1) * in_pack * static_cast<int64_t>(element_bytes);
}

inline bool fits_kept(const Problem& problem, double element_bytes) {
  return kept_bytes(problem, element_bytes) <= kMostKeptBytes;
}

/// Threads of the block that keeps a row: a wide one where each of its threads has a pack to take.
inline unsigned kept_block(const Problem& problem) {
  const auto in_wide_block = static_cast<int64_t>(kWideBlock * 16 / width(problem));
  return problem.extents[1] < in_wide_block ? kBlock : kWideBlock;
}

/// The same as LaunchConfig has it.
inline unsigned kept_shared_bytes(const Problem& problem, double element_bytes) {
  return static_cast<unsigned>(kept_bytes(problem, element_bytes));
}

}  // namespace weft::WEFT_TARGET
