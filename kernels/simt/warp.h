#pragma once
// What the 32 lanes of a warp do together: shuffles, votes, matches, reductions. A collective waits for the lanes of
// its mask that have not left the kernel; what CUDA leaves undefined (reading a lane that takes no part, a mask without
// the caller) is an error here.

#include <bit>
#include <cstdint>
#include <cstring>

#include "kernels/simt/sync.h"

namespace weft::simt {

/// What a lane brings to a shuffle: any type of up to 8 bytes travels as bits.
struct ShuffleArgument {
  std::uint64_t value;
  std::uint64_t result;
  unsigned source;  // the lane to read
};

/// Gives each lane the value of its source lane. Throws weft::Error where that one takes no part.
void complete_shuffle(void* const* arguments, unsigned lanes);

template <class T>
T shuffle(const char* what, unsigned mask, T value, unsigned source, Site site) {
  static_assert(sizeof(T) <= 8);
  ShuffleArgument argument{0, 0, source};
  std::memcpy(&argument.value, &value, sizeof value);
  warp_collective(what, mask, &argument, complete_shuffle, site);
  std::memcpy(&value, &argument.result, sizeof value);
  return value;
}

/// The lane `source` of the caller's segment of `width` lanes, modulo the width.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, Site site = Site::here()) {
  const unsigned segment = lane_index() & ~(static_cast<unsigned>(width) - 1);
  return shuffle("__shfl_sync", mask, value,
                 segment | (static_cast<unsigned>(source) & (static_cast<unsigned>(width) - 1)), site);
}

/// The lane `delta` below the caller; the caller's own value where that lies outside its segment.
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, Site site = Site::here()) {
  const unsigned lane = lane_index();
  const unsigned within = lane & (static_cast<unsigned>(width) - 1);
  return shuffle("__shfl_up_sync", mask, value, within >= delta ? lane - delta : lane, site);
}

/// The lane `delta` above the caller; the caller's own value where that lies outside its segment.
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, Site site = Site::here()) {
  const unsigned lane = lane_index();
  const unsigned within = lane & (static_cast<unsigned>(width) - 1);
  return shuffle("__shfl_down_sync", mask, value, within + delta < static_cast<unsigned>(width) ? lane + delta : lane,
                 site);
}

/// The lane whose index is the caller's exclusive-or lane_mask. A segment may read its own lanes and those below; a
/// lane above its segment gives the caller's own value.
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, Site site = Site::here()) {
  const unsigned lane = lane_index();
  const unsigned source = lane ^ static_cast<unsigned>(lane_mask);
  const unsigned end = (lane & ~(static_cast<unsigned>(width) - 1)) + static_cast<unsigned>(width);
  return shuffle("__shfl_xor_sync", mask, value, source < end ? source : lane, site);
}

/// What a lane brings to a vote, a match or a reduction.
struct VoteArgument {
  std::uint64_t value;
  std::uint64_t result;
};

/// Waits for the mask's lanes and gives each combine(values of all, lanes).
template <class Combine>
void complete_vote(void* const* arguments, unsigned lanes) {
  std::uint64_t values[32] = {};
  for (unsigned rest = lanes; rest; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    values[lane] = static_cast<VoteArgument*>(arguments[lane])->value;
  }
  for (unsigned rest = lanes; rest; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    static_cast<VoteArgument*>(arguments[lane])->result = Combine()(values, lanes, lane);
  }
}

template <class Combine>
std::uint64_t vote(const char* what, unsigned mask, std::uint64_t value, Site site) {
  VoteArgument argument{value, 0};
  warp_collective(what, mask, &argument, complete_vote<Combine>, site);
  return argument.result;
}

/// The lanes whose predicate is not 0.
struct Ballot {
  std::uint64_t operator()(const std::uint64_t* values, unsigned lanes, int) const {
    unsigned set = 0;
    for (unsigned rest = lanes; rest; rest &= rest - 1) {
      const int lane = std::countr_zero(rest);
      if (values[lane]) set |= 1u << lane;
    }
    return set;
  }
};

inline unsigned __ballot_sync(unsigned mask, int predicate, Site site = Site::here()) {
  return static_cast<unsigned>(vote<Ballot>("__ballot_sync", mask, predicate != 0, site));
}
inline int __any_sync(unsigned mask, int predicate, Site site = Site::here()) {
  return vote<Ballot>("__any_sync", mask, predicate != 0, site) != 0;
}
inline int __all_sync(unsigned mask, int predicate, Site site = Site::here()) {
  return vote<Ballot>("__all_sync", mask, predicate == 0, site) == 0;
}

