// What the catalogue's tests do not see of gemm: addresses that are not aligned, the call of other ops' launchers, the
// choice of a rung for devices that are not here, how K is cut, and the banks that a warp's reads fall into.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/problems.h"
#include "kernels/gemm/split_k.h"
#include "kernels/gemm/warp_tile.h"
#include "tests/kernels/harness.h"
#include "tests/kernels/unaligned.h"

namespace weft::test {
namespace {

using simt::gemm_problem;
using simt::GemmCall;

const Op& gemm_op() {
  const Op* op = find_op(simt::target().catalogue(), "gemm");
  REQUIRE(op != nullptr);
  return *op;
}

TEST_CASE("gemm: operands at any address") {
  const Op& op = gemm_op();
  for (const bool trans_a : {false, true})
    for (const bool trans_b : {false, true})
      for (const DType type : {DType::f32, DType::bf16}) {
        // Rows of whole 16 bytes, so that nothing but the addresses stands against reading four at a time.
        const Problem problem = gemm_problem({.M = 40,
                                              .N = 64,
                                              .K = 32,
                                              .trans_a = trans_a,
                                              .trans_b = trans_b,
                                              .bias = true,
                                              .residual = true,
                                              .tf32 = true,
                                              .beta = 1},
                                             type);
        const Signature signature = op.signature(problem);
        const auto values = draw_operands(simt::target().catalogue(), op, problem, Draw::integers, true);
        const Truth truth = evaluate(op, problem, values);
        for (const Rung& rung : op.rungs) {
          if (!can_run(rung, problem, 0) || rung.needs.alignment > 1) continue;
          CAPTURE(std::string(rung.name));
          CAPTURE(std::string(name_of(type)));
          const Outcome outcome = run_unaligned(rung, problem, signature, values);
          for (const std::string& line : compare(op, problem, signature, truth, outcome, true)) FAIL_CHECK(line);
        }
      }
}

/// gemm_best against a loop in double, on small integers at addresses off by one.
template <class T, class Out>
void check_best(std::int64_t M, std::int64_t N, std::int64_t K) {
  const std::int64_t lda = M + 3, ldb = N + 1, ldy = N + 5;
  std::vector<T> a(1 + static_cast<std::size_t>(K * lda)), b(1 + static_cast<std::size_t>(K * ldb));
  std::vector<T> bias(static_cast<std::size_t>(N));
  std::vector<Out> y(1 + static_cast<std::size_t>(M * ldy)), residual(static_cast<std::size_t>(M * N));
  int next = 0;
  const auto fill = [&](auto& values) {
    for (auto& value : values)
      value = static_cast<std::decay_t<decltype(value)>>(static_cast<float>(next++ * 7 % 5 - 2));
  };
  fill(a), fill(b), fill(bias), fill(y), fill(residual);
  const std::vector<Out> before = y;
  simt::gemm_best<T, Out>({.a = a.data() + 1,
                           .b = b.data() + 1,
                           .bias = bias.data(),
                           .residual = residual.data(),
                           .y = y.data() + 1,
                           .M = M,
                           .N = N,
                           .K = K,
                           .lda = lda,
                           .ldb = ldb,
                           .ldy = ldy,
                           .trans_a = true,
                           .relu = true,
                           .alpha = 0.5f,
                           .beta = -1},
                          nullptr);
  CHECK(static_cast<float>(y[0]) == static_cast<float>(before[0]));
  int wrong = 0;
  for (std::int64_t m = 0; m < M; ++m)
    for (std::int64_t n = 0; n < ldy; ++n) {
      const auto at = static_cast<std::size_t>(1 + m * ldy + n);
      double exact = static_cast<double>(static_cast<float>(before[at]));
      if (n < N) {
        double sum = 0;
        for (std::int64_t k = 0; k < K; ++k)
          sum += static_cast<double>(static_cast<float>(a[static_cast<std::size_t>(1 + k * lda + m)])) *
                 static_cast<double>(static_cast<float>(b[static_cast<std::size_t>(1 + k * ldb + n)]));
        exact = 0.5 * sum - exact + static_cast<double>(static_cast<float>(bias[static_cast<std::size_t>(n)])) +
                static_cast<double>(static_cast<float>(residual[static_cast<std::size_t>(m * N + n)]));
        exact = exact < 0 ? 0 : exact;
      }
      wrong += !(static_cast<double>(static_cast<float>(y[at])) == exact);
    }
  CHECK(wrong == 0);
}

TEST_CASE("gemm: gemm_best takes what no catalogue's problem has, in all three pairs of types") {
  check_best<float, float>(5, 9, 17);
  check_best<float, float>(33, 70, 20);
  check_best<simt::bfloat16, simt::bfloat16>(9, 20, 12);
  check_best<simt::bfloat16, float>(20, 33, 40);
}

TEST_CASE("gemm: the choice for devices that are not here") {
  const Op& op = gemm_op();
  const auto chosen = [&](const simt::GemmShape& shape, int capability, DType type = DType::f32) {
    const Problem problem = gemm_problem(shape, type);
    const int rung = op.choose(problem, capability);  // not pick_rung(): a GPU's table may know better
    CHECK(can_run(op.rungs[static_cast<std::size_t>(rung)], problem, capability));
    return std::string(op.rungs[static_cast<std::size_t>(rung)].name);
  };
  CHECK(chosen({.M = 4096, .N = 4096, .K = 4096}, 90) == "cp-async-wide");
  CHECK(chosen({.M = 4096, .N = 4096, .K = 4096}, 75) == "warp-tile");
  CHECK(chosen({.M = 4096, .N = 4096, .K = 4096}, 0) == "register-tile-2d");
  CHECK(chosen({.M = 1500, .N = 1500, .K = 1500}, 80) == "cp-async");
  CHECK(chosen({.M = 64, .N = 576, .K = 100000, .trans_a = true}, 90) == "split-k");
  CHECK(chosen({.M = 64, .N = 576, .K = 100000, .trans_a = true}, 75) == "register-tile-2d");
  CHECK(chosen({.M = 64, .N = 576, .K = 100000, .trans_a = true}, 90, DType::bf16) == "split-k");
  CHECK(chosen({.M = 4096, .N = 4096, .K = 4096}, 80, DType::bf16) == "mma-multistage");
  CHECK(chosen({.M = 4096, .N = 4096, .K = 4096, .tf32 = true}, 80) == "mma-multistage");
  CHECK(chosen({.M = 1, .N = 1000, .K = 100}, 90) == "coalesced");
  CHECK(chosen({.M = 200, .N = 200, .K = 200}, 90) == "register-tile-2d");
  CHECK(chosen({.M = 4096, .N = 4096, .K = 4096}, 75, DType::bf16) == "register-tile-2d");
  // What is chosen can run, whatever is asked, on every kind of device.
  for (const Problem& listed : op.problems)
    for (const DType type : {DType::f32, DType::bf16})
      for (const int capability : {0, 75, 80, 86, 89, 90, 100, 120}) {
        Problem problem = listed;
        problem.dtype = type;
        CHECK(can_run(op.rungs[static_cast<std::size_t>(op.choose(problem, capability))], problem, capability));
      }
}

TEST_CASE("gemm: the slices of K are all of K, none is empty, and they begin at whole steps") {
  for (const std::int64_t M : {1, 64, 129, 4096})
    for (const std::int64_t N : {1, 200, 1000})
      for (const std::int64_t K : {1, 63, 127, 128, 129, 600, 100000, 100003}) {
        const simt::Slices slices = simt::slices_of(M, N, K, 128, 128, 16);
        CAPTURE(K);
        CHECK(slices.count >= 1);
        CHECK((slices.count - 1) * slices.depth < K);
        CHECK(slices.count * slices.depth >= K);
        if (slices.count > 1) {
          CHECK(slices.depth % 16 == 0);
          CHECK(slices.depth >= 64);
        }
      }
  CHECK(simt::slices_of(64, 576, 100000, 128, 128, 16).count > 50);
  CHECK(simt::slices_of(4096, 4096, 4096, 128, 128, 16).count == 1);
  CHECK(simt::slices_bytes({3, 64}, 5, 9) == 3 * 5 * 12 * 4);
}

// Half a warp's reads of 16 bytes each are served in one turn where lanes i and i xor 1 ask for the same, or lanes i
// and i xor 2 do, and the different ones fall into different banks.
void check_half_warps(const std::map<int, int>& word_of_lane) {
  for (const int half : {0, 16}) {
    bool by_one = true, by_two = true;
    std::set<int> words, banks;
    for (int lane = half; lane < half + 16; ++lane) {
      by_one &= word_of_lane.at(lane) == word_of_lane.at(lane ^ 1);
      by_two &= word_of_lane.at(lane) == word_of_lane.at(lane ^ 2);
      words.insert(word_of_lane.at(lane));
      banks.insert(word_of_lane.at(lane) % 32);
    }
    CHECK((by_one || by_two));
    CHECK(banks.size() == words.size());
  }
}

template <class Tile>
void check_warp_tile() {
  std::set<int> covered;
  for (int first = 0; first < Tile::kThreads; first += 32) {
    for (int k = 0; k < Tile::kBlockK; ++k) {
      std::map<int, int> words_a, words_b;
      for (int lane = 0; lane < 32; ++lane) {
        const simt::ThreadOrigin thread = simt::thread_origin<Tile>(first + lane);
        words_a[lane] = k * (Tile::kBlockM + simt::kPad) + thread.m;
        words_b[lane] = k * (Tile::kBlockN + simt::kPad) + thread.n;
      }
      check_half_warps(words_a);
      check_half_warps(words_b);
    }
    for (int lane = 0; lane < 32; ++lane) {
      const simt::ThreadOrigin thread = simt::thread_origin<Tile>(first + lane);
      for (int i = 0; i < Tile::kThreadM; ++i)
        for (int j = 0; j < Tile::kThreadN; ++j)
          covered.insert((thread.m + i / 4 * Tile::kApartM + i % 4) * Tile::kBlockN + thread.n + j / 4 * Tile::kApartN +
                         j % 4);
    }
  }
  CHECK(covered.size() == static_cast<std::size_t>(Tile::kBlockM * Tile::kBlockN));  // each element once
  CHECK(*covered.rbegin() == Tile::kBlockM * Tile::kBlockN - 1);
}

TEST_CASE("gemm: a warp's reads of its tile meet in no bank, and its threads have all of y") {
  check_warp_tile<simt::WarpTiling<2, 4, 8, 8, 16>>();
  check_warp_tile<simt::WarpTiling<2, 4, 8, 16, 16>>();
}

TEST_CASE("gemm: what makes no sense is refused in one line") {
  const auto refusal = [&](const simt::GemmShape& shape) {
    try {
      gemm_op().check(gemm_problem(shape));
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(refusal({.M = 2, .N = 3, .K = 4, .lda = 4, .ldb = 3, .ldy = 3, .ld_residual = 3}).empty());
  CHECK(refusal({.M = 2, .N = 0, .K = 4}).find("but M=2 N=0 K=4") != std::string::npos);
  CHECK(refusal({.M = 2, .N = 3, .K = 4, .lda = 3})
            .find("lda is 0 (dense) or at least the row's length 4, but it is 3") != std::string::npos);
  CHECK(refusal({.M = 5, .N = 3, .K = 4, .trans_a = true, .lda = 4}).find("length 5") != std::string::npos);
  CHECK(refusal({.M = 2, .N = 3, .K = 4, .trans_b = true, .ldb = 3}).find("ldb is") != std::string::npos);
  CHECK(refusal({.M = 2, .N = 3, .K = 4, .ldy = -3}).find("ldy is") != std::string::npos);
  CHECK(refusal({.M = 2, .N = 3, .K = 4, .ld_residual = 2}).find("ld_residual is") != std::string::npos);
}

}  // namespace
}  // namespace weft::test
