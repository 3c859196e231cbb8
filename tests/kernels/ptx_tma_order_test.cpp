// Bulk copies: who is told of them, when they land, and what is refused.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "tests/kernels/ptx_tma_test.h"

namespace weft::simt {
namespace {

using test::contains;
using test::error_of_grid;
using test::Seed;
using test::Tensor;

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
                __syncwarp();
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
                __syncwarp();
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

TEST_CASE("tma: multicast in rank 3 to 5, and to no block") {
  Tensor tensor({8, 4, 3, 2, 2});
  for (int rank = 3; rank <= 5; ++rank) {
    GlobalTensor part = tensor.map;
    part.rank = rank;
    const int box[5] = {4, 2, 2, 1, 1};
    const TensorMap map = encode_tiled(part, box);
    std::vector<float> out(2 * 16, -1);
    CHECK(error_of_grid(
              dim3(2), dim3(1), 256,
              [&] {
                auto* shared = dynamic_shared<unsigned char>();
                auto* barrier = reinterpret_cast<std::uint64_t*>(shared + 128);
                mbarrier_init(barrier, 1);
                fence_mbarrier_init();
                cluster_arrive_relaxed();
                cluster_wait();
                mbarrier_arrive_expect_tx(barrier, 64);
                // Block 0 gives both the box at (4, 1, 1, 1, 1); nobody gets what block 1 asks for.
                const auto ranks = static_cast<std::uint16_t>(cluster_rank() == 0 ? 0b11 : 0);
                if (rank == 3) tma_load_multicast_3d(shared, map, 4, 1, 1, barrier, ranks);
                if (rank == 4) tma_load_multicast_4d(shared, map, 4, 1, 1, 1, barrier, ranks);
                if (rank == 5) tma_load_multicast_5d(shared, map, 4, 1, 1, 1, 1, barrier, ranks);
                mbarrier_wait(barrier, 0);
                std::memcpy(&out[cluster_rank() * 16], shared, 64);
                cluster_sync();
              },
              dim3(2)) == "");
    for (int i = 0; i < 32; ++i) {
      const int x = i % 4, y = i / 4 % 2, z = i / 8 % 2;
      CHECK(out[i] == tensor.at({4 + x, 1 + y, 1 + z, rank > 3, rank > 4}));
    }
  }
}

TEST_CASE("tma: a prefetch takes what a load takes") {
  Tensor tensor({8, 8, 2});
  GlobalTensor flat = tensor.map;
  flat.rank = 2;
  const int box[3] = {8, 4, 1};
  const TensorMap map = encode_tiled(flat, box), of_three = encode_tiled(tensor.map, box);
  const auto run = [](const auto& body) { return error_of_grid(dim3(1), dim3(1), 0, body); };
  CHECK(run([&] { prefetch_tensor_map(map), tma_prefetch_2d(map, -4, 6); }) == "");
  CHECK(contains(run([] { prefetch_tensor_map(TensorMap{}); }), "prefetch.tensormap at "));
  CHECK(contains(run([] { prefetch_tensor_map(TensorMap{}); }), "this is no tensor map"));
  CHECK(contains(run([&] { tma_prefetch_2d(of_three, 0, 0); }), "2 coordinates for a map of rank 3"));
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
/// out. A round is 4 x 4 elements of a tensor of 4 x 8: a box, or, in im2col mode, a column of pixels.
enum class Mode { tile, im2col };
enum class Skip { nothing, fence, wait, last_commit, last_wait };
std::vector<float> store_twice(Mode mode, Skip skip, std::string* error) {
  Tensor target({4, 8, 1});
  const int box[3] = {4, 4, 1}, corner[1] = {0};
  const TensorMap map =
      mode == Mode::tile ? encode_tiled(target.map, box) : encode_im2col(target.map, corner, corner, 4, 4);
  *error = error_of_grid(dim3(1), dim3(16), 1024, [&] {
    auto* shared = dynamic_shared<float>();
    for (int round = 0; round < 2; ++round) {
      if (threadIdx.x == 0 && skip != Skip::wait) bulk_wait_group_read<0>();
      __syncthreads();
      shared[threadIdx.x] = static_cast<float>(1000 * (round + 1) + threadIdx.x);
      if (skip != Skip::fence) fence_proxy_async();
      __syncthreads();
      if (threadIdx.x == 0) {
        if (mode == Mode::tile) tma_store_3d(map, 0, 4 * round, 0, shared);
        if (mode == Mode::im2col) tma_store_im2col_3d(map, 0, 4 * round, 0, shared);
        if (round == 0 || skip != Skip::last_commit) bulk_commit_group();
      }
    }
    if (threadIdx.x == 0 && skip != Skip::last_wait) bulk_wait_group_read<0>();
  });
  return {target.data(), target.data() + 32};
}

TEST_CASE("tma: a store reads its source late, and through the asynchronous proxy") {
  for (const Mode mode : {Mode::tile, Mode::im2col}) {
    CAPTURE(static_cast<int>(mode));
    std::string error;
    for (const std::uint64_t seed : {0, 1, 2, 3}) {
      const Seed with(seed);
      const auto right = store_twice(mode, Skip::nothing, &error);
      CHECK(error == "");
      for (int i = 0; i < 32; ++i) CHECK(right[i] == static_cast<float>(1000 * (i / 16 + 1) + i % 16));
      store_twice(mode, Skip::fence, &error);
      CHECK(contains(error, "which a thread wrote and no fence.proxy.async has shown to the asynchronous proxy"));
    }
    const auto overwritten = store_twice(mode, Skip::wait, &error);
    CHECK(error == "");
    for (int i = 0; i < 32; ++i) CHECK(overwritten[i] == static_cast<float>(2000 + i % 16));
    for (const Skip skip : {Skip::last_commit, Skip::last_wait}) {
      store_twice(mode, skip, &error);
      CHECK(contains(error, "still reads its shared memory"));
    }
  }
}

TEST_CASE("tma: a store that nobody waits for reads its source at some time, as the seed has it") {
  bool early = false, late = false;
  for (std::uint64_t seed = 1; seed <= 32; ++seed) {
    const Seed with(seed);
    std::string error;
    const auto found = store_twice(Mode::im2col, Skip::wait, &error);
    CHECK(error == "");
    const bool overwritten = found[0] == 2000;
    CHECK((overwritten || found[0] == 1000));
    (overwritten ? late : early) = true;
    CHECK(store_twice(Mode::im2col, Skip::wait, &error) == found);
  }
  CHECK(early);
  CHECK(late);
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

TEST_CASE("tma: what the ISA refuses to stores, and to columns of pixels") {
  Tensor tensor({8, 9, 9, 2});
  const auto run = [&](int lower, int upper, const auto& body) {
    const int l[2] = {0, lower}, u[2] = {0, upper}, box[4] = {8, 4, 1, 1};
    const TensorMap column = encode_im2col(tensor.map, l, u, 8, 4), tile = encode_tiled(tensor.map, box);
    return error_of_grid(dim3(1), dim3(1), 1024, [&] {
      auto* shared = dynamic_shared<unsigned char>();
      auto* barrier = reinterpret_cast<std::uint64_t*>(shared + 512);
      mbarrier_init(barrier, 1);
      fence_mbarrier_init();
      body(column, tile, shared, barrier);
    });
  };
  const auto store = [&](int lower, int upper, int c, int w, int h, int n) {
    return run(lower, upper, [&](const TensorMap& column, const TensorMap&, const unsigned char* s, std::uint64_t*) {
      tma_store_im2col_4d(column, c, w, h, n, s);
      bulk_commit_group();
      bulk_wait_group_read<0>();
    });
  };
  CHECK(store(0, 0, 0, 8, 8, 5) == "");
  CHECK(store(1, -1, 0, 0, 1, 0) == "");
  CHECK(contains(store(-1, 0, 0, 0, 0, 0), "must lie within the tensor, but its corners along axis 2 are -1 "));
  CHECK(contains(store(0, 1, 0, 0, 0, 0), "and 1 (not positive)"));
  CHECK(contains(store(0, 0, -4, 0, 0, 0), "coordinate 0 is -4, but a store's are not negative"));
  CHECK(contains(store(0, 0, 0, 0, 0, -1), "coordinate 3 is -1, but a store's are not negative"));
  CHECK(contains(store(0, -2, 0, 0, 7, 0), "coordinate 2 is 7, not within the bounding box's 0 to 6"));
  CHECK(contains(store(1, 0, 0, 0, 0, 0), "coordinate 2 is 0, not within the bounding box's 1 to 8"));
  CHECK(contains(run(0, 0,
                     [](const TensorMap&, const TensorMap& tile, unsigned char* s, std::uint64_t*) {
                       tma_store_4d(tile, 0, 0, -1, 0, s);
                     }),
                 "coordinate 2 is -1, but a store's are not negative"));
  CHECK(contains(run(0, 0,
                     [](const TensorMap&, const TensorMap& tile, unsigned char* s, std::uint64_t*) {
                       tma_store_im2col_4d(tile, 0, 0, 0, 0, s);
                     }),
                 "the map was built for the tile mode"));
  CHECK(contains(run(0, 0,
                     [](const TensorMap& column, const TensorMap&, unsigned char* s, std::uint64_t*) {
                       tma_store_4d(column, 0, 0, 0, 0, s);
                     }),
                 "the map was built for the im2col mode"));
  CHECK(contains(run(0, 0,
                     [](const TensorMap& column, const TensorMap&, unsigned char* s, std::uint64_t*) {
                       tma_store_im2col_4d(column, 0, 0, 0, 0, s + 64);
                     }),
                 "is not a multiple of 128"));
  CHECK(contains(run(0, 0,
                     [](const TensorMap& column, const TensorMap&, unsigned char* s, std::uint64_t* b) {
                       tma_load_im2col_4d(s, column, 0, 9, 0, 0, 0, 0, b);
                     }),
                 "coordinate 1 is 9, not within the bounding box's 0 to 8"));
  CHECK(contains(run(0, 0,
                     [](const TensorMap& column, const TensorMap&, unsigned char* s, std::uint64_t* b) {
                       tma_load_im2col_4d(s, column, 0, 0, 0, 0, 0, 256, b);
                     }),
                 "the im2col offset along axis 2 is 256, not within 0 to 255"));
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
