// Bulk copies against PTX ISA, "Tensors" (boxes, traversal strides, im2col, swizzles) and "cp.async.bulk": each
// expectation is computed here from the tensor itself.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/kernels/ptx_tma_test.h"

namespace weft::simt {
namespace {

using test::error_of_grid;
using test::kSwizzleCases;
using test::loaded;
using test::Seed;
using test::SwizzleCase;
using test::Tensor;

TEST_CASE("tma: boxes of tensors of rank 1 to 5, with zeros for what lies outside") {
  const std::vector<std::int64_t> all = {10, 7, 5, 4, 3};
  for (const std::uint64_t seed : {0, 1, 2}) {
    const Seed with(seed);
    for (int rank = 1; rank <= 5; ++rank) {
      Tensor tensor(std::vector<std::int64_t>(all.begin(), all.begin() + rank));
      const int box[5] = {8, 3, 2, 3, 2};
      const TensorMap map = encode_tiled(tensor.map, box);
      std::size_t count = 1;
      for (int axis = 0; axis < rank; ++axis) count *= box[axis];
      for (const int shift : {0, -2, 5}) {
        const auto got = loaded(count * 4, [&](void* s, std::uint64_t* b) {
          if (rank == 1) tma_load_1d(s, map, shift, b);
          if (rank == 2) tma_load_2d(s, map, shift, shift + 1, b);
          if (rank == 3) tma_load_3d(s, map, shift, shift + 1, shift - 1, b);
          if (rank == 4) tma_load_4d(s, map, shift, shift + 1, shift - 1, shift - 2, b);
          if (rank == 5) tma_load_5d(s, map, shift, shift + 1, shift - 1, shift - 2, shift + 1, b);
        });
        const int start[5] = {shift, shift + 1, shift - 1, shift - 2, shift + 1};
        for (std::size_t i = 0; i < count; ++i) {
          std::vector<std::int64_t> x;
          std::size_t rest = i;
          for (int axis = 0; axis < rank; ++axis) {
            x.push_back(start[axis] + static_cast<std::int64_t>(rest % box[axis]));
            rest /= box[axis];
          }
          REQUIRE(got[i] == tensor.at(x));
        }
      }
    }
  }
}

TEST_CASE("tma: boxes into tensors of rank 1 to 5, and nothing of what lies outside") {
  const std::vector<std::int64_t> all = {10, 7, 5, 4, 3};
  for (const std::uint64_t seed : {0, 1, 2}) {
    const Seed with(seed);
    for (int rank = 1; rank <= 5; ++rank) {
      CAPTURE(rank);
      const int box[5] = {8, 3, 2, 3, 2};
      int count = 1;
      for (int axis = 0; axis < rank; ++axis) count *= box[axis];
      for (const int shift : {0, 1, 5}) {  // 5: each axis leaves the tensor, axis 3 begins outside it
        const int start[5] = {shift, shift + 1, shift, shift, shift / 2};
        Tensor target(std::vector<std::int64_t>(all.begin(), all.begin() + rank));
        const std::vector<float4> before = target.storage;
        const TensorMap map = encode_tiled(target.map, box);
        CHECK(error_of_grid(dim3(1), dim3(1), static_cast<unsigned>(count) * 4, [&] {
                auto* s = dynamic_shared<float>();
                for (int i = 0; i < count; ++i) s[i] = -1.0f - static_cast<float>(i);
                fence_proxy_async();
                if (rank == 1) tma_store_1d(map, start[0], s);
                if (rank == 2) tma_store_2d(map, start[0], start[1], s);
                if (rank == 3) tma_store_3d(map, start[0], start[1], start[2], s);
                if (rank == 4) tma_store_4d(map, start[0], start[1], start[2], start[3], s);
                if (rank == 5) tma_store_5d(map, start[0], start[1], start[2], start[3], start[4], s);
                bulk_commit_group();
                bulk_wait_group<0>();
              }) == "");
        std::vector<float> expected(target.storage.size() * 4);
        std::memcpy(expected.data(), before.data(), expected.size() * 4);
        for (int i = 0; i < count; ++i) {
          std::int64_t offset = 0;
          bool inside = true;
          for (int axis = 0, rest = i; axis < rank; rest /= box[axis++]) {
            const std::int64_t x = start[axis] + rest % box[axis];
            inside &= x < all[static_cast<std::size_t>(axis)];
            offset += axis == 0 ? x : x * target.map.strides[axis] / 4;
          }
          if (inside) expected[static_cast<std::size_t>(offset)] = -1.0f - static_cast<float>(i);
        }
        for (std::size_t i = 0; i < expected.size(); ++i) REQUIRE(target.data()[i] == expected[i]);
      }
    }
  }
}

TEST_CASE("tma: an element stride takes every s-th row, ceil(box / s) of them") {
  Tensor tensor({8, 20});
  tensor.map.element_strides[1] = 3;
  const int box[2] = {4, 10};  // 4 rows
  const TensorMap map = encode_tiled(tensor.map, box);
  const auto got = loaded(4 * 4 * 4, [&](void* s, std::uint64_t* b) { tma_load_2d(s, map, 2, 5, b); });
  for (int row = 0; row < 4; ++row)
    for (int x = 0; x < 4; ++x) CHECK(got[row * 4 + x] == tensor.at({2 + x, 5 + 3 * row}));
}

TEST_CASE("tma: swizzled rows, loaded and stored") {
  for (const SwizzleCase& c : kSwizzleCases) {
    Tensor tensor({40, 30}, c.swizzle);
    const int box[2] = {c.row_floats(), 16};
    const TensorMap map = encode_tiled(tensor.map, box);
    const auto count = static_cast<std::size_t>(box[0] * box[1]);
    const auto got = loaded(count * 4, [&](void* s, std::uint64_t* b) { tma_load_2d(s, map, 3, 4, b); });
    for (int row = 0; row < box[1]; ++row)
      for (int x = 0; x < box[0]; ++x) REQUIRE(got[c.place(row, x)] == tensor.at({3 + x, 4 + row}));

    Tensor target({40, 30}, c.swizzle);
    const TensorMap target_map = encode_tiled(target.map, box);
    CHECK(error_of_grid(dim3(1), dim3(1), 4096, [&] {
            auto* shared = dynamic_shared<float>();
            for (int row = 0; row < box[1]; ++row)
              for (int x = 0; x < box[0]; ++x) shared[c.place(row, x)] = -static_cast<float>(row * 100 + x);
            fence_proxy_async();
            tma_store_2d(target_map, 5, 20, shared);  // 10 of the 16 rows lie inside
            bulk_commit_group();
            bulk_wait_group<0>();
          }) == "");
    Tensor before({40, 30});
    for (int y = 0; y < 30; ++y)
      for (int x = 0; x < 40; ++x) {
        const bool within = y >= 20 && x >= 5 && x < 5 + box[0];
        REQUIRE(target.at({x, y}) == (within ? -static_cast<float>((y - 20) * 100 + x - 5) : before.at({x, y})));
      }
  }
}

TEST_CASE("tma: the swizzle counts from the address, not from the box") {
  Tensor tensor({32, 8}, Swizzle::bytes128);
  const int box[2] = {32, 4};
  const TensorMap map = encode_tiled(tensor.map, box);
  const auto got = loaded(1024, [&](unsigned char* s, std::uint64_t* b) {
    tma_load_2d(s, map, 0, 0, b);
    tma_load_2d(s + 512, map, 0, 4, b);  // its rows are rows 4 to 7 of the pattern
  });
  for (int row = 0; row < 8; ++row)
    for (int x = 0; x < 32; ++x) REQUIRE(got[row * 32 + (x / 4 ^ row) * 4 + x % 4] == tensor.at({x, row}));
}

/// im2col of an NHWC tensor, against a loop over output positions: filters of R x S with padding, stride and dilation.
void check_im2col(int n, int h, int w, int c, int filter, int pad, int stride, int dilation) {
  Tensor tensor({c, w, h, n});
  tensor.map.element_strides[1] = tensor.map.element_strides[2] = stride;
  const int reach = (filter - 1) * dilation;
  const int lower[2] = {-pad, -pad}, upper[2] = {pad - reach, pad - reach};
  constexpr int kPixels = 16;
  const TensorMap map = encode_im2col(tensor.map, lower, upper, 4, kPixels);
  const int out_h = (h + 2 * pad - reach - 1) / stride + 1, out_w = (w + 2 * pad - reach - 1) / stride + 1;
  for (int first = 0; first < n * out_h * out_w; first += kPixels) {
    for (int r = 0; r < filter; ++r) {
      for (int s = 0; s < filter; ++s) {
        const int image = first / (out_h * out_w), y = first / out_w % out_h, x = first % out_w;
        const auto got = loaded(kPixels * 16, [&](void* shared, std::uint64_t* b) {
          tma_load_im2col_4d(shared, map, 4, x * stride - pad, y * stride - pad, image,
                             static_cast<std::uint16_t>(s * dilation), static_cast<std::uint16_t>(r * dilation), b);
        });
        for (int pixel = 0; pixel < kPixels; ++pixel) {
          const int at = first + pixel;
          for (int channel = 0; channel < 4; ++channel)
            REQUIRE(got[pixel * 4 + channel] ==
                    tensor.at({4 + channel, at % out_w * stride - pad + s * dilation,
                               at / out_w % out_h * stride - pad + r * dilation, at / (out_h * out_w)}));
        }
      }
    }
  }
}

TEST_CASE("tma: im2col is the convolution's own walk over an (N, H, W, C) tensor") {
  check_im2col(2, 5, 7, 8, 3, 1, 1, 1);
  check_im2col(3, 7, 6, 8, 3, 1, 2, 1);
  check_im2col(2, 9, 8, 12, 3, 2, 1, 2);
  check_im2col(1, 6, 6, 8, 1, 0, 1, 1);
}

TEST_CASE("tma: im2col of rank 3 and 5") {
  Tensor line({8, 9, 2});
  const int lower1[1] = {-1}, upper1[1] = {-1};
  const TensorMap map1 = encode_im2col(line.map, lower1, upper1, 8, 12);
  const auto got1 = loaded(12 * 32, [&](void* s, std::uint64_t* b) { tma_load_im2col_3d(s, map1, 0, 3, 0, 2, b); });
  for (int pixel = 0; pixel < 12; ++pixel)  // positions run from -1 to 7: nine an image
    for (int c = 0; c < 8; ++c) REQUIRE(got1[pixel * 8 + c] == line.at({c, (4 + pixel) % 9 - 1 + 2, (4 + pixel) / 9}));
  Tensor volume({4, 3, 3, 3, 2});
  const int lower3[3] = {0, 0, 0}, upper3[3] = {-1, -1, -1};
  const TensorMap map3 = encode_im2col(volume.map, lower3, upper3, 4, 10);
  const auto got3 =
      loaded(10 * 16, [&](void* s, std::uint64_t* b) { tma_load_im2col_5d(s, map3, 0, 1, 0, 1, 0, 1, 0, 1, b); });
  for (int pixel = 0; pixel < 10; ++pixel) {
    const int at = 5 + pixel;  // of 2 x 2 x 2 positions an image: (1, 0, 1) is the fifth
    for (int c = 0; c < 4; ++c)
      REQUIRE(got3[pixel * 4 + c] == volume.at({c, at % 2 + 1, at / 2 % 2, at / 4 % 2 + 1, at / 8}));
  }
}

TEST_CASE("tma: plain bytes, and a sum into global memory") {
  std::vector<float4> source(16), target(16, float4{1, 1, 1, 1});
  std::iota(reinterpret_cast<float*>(source.data()), reinterpret_cast<float*>(source.data()) + 64, 0.0f);
  const auto got = loaded(256, [&](void* s, std::uint64_t* b) { bulk_load(s, source.data(), 256, b); });
  for (int i = 0; i < 64; ++i) CHECK(got[i] == static_cast<float>(i));
  Tensor sum({8, 4});
  const int box[2] = {8, 4};
  const TensorMap map = encode_tiled(sum.map, box);
  CHECK(error_of_grid(dim3(2), dim3(32), 1024, [&] {
          auto* shared = dynamic_shared<float>();
          shared[threadIdx.x] = static_cast<float>(threadIdx.x + 100 * blockIdx.x);
          fence_proxy_async();
          __syncthreads();
          if (threadIdx.x != 0) return;
          tma_reduce_add_2d(map, 0, 0, shared);
          bulk_store(target.data() + 8 * blockIdx.x, shared, 128);
          bulk_commit_group();
          bulk_wait_group_read<0>();
        }) == "");
  for (int i = 0; i < 32; ++i) {
    CHECK(sum.data()[i] == static_cast<float>(i + 1 + 2 * i + 100));
    CHECK(reinterpret_cast<float*>(target.data())[i] == static_cast<float>(i));
    CHECK(reinterpret_cast<float*>(target.data())[32 + i] == static_cast<float>(i + 100));
  }
}

}  // namespace
}  // namespace weft::simt
