// Columns of pixels stored into tensors, against PTX ISA, "im2col mode" and "cp.async.bulk.tensor" (im2col_no_offs):
// each expectation is a loop over the bounding box's positions, in the order that the ISA gives them.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/kernels/ptx_tma_test.h"

namespace weft::simt {
namespace {

using test::error_of_grid;
using test::kSwizzleCases;
using test::Seed;
using test::SwizzleCase;
using test::Tensor;

/// One store into a tensor of `extents`, innermost (C) first. Axes W, H, D have corners and strides of their own. The
/// storage holds one image more than the map tells of.
struct Case {
  std::vector<std::int64_t> extents;
  std::vector<int> lower, upper, stride;  ///< W outwards
  int channels, pixels;
  std::vector<int> start;  ///< C first
};

/// The positions of the bounding box in all images, each as (w, h, ..., n): W runs fastest, every stride-th of an axis.
std::vector<std::vector<std::int64_t>> positions(const Case& c) {
  const std::size_t axes = c.lower.size();
  std::vector<std::vector<std::int64_t>> all;
  std::vector<std::int64_t> at(c.lower.begin(), c.lower.end());
  at.push_back(0);
  while (at[axes] < c.extents[axes + 1]) {
    all.push_back(at);
    std::size_t axis = 0;
    for (; axis < axes; ++axis) {
      at[axis] += c.stride[axis];
      if (at[axis] < c.extents[axis + 1] + c.upper[axis]) break;
      at[axis] = c.lower[axis];
    }
    if (axis == axes) ++at[axes];
  }
  return all;
}

float stored(int pixel, int channel) {
  return -static_cast<float>(1 + pixel * 256 + channel);
}

void check_store(const Case& c, const SwizzleCase& swizzle) {
  std::vector<std::int64_t> with_a_spare_image = c.extents;
  ++with_a_spare_image.back();
  Tensor target(with_a_spare_image, swizzle.swizzle);
  target.map.extents[c.extents.size() - 1] = c.extents.back();
  for (std::size_t i = 0; i < c.stride.size(); ++i) target.map.element_strides[i + 1] = c.stride[i];
  Tensor expected(with_a_spare_image);

  const auto all = positions(c);
  const std::vector<std::int64_t> first(c.start.begin() + 1, c.start.end());
  const auto begin = std::find(all.begin(), all.end(), first);
  const auto index = static_cast<int>(begin - all.begin());
  REQUIRE((begin != all.end() || first.back() >= c.extents.back()));
  int written = 0;
  for (int pixel = 0; pixel < c.pixels && index + pixel < static_cast<int>(all.size()); ++pixel) {
    std::int64_t offset = 0;
    for (std::size_t axis = 1; axis < c.extents.size(); ++axis)
      offset += all[index + pixel][axis - 1] * target.map.strides[axis] / 4;
    for (int channel = 0; channel < c.channels && c.start[0] + channel < c.extents[0]; ++channel, ++written)
      expected.data()[offset + c.start[0] + channel] = stored(pixel, channel);
  }
  CAPTURE(written);

  const TensorMap map = encode_im2col(target.map, c.lower.data(), c.upper.data(), c.channels, c.pixels);
  const auto bytes = static_cast<unsigned>(c.pixels * c.channels * 4);
  CHECK(error_of_grid(dim3(1), dim3(1), bytes, [&] {
          auto* shared = dynamic_shared<float>();
          for (int pixel = 0; pixel < c.pixels; ++pixel)
            for (int channel = 0; channel < c.channels; ++channel)
              shared[swizzle.swizzle == Swizzle::none ? pixel * c.channels + channel : swizzle.place(pixel, channel)] =
                  stored(pixel, channel);
          fence_proxy_async();
          const std::vector<int>& x = c.start;
          if (x.size() == 3) tma_store_im2col_3d(map, x[0], x[1], x[2], shared);
          if (x.size() == 4) tma_store_im2col_4d(map, x[0], x[1], x[2], x[3], shared);
          if (x.size() == 5) tma_store_im2col_5d(map, x[0], x[1], x[2], x[3], x[4], shared);
          bulk_commit_group();
          bulk_wait_group<0>();
        }) == "");
  const std::size_t count = target.storage.size() * 4;
  for (std::size_t i = 0; i < count; ++i) {
    CAPTURE(i);
    REQUIRE(target.data()[i] == expected.data()[i]);
  }
}

constexpr const SwizzleCase& kUnswizzled = kSwizzleCases[3];

TEST_CASE("tma: an im2col store walks over the ends of rows, planes and images, in rank 3 to 5") {
  for (const std::uint64_t seed : {0, 1, 2}) {
    const Seed with(seed);
    check_store({{8, 7, 3}, {0}, {0}, {1}, 8, 12, {0, 3, 0}}, kUnswizzled);
    check_store({{8, 5, 4, 3}, {0, 0}, {0, 0}, {1, 1}, 4, 33, {4, 2, 3, 0}}, kUnswizzled);
    check_store({{4, 3, 2, 2, 3}, {0, 0, 0}, {0, 0, 0}, {1, 1, 1}, 4, 17, {0, 1, 1, 0, 1}}, kUnswizzled);
  }
}

TEST_CASE("tma: an im2col store keeps to its bounding box and its strides, and leaves what lies between") {
  check_store({{8, 9, 2}, {2}, {-1}, {1}, 8, 9, {0, 4, 0}}, kUnswizzled);
  check_store({{8, 9, 2}, {1}, {0}, {3}, 8, 5, {0, 4, 0}}, kUnswizzled);
  check_store({{8, 7, 6, 3}, {1, 2}, {-2, -1}, {1, 1}, 8, 20, {0, 3, 4, 0}}, kUnswizzled);
  check_store({{8, 7, 6, 3}, {0, 1}, {-1, 0}, {2, 3}, 8, 11, {0, 4, 1, 0}}, kUnswizzled);
  check_store({{4, 5, 4, 4, 2}, {1, 0, 1}, {0, -1, -1}, {2, 1, 2}, 4, 9, {0, 3, 2, 1, 0}}, kUnswizzled);
}

TEST_CASE("tma: an im2col store writes no pixel beyond the last image and no channel beyond the last") {
  check_store({{8, 5, 4, 2}, {0, 0}, {0, 0}, {1, 1}, 8, 30, {0, 3, 2, 1}}, kUnswizzled);   // 7 pixels lie inside
  check_store({{8, 5, 4, 2}, {0, 0}, {0, 0}, {1, 1}, 8, 4, {0, 0, 0, 2}}, kUnswizzled);    // none does
  check_store({{10, 5, 4, 2}, {0, 0}, {0, 0}, {1, 1}, 8, 6, {4, 1, 0, 0}}, kUnswizzled);   // channels 4 to 9 of 4 to 11
  check_store({{10, 5, 4, 2}, {0, 0}, {0, 0}, {1, 1}, 8, 6, {3, 1, 0, 0}}, kUnswizzled);   // not from a chunk's start
  check_store({{10, 5, 4, 2}, {0, 0}, {0, 0}, {1, 1}, 8, 6, {12, 1, 0, 0}}, kUnswizzled);  // none
}

TEST_CASE("tma: an im2col store takes swizzled pixels") {
  for (const SwizzleCase& swizzle : kSwizzleCases)
    check_store({{40, 5, 4, 2}, {0, 0}, {0, 0}, {1, 1}, swizzle.row_floats(), 24, {4, 2, 3, 0}}, swizzle);
}

TEST_CASE("tma: what an im2col store wrote, an im2col load with no filter offsets reads") {
  Tensor source({8, 6, 5, 3}), target({8, 6, 5, 3});
  std::fill(target.data(), target.data() + target.storage.size() * 4, -1.0f);
  const int lower[2] = {1, 0}, upper[2] = {-1, -2};
  constexpr int kPixels = 14;
  const TensorMap from = encode_im2col(source.map, lower, upper, 8, kPixels);
  const TensorMap to = encode_im2col(target.map, lower, upper, 8, kPixels);
  test::loaded(kPixels * 32, [&](unsigned char* shared, std::uint64_t* barrier) {
    tma_load_im2col_4d(shared, from, 0, 3, 1, 1, 0, 0, barrier);
    mbarrier_wait(barrier, 0);
    tma_store_im2col_4d(to, 0, 3, 1, 1, shared);  // both by the asynchronous proxy: no fence between them
    bulk_commit_group();
    bulk_wait_group<0>();
  });
  int moved = 0;
  for (int n = 0; n < 3; ++n)
    for (int h = 0; h < 5; ++h)
      for (int w = 0; w < 6; ++w) {
        const int at = (n * 3 + h) * 4 + w - 1;  // positions are 4 x 3 an image; the first is (w 3, h 1, n 1)
        const bool within = w >= 1 && w <= 4 && h <= 2 && at >= 18 && at < 18 + kPixels;
        moved += within;
        for (int c = 0; c < 8; ++c) REQUIRE(target.at({c, w, h, n}) == (within ? source.at({c, w, h, n}) : -1.0f));
      }
  CHECK(moved == kPixels);
}

}  // namespace
}  // namespace weft::simt
