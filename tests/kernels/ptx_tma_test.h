#pragma once
// What the tests of bulk copies share: a tensor that knows its own elements, and a load with everything around it.

#include <doctest/doctest.h>

#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/ptx/cluster.h"
#include "kernels/ptx/fence.h"
#include "kernels/ptx/mbarrier.h"
#include "kernels/ptx/tma.h"
#include "tests/kernels/ptx_test.h"

namespace weft::simt::test {

struct Seed {
  explicit Seed(std::uint64_t seed) { set_schedule_seed(seed); }
  ~Seed() { set_schedule_seed(0); }
};

/// A dense float tensor, 16-byte aligned, that counts from 1. Extents innermost first.
struct Tensor {
  std::vector<std::int64_t> extents;
  std::vector<float4> storage;
  GlobalTensor map;

  explicit Tensor(std::vector<std::int64_t> extents_innermost_first, Swizzle swizzle = Swizzle::none)
      : extents(std::move(extents_innermost_first)) {
    std::int64_t pitch = (extents[0] + 3) / 4 * 4, count = pitch;
    map.element = TensorElement::f32;
    map.rank = static_cast<int>(extents.size());
    map.swizzle = swizzle;
    for (std::size_t axis = 0; axis < extents.size(); ++axis) {
      map.extents[axis] = extents[axis];
      if (axis == 0) continue;
      map.strides[axis] = count * 4;
      count *= extents[axis];
    }
    storage.resize(static_cast<std::size_t>(count / 4));
    map.base = storage.data();
    std::iota(data(), data() + count, 1.0f);
  }
  float* data() { return reinterpret_cast<float*>(storage.data()); }
  /// The element at these coordinates, 0 outside.
  float at(const std::vector<std::int64_t>& x) {
    std::int64_t offset = x[0];
    if (x[0] < 0 || x[0] >= extents[0]) return 0;
    for (std::size_t axis = 1; axis < extents.size(); ++axis) {
      if (x[axis] < 0 || x[axis] >= extents[axis]) return 0;
      offset += x[axis] * map.strides[axis] / 4;
    }
    return data()[offset];
  }
};

/// How the rows of a box lie in shared memory, by the ISA's figures: with a 128-byte swizzle chunk c of row r lies at
/// c ^ (r mod 8). With 64 bytes two rows share a line of 128, so c ^ (r / 2 mod 4); with 32 bytes four do: c ^ (r / 4
/// mod 2).
struct SwizzleCase {
  Swizzle swizzle;
  int chunks, rows_a_line, period;

  int row_floats() const { return chunks * 4; }
  /// Where float x of a row lies, in floats.
  int place(int row, int x) const { return row * row_floats() + (x / 4 ^ row / rows_a_line % period) * 4 + x % 4; }
};
inline constexpr SwizzleCase kSwizzleCases[] = {
    {Swizzle::bytes32, 2, 4, 2}, {Swizzle::bytes64, 4, 2, 4}, {Swizzle::bytes128, 8, 1, 8}, {Swizzle::none, 8, 1, 1}};

/// What one thread finds in `bytes` of shared memory after `issue(shared, barrier)` has started copies of as many
/// bytes.
template <class Issue>
std::vector<float> loaded(std::size_t bytes, const Issue& issue, std::string* error = nullptr) {
  std::vector<float> found(bytes / 4);
  const std::string message = error_of_grid(dim3(1), dim3(1), static_cast<unsigned>(bytes) + 1024, [&] {
    auto* shared = dynamic_shared<unsigned char>();
    auto* barrier = reinterpret_cast<std::uint64_t*>(shared + bytes);
    mbarrier_init(barrier, 1);
    fence_mbarrier_init();
    mbarrier_arrive_expect_tx(barrier, static_cast<unsigned>(bytes));
    issue(shared, barrier);
    mbarrier_wait(barrier, 0);
    std::memcpy(found.data(), shared, bytes);
  });
  if (error) *error = message;
  if (!error) CHECK(message == "");
  return found;
}

}  // namespace weft::simt::test
