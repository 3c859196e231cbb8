// fence.proxy.async against PTX ISA, "Memory Consistency Model: Proxies": what threads wrote is the asynchronous
// proxy's to read only after a fence of the thread that wrote it. What of that can be told of plain stores, and what of
// those that the machine performs, stands in kernels/simt/ptx/proxy_view.h.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "kernels/ptx/matrix.h"
#include "kernels/simt/ptx/proxy_view.h"
#include "tests/kernels/ptx_tma_test.h"

namespace weft::simt {
namespace {

using test::contains;
using test::error_of_grid;
using test::Seed;

/// A block of `threads` writes 512 bytes in its own way, `fences` says which of them fence, then thread 0 stores them.
std::string write_and_store(unsigned threads, const std::function<void(unsigned char*)>& write,
                            const std::function<bool(unsigned)>& fences, std::vector<float4>* out = nullptr) {
  std::vector<float4> global(32);
  const std::string error = error_of_grid(dim3(1), dim3(threads), 1024, [&] {
    auto* shared = dynamic_shared<unsigned char>();
    write(shared);
    if (fences(threadIdx.x)) fence_proxy_async();
    __syncthreads();
    if (threadIdx.x != 0) return;
    bulk_store(global.data(), shared, 512);
    bulk_commit_group();
    bulk_wait_group<0>();
  });
  if (out) *out = global;
  return error;
}

/// Four 8 x 8 tiles, 512 bytes, by one warp: lane l gives row l, and its registers count.
void write_tiles(unsigned char* shared) {
  const unsigned lane = threadIdx.x % 32;
  const std::uint32_t tiles[4] = {lane, lane + 100, lane + 200, lane + 300};
  if (threadIdx.x < 32) stmatrix_x4(shared + lane * 16, tiles);
}

TEST_CASE("fence.proxy.async: of what stmatrix stored, each lane fences its own") {
  for (const std::uint64_t seed : {0, 1, 2}) {
    const Seed with(seed);
    std::vector<float4> out;
    CHECK(write_and_store(
              32, write_tiles, [](unsigned) { return true; }, &out) == "");
    std::uint32_t words[128];
    std::memcpy(words, out.data(), 512);
    for (unsigned tile = 0; tile < 4; ++tile)  // row g of a tile is words 4 g and on: lane 4 g + t has word t
      for (unsigned lane = 0; lane < 32; ++lane) CHECK(words[tile * 32 + lane] == lane + tile * 100);

    for (const unsigned forgets : {0u, 13u, 31u}) {
      const std::string error = write_and_store(32, write_tiles, [&](unsigned t) { return t != forgets; });
      CHECK(contains(error, "cp.async.bulk (store) at "));
      CHECK(contains(error, "which thread " + std::to_string(forgets) + " wrote by stmatrix.x4 at "));
      CHECK(contains(error, "(fence.proxy.async)"));
    }
    // One thread's fence is not the others'.
    CHECK(contains(write_and_store(32, write_tiles, [](unsigned t) { return t == 31; }), "which thread 0 wrote"));
    CHECK(contains(write_and_store(32, write_tiles, [](unsigned) { return false; }), "which thread 0 wrote"));
    // Nor is that of another warp, although it runs later.
    CHECK(contains(write_and_store(64, write_tiles, [](unsigned t) { return t >= 32; }), "which thread 0 wrote"));
  }
}

TEST_CASE("fence.proxy.async: each of stmatrix's forms marks what each lane stored") {
  // Tiles are transposed: element (row, column) is lane (column, row)'s, so a word of a row is of two lanes.
  const auto one = [](unsigned char* shared) {
    for (int i = 0; i < 4; ++i) reinterpret_cast<std::uint32_t*>(shared)[threadIdx.x * 4 + i] = 0;
    fence_proxy_async();
    __syncwarp();
    const std::uint32_t tile[1] = {0x10001 * (threadIdx.x + 1)};
    stmatrix_x1_trans(shared + threadIdx.x % 8 * 16, tile);
  };
  CHECK(write_and_store(32, one, [](unsigned) { return true; }) == "");
  CHECK(contains(write_and_store(32, one, [](unsigned t) { return t != 4; }),
                 "byte 2 of the block's dynamic shared memory, which thread 4 wrote by stmatrix.x1.trans"));
}

TEST_CASE("fence.proxy.async: plain stores, by when they were made") {
  const auto write = [](unsigned char* shared) {
    for (int i = 0; i < 4; ++i) reinterpret_cast<float*>(shared)[threadIdx.x * 4 + i] = static_cast<float>(threadIdx.x);
  };
  int found = 0;
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    const Seed with(seed);
    CHECK(write_and_store(32, write, [](unsigned) { return true; }) == "");
    CHECK(contains(write_and_store(32, write, [](unsigned) { return false; }),
                   "which a thread wrote and no fence.proxy.async has shown to the asynchronous proxy since"));
    // One thread's fence for all: an error where another thread runs after it.
    found += contains(write_and_store(32, write, [](unsigned t) { return t == 20; }), "no fence.proxy.async has shown");
    if (seed == 0)
      CHECK(contains(write_and_store(32, write, [](unsigned t) { return t == 0; }), "no fence.proxy.async has shown"));
  }
  CHECK(found >= 6);
}

TEST_CASE("fence.proxy.async: what a thread writes after its fence is not shown") {
  for (const bool again : {true, false}) {
    const std::string error = error_of_grid(dim3(1), dim3(1), 1024, [&] {
      auto* shared = dynamic_shared<float>();
      std::vector<float4> global(1);
      for (int i = 0; i < 4; ++i) shared[i] = 1;
      fence_proxy_async();
      shared[2] = 5;
      if (again) fence_proxy_async();
      bulk_store(global.data(), shared, 16);
      bulk_commit_group();
      bulk_wait_group<0>();
      CHECK(global[0].z == 5);
    });
    if (again)
      CHECK(error == "");
    else
      CHECK(
          contains(error, "it reads byte 10 of the block's dynamic shared memory"));  // 5.0f is 0x40a00000, 1 0x3f80..
  }
}

TEST_CASE("fence.proxy.async: what the proxy wrote itself needs none, and takes earlier stores' place") {
  std::vector<float4> source(32), target(32);
  for (int i = 0; i < 32; ++i) source[i] = {1.0f * i, 2.0f * i, 3, 4};
  CHECK(error_of_grid(dim3(1), dim3(32), 1024, [&] {
          auto* shared = dynamic_shared<unsigned char>();
          auto* barrier = reinterpret_cast<std::uint64_t*>(shared + 512);
          write_tiles(shared);  // never fenced, and never read
          __syncwarp();
          if (threadIdx.x != 0) return;
          mbarrier_init(barrier, 1);
          fence_mbarrier_init();
          mbarrier_arrive_expect_tx(barrier, 512);
          bulk_load(shared, source.data(), 512, barrier);
          mbarrier_wait(barrier, 0);
          bulk_store(target.data(), shared, 512);
          bulk_commit_group();
          bulk_wait_group<0>();
        }) == "");
  CHECK(std::memcmp(source.data(), target.data(), 512) == 0);
}

TEST_CASE("the proxy's view: marks are by pairs of bytes, wherever memory ends") {
  alignas(16) unsigned char memory[21];
  for (int i = 0; i < 21; ++i) memory[i] = static_cast<unsigned char>(i);
  ProxyView view;
  view.start_block(memory, sizeof memory, 4);
  const auto refused = [&](std::size_t offset, std::size_t bytes) -> std::string {
    try {
      view.require_fenced(offset, bytes);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  CHECK(contains(refused(0, 21), "reads byte 0 of"));
  view.fence(3);
  CHECK(refused(0, 21) == "");
  const auto store = [&](unsigned thread, int at) {
    memory[at] = memory[at + 1] = static_cast<unsigned char>(100 + thread);
    view.stored(thread, memory + at, "stmatrix", Site::here());
  };
  store(1, 4), store(2, 8), store(1, 18);
  memory[20] = 7;
  CHECK(contains(refused(0, 8), "byte 4 of the block's dynamic shared memory, which thread 1 wrote by stmatrix at "));
  CHECK(refused(6, 2) == "");
  CHECK(contains(refused(6, 4), "thread 2 wrote"));
  view.fence(2);
  CHECK(refused(6, 12) == "");
  CHECK(contains(refused(4, 2), "thread 1"));
  CHECK(view.data()[4] == 4);  // as it was
  CHECK(view.data()[8] == 102);
  CHECK(view.data()[20] == 7);  // a plain store: whoever fences
  view.overwritten(4, 2);       // by the proxy, which writes both
  CHECK(contains(refused(4, 2), "reads byte 4 of the block's dynamic shared memory, which a thread wrote and no"));
  view.fence(1);
  CHECK(refused(0, 21) == "");
  view.stored(1, memory + 20, "stmatrix", Site::here());  // not two bytes: not all of it in this memory
  CHECK(refused(0, 21) == "");
}

}  // namespace
}  // namespace weft::simt