/// The lanes that brought the caller's value.
struct Match {
  std::uint64_t operator()(const std::uint64_t* values, unsigned lanes, int self) const {
    unsigned same = 0;
    for (unsigned rest = lanes; rest; rest &= rest - 1) {
      const int lane = std::countr_zero(rest);
      if (values[lane] == values[self]) same |= 1u << lane;
    }
    return same;
  }
};

template <class T>
unsigned __match_any_sync(unsigned mask, T value, Site site = Site::here()) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return static_cast<unsigned>(vote<Match>("__match_any_sync", mask, bits, site));
}

/// The lanes that took part and *predicate 1 where all brought one value, else 0 and 0.
struct MatchAll {
  std::uint64_t operator()(const std::uint64_t* values, unsigned lanes, int self) const {
    return Match()(values, lanes, self) == lanes ? lanes : 0;
  }
};

template <class T>
unsigned __match_all_sync(unsigned mask, T value, int* predicate, Site site = Site::here()) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  const auto same = static_cast<unsigned>(vote<MatchAll>("__match_all_sync", mask, bits, site));
  *predicate = same != 0;
  return same;
}

/// Folds the lanes' values, as T, from the lowest lane up.
template <class T, class Fold>
struct Reduce {
  std::uint64_t operator()(const std::uint64_t* values, unsigned lanes, int) const {
    T total = static_cast<T>(values[std::countr_zero(lanes)]);
    for (unsigned rest = lanes & (lanes - 1); rest; rest &= rest - 1) {
      total = Fold()(total, static_cast<T>(values[std::countr_zero(rest)]));
    }
    return static_cast<std::uint32_t>(total);
  }
};
struct FoldAdd {
  unsigned operator()(unsigned a, unsigned b) const { return a + b; }
};
struct FoldAnd {
  unsigned operator()(unsigned a, unsigned b) const { return a & b; }
};
struct FoldOr {
  unsigned operator()(unsigned a, unsigned b) const { return a | b; }
};
struct FoldXor {
  unsigned operator()(unsigned a, unsigned b) const { return a ^ b; }
};
template <class T>
struct FoldMin {
  T operator()(T a, T b) const { return b < a ? b : a; }
};
template <class T>
struct FoldMax {
  T operator()(T a, T b) const { return a < b ? b : a; }
};

template <class T, class Fold>
T reduce(const char* what, unsigned mask, T value, Site site) {
  return static_cast<T>(vote<Reduce<T, Fold>>(what, mask, static_cast<std::uint32_t>(value), site));
}

inline unsigned __reduce_add_sync(unsigned mask, unsigned value, Site site = Site::here()) {
  return reduce<unsigned, FoldAdd>("__reduce_add_sync", mask, value, site);
}
inline int __reduce_add_sync(unsigned mask, int value, Site site = Site::here()) {
  return static_cast<int>(reduce<unsigned, FoldAdd>("__reduce_add_sync", mask, static_cast<unsigned>(value), site));
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned value, Site site = Site::here()) {
  return reduce<unsigned, FoldMin<unsigned>>("__reduce_min_sync", mask, value, site);
}
inline int __reduce_min_sync(unsigned mask, int value, Site site = Site::here()) {
  return reduce<int, FoldMin<int>>("__reduce_min_sync", mask, value, site);
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned value, Site site = Site::here()) {
  return reduce<unsigned, FoldMax<unsigned>>("__reduce_max_sync", mask, value, site);
}
inline int __reduce_max_sync(unsigned mask, int value, Site site = Site::here()) {
  return reduce<int, FoldMax<int>>("__reduce_max_sync", mask, value, site);
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned value, Site site = Site::here()) {
  return reduce<unsigned, FoldAnd>("__reduce_and_sync", mask, value, site);
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value, Site site = Site::here()) {
  return reduce<unsigned, FoldOr>("__reduce_or_sync", mask, value, site);
}
inline unsigned __reduce_xor_sync(unsigned mask, unsigned value, Site site = Site::here()) {
  return reduce<unsigned, FoldXor>("__reduce_xor_sync", mask, value, site);
}

inline void complete_nothing(void* const*, unsigned) {}
inline void __syncwarp(unsigned mask = 0xffffffff, Site site = Site::here()) {
  warp_collective("__syncwarp", mask, nullptr, complete_nothing, site);
}

/// The lanes of the warp that have not left the kernel. (A GPU says which of them run together just now, which a
/// machine without divergence cannot know: use masks that the code itself computes.)
inline unsigned __activemask() {
  return live_lanes();
}

}  // namespace weft::simt
