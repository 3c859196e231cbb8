#pragma once
// A row of a (rows, C) matrix that a team of threads holds in registers: some lanes of a warp, a warp, or a block,
// whatever it takes. Each thread holds kHeld elements as floats, packs of 16 bytes, so that neighbouring threads load
// neighbouring packs; rows of a few classes lie side by side, so a warp of several teams still does. A team reads its
// row once, however often it is then looked at.

#include <cstdint>

#include "kernels/launch_math.h"
#include "kernels/online_softmax.h"
#include "kernels/packs.h"
#include "kernels/reduce.h"

namespace weft::WEFT_TARGET {

/// kThreads work together, `kTeams` such teams to a block, and each thread holds kHeld elements of its row.
template <int kThreads_, int kTeams_, int kHeld_>
struct RowTeam {
  static constexpr int kThreads = kThreads_, kTeams = kTeams_, kHeld = kHeld_;
  static constexpr int kBlockThreads = kThreads * kTeams;
  static_assert((kThreads <= 32 && 32 % kThreads == 0) || kTeams == 1, "a team is part of a warp, or a whole block");

  /// Of a thread, among the team's.
  __device__ static int rank() { return static_cast<int>(threadIdx.x % kThreads); }
  __device__ static int64_t row() { return int64_t{blockIdx.x} * kTeams + threadIdx.x / kThreads; }
  /// C, or 0 where there is no such row: a team without one stays, for the others of its warp want its lanes.
  __device__ static int64_t length(int64_t rows, int64_t C) { return row() < rows ? C : 0; }

  /// Over the team, in every thread. All threads of the block must call: those of a team, and of a warp, together.
  __device__ static float sum(float value) {
    if constexpr (kThreads > 32) {
      return block_sum(value);
    } else {
      for (int mask = kThreads / 2; mask > 0; mask /= 2) value += __shfl_xor_sync(kWholeWarp, value, mask);
      return value;
    }
  }
  __device__ static MaxSum merge(MaxSum value) {
    if constexpr (kThreads > 32) {
      return block_merge(value);
    } else {
      for (int mask = kThreads / 2; mask > 0; mask /= 2)
        value = weft::WEFT_TARGET::merge(
            value, {__shfl_xor_sync(kWholeWarp, value.maximum, mask), __shfl_xor_sync(kWholeWarp, value.sum, mask)});
      return value;
    }
  }
};

/// The elements of a row that the calling thread holds. What lies outside the row is `outside`.
template <class Team, class T>
struct HeldRow {
  static constexpr int kSize = Pack<T>::kSize, kPacks = Team::kHeld / kSize;
  static_assert(Team::kHeld % kSize == 0);
  float values[Team::kHeld];

  /// All loads are issued before the first of them is waited for.
  __device__ static HeldRow load(const T* row, const Packing<T>& packing, int64_t C, float outside) {
    return load_beside(row, packing, C, outside);
  }

  /// The same columns of a row of another type, as wide as T or wider: of bfloat16 logits and their float targets, say.
  template <class U>
  __device__ static HeldRow load_beside(const U* row, const Packing<T>& packing, int64_t C, float outside) {
    constexpr int kWide = Pack<U>::kSize, kLoads = kPacks * kSize / kWide;
    static_assert(kSize % kWide == 0);
    Pack<U> packs[kLoads];
#pragma unroll
    for (int k = 0; k < kLoads; ++k) packs[k] = load_ragged(row, column(packing, k * kWide), C, outside);
    HeldRow held;
#pragma unroll
    for (int k = 0; k < kLoads; ++k)
#pragma unroll
      for (int e = 0; e < kWide; ++e) held.values[k * kWide + e] = to_float(packs[k].values[e]);
    return held;
  }

  __device__ void store(T* row, const Packing<T>& packing, int64_t C) const {
#pragma unroll
    for (int k = 0; k < kPacks; ++k) {
      Pack<T> pack;
#pragma unroll
      for (int e = 0; e < kSize; ++e) pack.values[e] = from_float<T>(values[k * kSize + e]);
      store_ragged(row, first(packing, k), C, pack);
    }
  }

  /// The column of element i of those held here; it may lie outside [0, C).
  __device__ static int64_t column(const Packing<T>& packing, int i) {
    return first(packing, i / kSize) + i % kSize;
  }

 private:
  __device__ static int64_t first(const Packing<T>& packing, int k) {
    return packing.first(int64_t{k} * Team::kThreads + Team::rank());
  }
};

/// The longest row that the largest team of with_row_team() holds, wherever it starts.
inline constexpr int64_t kLongestHeldRow = 1024 * 16 - 8;

inline constexpr int64_t kRagged = 7;  // places of the first pack that may lie before the row

/// Calls run<Team>() for the fewest lanes, 8 elements each, that hold a row of C elements, wherever it starts, and says
/// whether it did: not where that is a whole warp.
template <class Run>
bool with_part_of_warp(int64_t C, Run&& run) {
  const int64_t places = C + kRagged;
  if (places <= 2 * 8)
    run.template operator()<RowTeam<2, 128, 8>>();
  else if (places <= 4 * 8)
    run.template operator()<RowTeam<4, 64, 8>>();
  else if (places <= 8 * 8)
    run.template operator()<RowTeam<8, 32, 8>>();
  else if (places <= 16 * 8)
    run.template operator()<RowTeam<16, 16, 8>>();
  return places <= 16 * 8;
}

/// Calls run<Team>() for the smallest team that holds a row of C elements, wherever it starts. Two rows held at once
/// (softmax's gradient) are 64 registers a thread at most, and 32 where a block has 1024 threads, which may have 64.
template <class Run>
void with_row_team(int64_t C, Run&& run) {
  if (with_part_of_warp(C, run)) return;
  if (C + kRagged <= 32 * 8)
    run.template operator()<RowTeam<32, 8, 8>>();
  else if (C + kRagged <= 32 * 32)
    run.template operator()<RowTeam<32, 8, 32>>();
  else if (C + kRagged <= 256 * 32)
    run.template operator()<RowTeam<256, 1, 32>>();
  else
    run.template operator()<RowTeam<1024, 1, 16>>();
}

inline bool fits_row_team(const Problem& problem) {
  return problem.extents[1] <= kLongestHeldRow;
}

}  // namespace weft::WEFT_TARGET
