#pragma once
// A row of a (rows, C) matrix that a team of threads holds in registers: a warp where it fits, else a block. Each
// thread holds kHeld elements as floats, packs of 16 bytes, so that neighbouring threads load neighbouring packs. A
// team reads its row once, however often it is then looked at.

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
  static_assert(kThreads == 32 || kTeams == 1, "a team is a warp, or a whole block");

  /// Of a thread, among the team's.
  __device__ static int rank() { return static_cast<int>(threadIdx.x % kThreads); }
  __device__ static int64_t row() { return int64_t{blockIdx.x} * kTeams + threadIdx.x / kThreads; }

  /// Over the team, in every thread. All of its threads must call.
  __device__ static float sum(float value) {
    if constexpr (kThreads == 32)
      return warp_sum(value);
    else
      return block_sum(value);
  }
  __device__ static MaxSum merge(const MaxSum& value) {
    if constexpr (kThreads == 32)
      return warp_merge(value);
    else
      return block_merge(value);
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

/// The longest row that the largest team of teams_of() holds, wherever it starts.
inline constexpr int64_t kLongestHeldRow = 1024 * 16 - 8;

/// Calls run<Team>() for the smallest team that holds a row of C elements, wherever it starts. Two rows held at once
/// (softmax's gradient) are 64 registers a thread at most, and 32 where a block has 1024 threads, which may have 64.
template <class Run>
void with_row_team(int64_t C, Run&& run) {
  constexpr int64_t kRagged = 7;  // places of the first pack that may lie before the row
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
