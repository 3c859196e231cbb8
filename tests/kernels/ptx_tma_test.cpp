// Bulk copies against PTX ISA, "Tensors" (boxes, traversal strides, im2col, swizzles) and "cp.async.bulk": each
// expectation is computed here from the tensor itself.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/ptx/cluster.h"
#include "kernels/ptx/fence.h"
#include "kernels/ptx/mbarrier.h"
#include "kernels/ptx/tma.h"
#include "ptx_test.h"

namespace weft::simt {
namespace {

using test::contains;
using test::error_of_grid;

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

TEST_CASE("tma: an element stride takes every s-th row, ceil(box / s) of them") {
  Tensor tensor({8, 20});
  tensor.map.element_strides[1] = 3;
  const int box[2] = {4, 10};  // 4 rows
  const TensorMap map = encode_tiled(tensor.map, box);
  const auto got = loaded(4 * 4 * 4, [&](void* s, std::uint64_t* b) { tma_load_2d(s, map, 2, 5, b); });
  for (int row = 0; row < 4; ++row)
    for (int x = 0; x < 4; ++x) CHECK(got[row * 4 + x] == tensor.at({2 + x, 5 + 3 * row}));
}

// The ISA's figures: with a 128-byte swizzle chunk c of row r lies at c ^ (r mod 8). With 64 bytes two rows share a
// line of 128, so c ^ (r / 2 mod 4); with 32 bytes four do: c ^ (r / 4 mod 2).
TEST_CASE("tma: swizzled rows, loaded and stored") {
  struct Case {
    Swizzle swizzle;
    int chunks, rows_a_line, period;
  };
  for (const Case& c : {Case{Swizzle::bytes32, 2, 4, 2}, Case{Swizzle::bytes64, 4, 2, 4},
                        Case{Swizzle::bytes128, 8, 1, 8}, Case{Swizzle::none, 8, 1, 1}}) {
    Tensor tensor({40, 30}, c.swizzle);
    const int box[2] = {c.chunks * 4, 16};
    const TensorMap map = encode_tiled(tensor.map, box);
    const auto place = [&](int row, int x) {
      const int chunk = x / 4 ^ row / c.rows_a_line % c.period;
      return row * box[0] + chunk * 4 + x % 4;
    };
    const auto count = static_cast<std::size_t>(box[0] * box[1]);
    const auto got = loaded(count * 4, [&](void* s, std::uint64_t* b) { tma_load_2d(s, map, 3, 4, b); });
    for (int row = 0; row < box[1]; ++row)
      for (int x = 0; x < box[0]; ++x) REQUIRE(got[place(row, x)] == tensor.at({3 + x, 4 + row}));

    Tensor target({40, 30}, c.swizzle);
    const TensorMap target_map = encode_tiled(target.map, box);
    CHECK(error_of_grid(dim3(1), dim3(1), 4096, [&] {
            auto* shared = dynamic_shared<float>();
            for (int row = 0; row < box[1]; ++row)
              for (int x = 0; x < box[0]; ++x) shared[place(row, x)] = -static_cast<float>(row * 100 + x);
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

TEST_CASE("tma: multicast writes each chosen block's shared memory and tells each one's barrier") {
  for (const std::uint64_t seed : {0, 1, 2, 3}) {
    const Seed with(seed);
    Tensor tensor({8, 16});
    const int box[2] = {8, 4};
    const TensorMap map = encode_tiled(tensor.map, box);
    std::vector<float> out(4 * 64, -1);
    CHECK(error_of_grid(
              dim3(4), dim3(32), 1024,
              [&] {
                auto* shared = dynamic_shared<unsigned char>();
                auto* barrier = reinterpret_cast<std::uint64_t*>(shared + 512);
                if (threadIdx.x == 0) {
                  mbarrier_init(barrier, 1);
                  fence_mbarrier_init();
                }
                cluster_arrive_relaxed();
                cluster_wait();
                // Block 0 gives rows 0 to 3 to blocks 0, 1, 3; block 2 gives rows 8 to 11 to all.
                const unsigned rank = cluster_rank();
                if (threadIdx.x == 0) {
                  mbarrier_arrive_expect_tx(barrier, rank == 2 ? 128 : 256);
                  if (rank == 0) tma_load_multicast_2d(shared, map, 0, 0, barrier, 0b1011);
                  if (rank == 2) tma_load_multicast_2d(shared + 128, map, 0, 8, barrier, 0b1111);
                }
                mbarrier_wait(barrier, 0);
                for (int i = 0; i < 2; ++i) {
                  const unsigned x = threadIdx.x + 32 * i;
                  if (!(rank == 2 && i == 0)) out[rank * 64 + x] = reinterpret_cast<float*>(shared)[x];
                }
                cluster_sync();
              },
              dim3(4)) == "");
    for (int rank = 0; rank < 4; ++rank)
      for (int i = 0; i < 64; ++i) {
        const float expected = i < 32 ? (rank == 2 ? -1.0f : tensor.at({i % 8, i / 8})) : tensor.at({i % 8, i / 8 + 4});
        CHECK(out[rank * 64 + i] == expected);
      }
  }
}

TEST_CASE("tma: until it is waited for, a load's destination is poison; a wait for the wrong phase shows it") {
  Tensor tensor({4, 4});
  const int box[2] = {4, 4};
  const TensorMap map = encode_tiled(tensor.map, box);
  std::vector<float> early(16), late(16);
  CHECK(error_of_grid(dim3(1), dim3(1), 1024, [&] {
          auto* shared = dynamic_shared<float>();
          auto* barrier = reinterpret_cast<std::uint64_t*>(shared + 64);
          for (int i = 0; i < 16; ++i) shared[i] = 7;
          mbarrier_init(barrier, 1);
          fence_mbarrier_init();
          mbarrier_arrive_expect_tx(barrier, 64);
          tma_load_2d(shared, map, 0, 0, barrier);
          mbarrier_wait(barrier, 1);  // the phase before
          std::memcpy(early.data(), shared, 64);
          mbarrier_wait(barrier, 0);
          std::memcpy(late.data(), shared, 64);
        }) == "");
  for (int i = 0; i < 16; ++i) {
    CHECK(std::isnan(early[i]));
    CHECK(late[i] == tensor.data()[i]);
  }
}

/// Two rounds through one buffer: write, fence, store; then write the next over it. What arrives, with one step left
/// out.
enum class Skip { nothing, fence, wait };
std::vector<float> store_twice(Skip skip, std::string* error) {
  Tensor target({4, 8});
  const int box[2] = {4, 4};
  const TensorMap map = encode_tiled(target.map, box);
  *error = error_of_grid(dim3(1), dim3(16), 1024, [&] {
    auto* shared = dynamic_shared<float>();
    for (int round = 0; round < 2; ++round) {
      if (threadIdx.x == 0 && skip != Skip::wait) bulk_wait_group_read<0>();
      __syncthreads();
      shared[threadIdx.x] = static_cast<float>(1000 * (round + 1) + threadIdx.x);
      if (skip != Skip::fence) fence_proxy_async();
      __syncthreads();
      if (threadIdx.x == 0) {
        tma_store_2d(map, 0, 4 * round, shared);
        bulk_commit_group();
      }
    }
    if (threadIdx.x == 0) bulk_wait_group_read<0>();
  });
  return {target.data(), target.data() + 32};
}

TEST_CASE("tma: a store reads its source late, and through the asynchronous proxy") {
  std::string error;
  const auto right = store_twice(Skip::nothing, &error);
  CHECK(error == "");
  for (int i = 0; i < 32; ++i) CHECK(right[i] == static_cast<float>(1000 * (i / 16 + 1) + i % 16));
  const auto unfenced = store_twice(Skip::fence, &error);
  CHECK(error == "");
  for (int i = 0; i < 32; ++i) CHECK(std::isnan(unfenced[i]));
  const auto overwritten = store_twice(Skip::wait, &error);
  CHECK(error == "");
  for (int i = 0; i < 32; ++i) CHECK(overwritten[i] == static_cast<float>(2000 + i % 16));
}

TEST_CASE("tma: misuse in a kernel") {
  Tensor tensor({8, 8});
  const int box[2] = {8, 4};
  const TensorMap map = encode_tiled(tensor.map, box);
  /// One thread; the barrier is initialised, and seen by the copy engine where `fenced`.
  const auto run = [&](bool fenced, const std::function<void(unsigned char*, std::uint64_t*)>& body) {
    return error_of_grid(dim3(1), dim3(1), 1024, [&] {
      auto* shared = dynamic_shared<unsigned char>();
      auto* barrier = reinterpret_cast<std::uint64_t*>(shared + 512);
      mbarrier_init(barrier, 1);
      if (fenced) fence_mbarrier_init();
      body(shared, barrier);
    });
  };
  const auto load = [&](unsigned char* s, std::uint64_t* b) { tma_load_2d(s, map, 0, 0, b); };
  CHECK(contains(run(false, load), "no fence has shown that to the asynchronous proxy"));
  CHECK(contains(run(true, load), "the block ended, but cp.async.bulk.tensor.2d at "));
  CHECK(contains(run(true, [&](unsigned char* s, std::uint64_t* b) { tma_load_2d(s + 64, map, 0, 0, b); }),
                 "is not a multiple of 128"));
  CHECK(contains(run(true, [&](unsigned char* s, std::uint64_t* b) { tma_load_2d(s + 896 + 128, map, 0, 0, b); }),
                 "not within this block's 1024 bytes"));
  CHECK(contains(run(true, [&](unsigned char* s, std::uint64_t* b) { tma_load_3d(s, map, 0, 0, 0, b); }),
                 "3 coordinates for a map of rank 2"));
  CHECK(contains(run(true, [&](unsigned char* s, std::uint64_t* b) { tma_load_2d(s, TensorMap{}, 0, 0, b); }),
                 "this is no tensor map"));
  CHECK(contains(run(true, [&](unsigned char* s, std::uint64_t* b) { tma_load_2d(s, map, 0, 0, b + 1); }),
                 "no mbarrier has been initialised"));
  CHECK(contains(run(true, [&](unsigned char* s, std::uint64_t* b) { bulk_load(s, tensor.data() + 1, 16, b); }),
                 "the global address"));
  CHECK(contains(run(true, [&](unsigned char* s, std::uint64_t* b) { bulk_load(s, tensor.data(), 24, b); }),
                 "24 bytes are not a multiple of 16"));
  const std::string unread = run(true, [&](unsigned char* s, std::uint64_t*) {
    tma_store_2d(map, 0, 0, s);
    bulk_commit_group();
  });
  CHECK(contains(unread, "still reads its shared memory"));
  const std::string short_by_16 = run(true, [&](unsigned char* s, std::uint64_t* b) {
    mbarrier_arrive_expect_tx(b, 144);
    tma_load_2d(s, map, 0, 0, b);
    mbarrier_wait(b, 0);
  });
  CHECK(contains(short_by_16, "threads wait for each other for ever: 1 in mbarrier.try_wait.parity"));
}

template <class Change>
std::string refused(const Change& change) {
  Tensor tensor({32, 8, 4, 2});
  int box[4] = {32, 4, 1, 1};
  tensor.map.swizzle = Swizzle::bytes128;
  change(tensor.map, box);
  try {
    encode_tiled(tensor.map, box);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("tma: what a tensor map cannot be, as the driver has it") {
  CHECK(refused([](GlobalTensor&, int*) {}) == "");
  const auto base = [](int by) {
    return refused([by](GlobalTensor& t, int*) { t.base = static_cast<const char*>(t.base) + by; });
  };
  CHECK(contains(base(8), "address must be a multiple of 16"));
  CHECK(contains(refused([](GlobalTensor& t, int*) { t.strides[2] = 24; }), "the stride of axis 2 is 24 bytes"));
  CHECK(contains(refused([](GlobalTensor& t, int*) { t.strides[1] = std::int64_t{1} << 40; }), "the stride of axis 1"));
  CHECK(contains(refused([](GlobalTensor& t, int*) { t.extents[3] = 0; }), "the extent of axis 3 is 0"));
  CHECK(
      contains(refused([](GlobalTensor& t, int*) { t.element_strides[1] = 9; }), "the element stride of axis 1 is 9"));
  CHECK(contains(refused([](GlobalTensor& t, int*) { t.rank = 6; }), "a rank of 6"));
  CHECK(contains(refused([](GlobalTensor&, int* box) { box[1] = 257; }), "the box of axis 1 is 257"));
  CHECK(refused([](GlobalTensor&, int* box) { box[1] = 256; }) == "");
  CHECK(contains(refused([](GlobalTensor&, int* box) { box[0] = 64; }), "256 bytes, but a swizzle of 128 bytes"));
  CHECK(contains(refused([](GlobalTensor& t, int* box) {
                   t.swizzle = Swizzle::none;
                   box[0] = 30;
                 }),
                 "120 bytes, not a multiple of 16"));
  Tensor tensor({8, 9, 9, 2});
  const auto im2col = [&](int lower, int upper, int channels, int pixels) -> std::string {
    const int l[2] = {lower, lower}, u[2] = {upper, upper};
    try {
      encode_im2col(tensor.map, l, u, channels, pixels);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  CHECK(im2col(-1, -1, 8, 1024) == "");
  CHECK(contains(im2col(-129, -1, 8, 16), "lower corner of axis 1 is -129"));
  CHECK(contains(im2col(0, 128, 8, 16), "upper corner of axis 1 is 128"));
  CHECK(contains(im2col(0, -9, 8, 16), "holds no position"));
  CHECK(contains(im2col(0, 0, 257, 16), "257 channels"));
  CHECK(contains(im2col(0, 0, 8, 1025), "1025 pixels"));
}

}  // namespace
}  // namespace weft::simt
