// What the catalogue's shapes must have gemm's rungs for tensor cores meet. Hopper's take rows of whole 16 bytes alone,
// TF32 is used where a call allows it, and K is sliced where it is long: a list of shapes that is ragged for the other
// rungs may say little about these. Here it is counted; and which of them a GPU is given.
#include <doctest/doctest.h>

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/gemm/cluster_pair.h"
#include "kernels/gemm/problems.h"
#include "tests/kernels/harness.h"

namespace weft::test {
namespace {

using extents::Gemm;

const std::set<std::int64_t> kSizes = {1, 2, 3, 7, 31, 33, 63, 65, 127, 129};

/// Of rungs 13 to 16. (11 and 12 have 128 x 128, so what lies beyond this one's edge lies beyond theirs.)
constexpr int kTileM = 128, kTileN = 256;

/// The catalogue's problems that a rung takes.
std::vector<Problem> problems_of(const Op& op, const Rung& rung, DType dtype = DType::bf16) {
  std::vector<Problem> taken;
  for (Problem problem : op.problems) {
    problem.dtype = dtype;
    if (can_run(rung, problem, 0)) taken.push_back(problem);
  }
  return taken;
}

template <class Condition>
bool any(const std::vector<Problem>& problems, const Condition& condition) {
  for (const Problem& problem : problems)
    if (condition(problem)) return true;
  return false;
}

std::set<std::int64_t> sizes_among(const std::vector<Problem>& problems, int extent) {
  std::set<std::int64_t> met;
  for (const Problem& problem : problems)
    if (kSizes.count(problem.extents[extent]) == 1) met.insert(problem.extents[extent]);
  return met;
}

std::set<std::pair<bool, bool>> transpositions_among(const std::vector<Problem>& problems) {
  std::set<std::pair<bool, bool>> met;
  for (const Problem& problem : problems)
    met.insert({problem.extents[Gemm::trans_a] != 0, problem.extents[Gemm::trans_b] != 0});
  return met;
}

std::vector<Problem> among(const std::vector<Problem>& problems, bool (*condition)(const Problem&)) {
  std::vector<Problem> chosen;
  for (const Problem& problem : problems)
    if (condition(problem)) chosen.push_back(problem);
  return chosen;
}

const Rung& rung_of(const Op& op, std::string_view name) {
  for (const Rung& rung : op.rungs)
    if (rung.name == name) return rung;
  FAIL("there is no rung " << name);
  return op.rungs.front();
}

/// Whether a block of a persistent rung goes on to another tile; of the others none ever does.
bool takes_second_tile(std::string_view rung, const Problem& problem) {
  const std::int64_t M = problem.extents[Gemm::M], N = problem.extents[Gemm::N];
  if (rung == "persistent") return simt::ceil_div(M, kTileM) * simt::ceil_div(N, kTileN) > simt::multiprocessor_count();
  const simt::GemmCall<simt::bfloat16, simt::bfloat16> call{
      .a = nullptr, .b = nullptr, .y = nullptr, .M = M, .N = N, .K = problem.extents[Gemm::K]};
  const simt::PairOrder pairs = simt::pair_order<kTileM, kTileN>(call);
  return pairs.order.count() > static_cast<int>(pairs.blocks / simt::kClusterBlocks);
}

TEST_CASE("gemm: the catalogue's shapes meet every edge of Hopper's rungs") {
  const Op* op = find_op(simt::target().catalogue(), "gemm");
  REQUIRE(op != nullptr);
  int rungs = 0;
  std::set<std::string> persistent;
  for (const Rung& rung : op->rungs) {
    if (rung.needs.exact_capability != 90) continue;
    ++rungs;
    CAPTURE(std::string(rung.name));
    const std::vector<Problem> problems = problems_of(*op, rung);
    CHECK(sizes_among(problems, Gemm::M) == kSizes);
    CHECK(sizes_among(problems, Gemm::N) == kSizes);
    CHECK(sizes_among(problems, Gemm::K) == kSizes);

    const auto with_beta = [](const Problem& p) { return p.scalars[Gemm::beta] != 0; };
    const auto to_float = [](const Problem& p) { return p.extents[Gemm::out_f32] != 0; };
    CHECK(transpositions_among(problems).size() == 4);
    CHECK(transpositions_among(among(problems, with_beta)).size() == 4);
    const bool writes_float = std::string_view(rung.name) != "tma-store";
    CHECK(transpositions_among(among(problems, to_float)).size() == (writes_float ? 4 : 0));

    const auto has = [&](int extent) {
      return any(problems, [&](const Problem& p) { return p.extents[extent] != 0; });
    };
    CHECK(has(Gemm::has_bias));
    CHECK(has(Gemm::has_residual));
    CHECK(has(Gemm::relu));
    CHECK(any(problems, [](const Problem& p) { return p.scalars[Gemm::alpha] != 1; }));
    CHECK(any(problems, [](const Problem& p) { return p.scalars[Gemm::beta] != 0; }));
    CHECK(any(problems, [](const Problem& p) { return p.extents[Gemm::M] > kTileM && p.extents[Gemm::M] % kTileM; }));
    CHECK(any(problems, [](const Problem& p) { return p.extents[Gemm::N] > kTileN && p.extents[Gemm::N] % kTileN; }));
    CHECK(any(problems, [](const Problem& p) { return simt::pitch_y(p) > p.extents[Gemm::N]; }));
    // Pairs of neighbours that cannot be read at once.
    CHECK(any(problems,
              [](const Problem& p) { return p.extents[Gemm::has_residual] != 0 && simt::pitch_residual(p) % 2 != 0; }));
    // The ring of four stages goes round: five steps of 64 along k.
    CHECK(any(problems, [](const Problem& p) { return p.extents[Gemm::K] > 4 * 64; }));

    const std::string name = rung.name;
    if (name != "persistent" && name != "cluster-multicast" && name != "tma-store") continue;
    persistent.insert(name);
    const auto second = [&](const Problem& p) { return takes_second_tile(name, p); };
    CHECK(any(problems, second));
    // The epilogue of a tile that is not the block's first, with something to read for it.
    CHECK(any(problems, [&](const Problem& p) { return second(p) && p.scalars[Gemm::beta] != 0; }));
    CHECK(any(problems, [&](const Problem& p) { return second(p) && p.extents[Gemm::has_residual] != 0; }));
    CHECK(any(problems, [&](const Problem& p) { return second(p) && to_float(p); }) == writes_float);
  }
  CHECK(rungs == 6);
  CHECK(persistent.size() == 3);
}

TEST_CASE("gemm: the catalogue's shapes meet every size in TF32, and slices of K for every pair of types") {
  const Op* op = find_op(simt::target().catalogue(), "gemm");
  REQUIRE(op != nullptr);
  for (const char* name : {"mma-sync", "mma-multistage"}) {
    const std::vector<Problem> problems = problems_of(*op, rung_of(*op, name), DType::f32);
    CAPTURE(name);
    for (const Problem& problem : problems) CHECK(problem.extents[Gemm::tf32] != 0);
    for (const int extent : {Gemm::M, Gemm::N, Gemm::K}) CHECK(sizes_among(problems, extent) == kSizes);
    CHECK(transpositions_among(problems).size() == 4);
  }

  const Rung& split = rung_of(*op, "split-k");
  const auto residual_in_slices = [&](DType dtype, int extent, bool set) {
    return any(problems_of(*op, split, dtype), [&](const Problem& p) {
      return split.workspace_bytes(p) > 0 && p.extents[Gemm::has_residual] != 0 && (p.extents[extent] != 0) == set;
    });
  };
  CHECK(residual_in_slices(DType::f32, Gemm::tf32, true));
  CHECK(residual_in_slices(DType::f32, Gemm::tf32, false));
  CHECK(residual_in_slices(DType::bf16, Gemm::out_f32, true));
  CHECK(residual_in_slices(DType::bf16, Gemm::out_f32, false));
}

TEST_CASE("gemm: which rung a Hopper GPU is given") {
  const Op* op = find_op(simt::target().catalogue(), "gemm");
  REQUIRE(op != nullptr);
  const auto chosen = [&](const simt::GemmShape& shape, DType dtype, int capability) {
    return std::string(
        op->rungs[static_cast<std::size_t>(pick_rung(*op, simt::gemm_problem(shape, dtype), capability))].name);
  };
  using Shape = simt::GemmShape;
  const Shape large{.M = 4096, .N = 4096, .K = 4096};
  CHECK(chosen(large, DType::bf16, 90) == "tma-store");
  CHECK(chosen({.M = 4096, .N = 4096, .K = 4096, .out_f32 = true}, DType::bf16, 90) == "cluster-multicast");
  CHECK(chosen({.M = 4096, .N = 4095, .K = 4096, .ldb = 4096, .ldy = 4095}, DType::bf16, 90) == "cluster-multicast");
  CHECK(chosen({.M = 1024, .N = 1024, .K = 1024}, DType::bf16, 90) == "warp-specialised");
  CHECK(chosen({.M = 256, .N = 256, .K = 4096}, DType::bf16, 90) == "split-k");
  CHECK(chosen({.M = 4096, .N = 4096, .K = 4095}, DType::bf16, 90) == "mma-multistage");  // rows of odd lengths
  CHECK(chosen(large, DType::bf16, 80) == "mma-multistage");
  CHECK(chosen(large, DType::bf16, 100) == "mma-multistage");
  CHECK(chosen({.M = 1024, .N = 1024, .K = 1024}, DType::bf16, 80) == "split-k");
  CHECK(chosen({.M = 4096, .N = 4096, .K = 4096, .tf32 = true}, DType::f32, 90) == "mma-multistage");
  CHECK(chosen(large, DType::f32, 90) == "cp-async-wide");
  CHECK(chosen(large, DType::f32, 75) == "warp-tile");
}

TEST_CASE("gemm: the order of tiles has each once, in bands of rows, column by column") {
  for (const simt::TileOrder order : {simt::TileOrder{1, 1}, simt::TileOrder{5, 3}, simt::TileOrder{16, 2},
                                      simt::TileOrder{17, 4}, simt::TileOrder{40, 7}, simt::TileOrder{3, 50}}) {
    std::set<std::pair<int, int>> seen;
    int last_band = 0, last_column = 0;
    for (int index = 0; index < order.count(); ++index) {
      const simt::TilePlace place = order.place(index);
      CHECK((place.row >= 0 && place.row < order.rows && place.column >= 0 && place.column < order.columns));
      const int band = place.row / simt::TileOrder::kBand;
      if (band == last_band)
        CHECK(place.column >= last_column);
      else
        CHECK((band == last_band + 1 && place.column == 0));
      last_band = band;
      last_column = place.column;
      seen.insert({place.row, place.column});
    }
    CHECK(seen.size() == static_cast<std::size_t>(order.rows * order.columns));
  }
}

}  // namespace
}  // namespace weft::test
