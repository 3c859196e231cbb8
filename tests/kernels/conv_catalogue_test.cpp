// What the catalogue's shapes hold for each rung of the convolutions, so that a rung cannot go without: ragged
// channels, pictures of one pixel, filters larger than the picture, strides larger than the filter, every part of an
// epilogue with more filters than a tile is wide, and a block that takes several tiles. And what a rung has to refuse.

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "kernels/ops.h"
#include "tests/kernels/harness.h"

namespace weft::test {
namespace {

using extents::Conv2d;

constexpr const char* kPasses[] = {"conv2d", "conv2d_backward_data", "conv2d_backward_filter"};

const Op& conv_op(const char* name) {
  const Op* const op = find_op(simt::target().catalogue(), name);
  REQUIRE(op != nullptr);
  return *op;
}

/// Columns of a rung's widest tile of y: with more filters an epilogue meets a second one. 0: it has no tiles.
const std::map<std::string, std::int64_t> kTileColumns = {
    {"direct", 0},
    {"im2col-gemm", 64},  // gemm's register-tile-2d, which is what simt's choice comes to
    {"im2col-tiles", 64},
    {"implicit-gemm", 64},
    {"implicit-gemm-wide", 128},
    {"split-k", 128},
    {"depthwise", 32},
    {"stem", 64},
    {"winograd", 128},
    {"implicit-mma", 128},
    {"implicit-wgmma", 128},
    {"implicit-persistent", 128},
    {"pointwise-gemm", 64},
    {"depthwise-rolling", 32},
    {"depthwise-cluster", 32},
    {"gathered-after", 0},
};

struct Feature {
  std::string name;
  std::function<bool(const std::string& rung, const Problem&)> has;
};

std::vector<Feature> features(const std::string& op) {
  std::vector<Feature> all;
  const int columns_extent = op == "conv2d_backward_data" ? Conv2d::C : Conv2d::K;  // counts the result's channels
  for (const std::int64_t ragged : {3, 5, 17, 63}) {
    all.push_back({"C is " + std::to_string(ragged),
                   [=](const std::string&, const Problem& p) { return p.extents[Conv2d::C] == ragged; }});
    all.push_back({"K is " + std::to_string(ragged),
                   [=](const std::string&, const Problem& p) { return p.extents[Conv2d::K] == ragged; }});
  }
  const auto one_pixel = [](const Problem& p) { return p.extents[Conv2d::H] == 1 && p.extents[Conv2d::W] == 1; };
  all.push_back({"a picture of one pixel", [=](const std::string&, const Problem& p) { return one_pixel(p); }});
  all.push_back({"one pixel and padding", [=](const std::string&, const Problem& p) {
                   return one_pixel(p) && p.extents[Conv2d::pad_h] > 0 && p.extents[Conv2d::pad_w] > 0;
                 }});
  all.push_back({"a filter larger than the picture", [=](const std::string&, const Problem& p) {
                   const auto* e = p.extents;
                   return !one_pixel(p) && e[Conv2d::R] > e[Conv2d::H] && e[Conv2d::S] > e[Conv2d::W];
                 }});
  all.push_back({"a stride larger than the filter", [](const std::string&, const Problem& p) {
                   return p.extents[Conv2d::stride_h] > p.extents[Conv2d::R] &&
                          p.extents[Conv2d::stride_w] > p.extents[Conv2d::S];
                 }});
  all.push_back({"dilation", [](const std::string&, const Problem& p) {
                   const auto* e = p.extents;
                   return e[Conv2d::R] > 1 && e[Conv2d::S] > 1 && e[Conv2d::dilation_h] > 1 &&
                          e[Conv2d::dilation_w] > 1;
                 }});
  all.push_back({"h and w differ", [](const std::string&, const Problem& p) {
                   const auto* e = p.extents;
                   return e[Conv2d::H] != e[Conv2d::W] && e[Conv2d::R] != e[Conv2d::S] &&
                          e[Conv2d::pad_h] != e[Conv2d::pad_w];
                 }});
  all.push_back({"groups of several channels", [](const std::string&, const Problem& p) {
                   return p.extents[Conv2d::groups] > 1 && p.extents[Conv2d::groups] < p.extents[Conv2d::C];
                 }});
  all.push_back({"more channels of the result than a tile's", [=](const std::string& rung, const Problem& p) {
                   return p.extents[columns_extent] > kTileColumns.at(rung);
                 }});
  all.push_back(
      {"more tiles than simt has multiprocessors, which are two", [=](const std::string& rung, const Problem& p) {
         const auto* e = p.extents;
         const std::int64_t rows = e[Conv2d::N] * e[Conv2d::H] * e[Conv2d::W];
         const std::int64_t columns = e[columns_extent];
         return rung == "implicit-persistent" && e[Conv2d::stride_h] == 1 && e[Conv2d::pad_h] <= e[Conv2d::R] / 2 &&
                (rows + 127) / 128 * ((columns + 127) / 128) > 2;
       }});
  if (op == "conv2d_backward_data")
    all.push_back(
        {"another part of dx over more channels than a tile's", [](const std::string& rung, const Problem& p) {
           return p.extents[Conv2d::C] > kTileColumns.at(rung) && p.extents[Conv2d::has_residual] != 0;
         }});
  if (op != "conv2d") return all;
  const auto wide = [](const std::string& rung, const Problem& p) {
    return p.extents[Conv2d::K] > kTileColumns.at(rung);
  };
  for (const auto& [name, extent] : std::map<std::string, int>{{"scale", Conv2d::has_scale},
                                                               {"bias", Conv2d::has_bias},
                                                               {"a residual", Conv2d::has_residual},
                                                               {"relu", Conv2d::relu}})
    all.push_back(
        {name + " over more filters than a tile's", [=, extent = extent](const std::string& rung, const Problem& p) {
           return wide(rung, p) && p.extents[extent] != 0;
         }});
  all.push_back({"a ceiling over more filters than a tile's", [=](const std::string& rung, const Problem& p) {
                   return wide(rung, p) && p.scalars[Conv2d::ceiling] > 0;
                 }});
  return all;
}

/// Calls of every kind, small and cheap to ask a rung about: whether any with a feature can be run says whether the
/// feature can be asked of it.
std::vector<Problem> calls_of_every_kind(const Op& op) {
  std::vector<Problem> all;
  for (const std::int64_t channels : {3, 5, 8, 17, 63, 264})
    for (const std::int64_t filters : {3, 5, 8, 17, 63, 264})
      for (const bool grouped : {false, true})
        for (const std::int64_t size : {1, 2, 20})
          for (const std::int64_t r : {1, 2, 3, 5})
            for (const std::int64_t pad : {0, 1, 2})
              for (const std::int64_t stride : {1, 3})
                for (int epilogue = 0; epilogue < 6; ++epilogue) {
                  // Backward data has one too, the sum; the other two ops have none.
                  const bool sum = std::string(op.name) == "conv2d_backward_data" && epilogue == 3;
                  if (std::string(op.name) != "conv2d" && epilogue != 0 && !sum) continue;
                  if ((grouped && channels != filters) || r > size + 2 * pad) continue;
                  Problem problem{
                      {1, size, size, channels, filters, r, r, stride, stride, pad, pad, 1, 1, grouped ? channels : 1}};
                  auto* e = problem.extents;
                  e[Conv2d::has_scale] = epilogue == 1, e[Conv2d::has_bias] = epilogue == 2;
                  e[Conv2d::has_residual] = epilogue == 3, e[Conv2d::relu] = epilogue >= 4;
                  problem.scalars[Conv2d::ceiling] = epilogue == 5 ? 1.5 : 0;
                  op.check(problem);
                  all.push_back(problem);
                }
  for (const std::int64_t channels : {8, 264})
    for (const std::int64_t groups : {std::int64_t{1}, std::int64_t{2}, channels})
      all.push_back({{1, 20, 19, channels, channels, 3, 2, 1, 1, 2, 1, 2, 3, groups}});
  return all;
}

/// What a rung reads and how it rounds: a feature is asked for in each that it takes.
enum class Numbers { f32, tf32, bf16 };
constexpr Numbers kNumbers[] = {Numbers::f32, Numbers::tf32, Numbers::bf16};
constexpr const char* name_of_numbers(Numbers numbers) {
  return numbers == Numbers::f32 ? "float32" : numbers == Numbers::tf32 ? "tf32" : "bfloat16";
}

bool can_run_in(const Rung& rung, Problem problem, Numbers numbers) {
  problem.dtype = numbers == Numbers::bf16 ? DType::bf16 : DType::f32;
  problem.extents[Conv2d::tf32] = numbers == Numbers::tf32;
  return can_run(rung, problem, 0);
}

/// Whether the list has the feature in these numbers. A rung that takes float32 as it is does not use TF32.
bool meets(const Rung& rung, const Feature& feature, Numbers numbers, std::span<const Problem> problems) {
  return std::any_of(problems.begin(), problems.end(), [&](const Problem& problem) {
    const bool in_these =
        numbers == Numbers::bf16 || (problem.extents[Conv2d::tf32] != 0) == (numbers == Numbers::tf32);
    return in_these && feature.has(rung.name, problem) && can_run_in(rung, problem, numbers);
  });
}

/// Whether the rung can run any call with the feature in these numbers.
bool can_meet(const Rung& rung, const Feature& feature, Numbers numbers, std::span<const Problem> calls) {
  return std::any_of(calls.begin(), calls.end(), [&](const Problem& call) {
    if (!feature.has(rung.name, call) || !can_run_in(rung, call, numbers)) return false;
    return numbers != Numbers::tf32 || !can_run_in(rung, call, Numbers::f32);
  });
}

TEST_CASE("conv catalogue: every rung meets whatever of the list it can run") {
  int asked = 0;
  for (const char* name : {"conv2d", "conv2d_backward_data", "conv2d_backward_filter", "conv2d_statistics"}) {
    const Op& op = conv_op(name);
    const std::vector<Problem> calls = calls_of_every_kind(op);
    for (const Rung& rung : op.rungs) {
      REQUIRE_MESSAGE(kTileColumns.count(rung.name) == 1, std::string(rung.name), " is not in this file's table");
      for (const Feature& feature : features(name)) {
        for (const Numbers numbers : kNumbers) {
          if (!can_meet(rung, feature, numbers, calls)) continue;
          ++asked;
          CHECK_MESSAGE(meets(rung, feature, numbers, op.problems), std::string(name), "/", std::string(rung.name),
                        " never meets in ", std::string(name_of_numbers(numbers)), ": ", feature.name);
        }
      }
    }
  }
  CAPTURE(asked);
  CHECK(asked >= 1035);
}

TEST_CASE("conv catalogue: the fewest bytes leave out what a stride skips, but of a gradient of x nothing") {
  struct Case {
    Problem problem;
    double x, dx, weight, y;  // elements
  };
  const Case cases[] = {
      // 4 x 4 of 8 x 8 pixels.
      {{{2, 8, 8, 16, 24, 1, 1, 2, 2, 0, 0, 1, 1, 1}}, 2 * 16 * 16, 2 * 64 * 16, 24 * 16, 2 * 16 * 24},
      // Rows 0, 1, 3, 4, 6 and 7 of 9, columns 0, 1, 3 and 4 of 7.
      {{{2, 9, 7, 3, 4, 2, 2, 3, 3, 0, 0, 1, 1, 1}}, 2 * 24 * 3, 2 * 63 * 3, 4 * 4 * 3, 2 * 6 * 4},
      // Rows -1, 1, 3 and 5 of 5, and so are the columns.
      {{{1, 5, 5, 1, 1, 2, 2, 2, 2, 1, 1, 2, 2, 1}}, 4, 25, 4, 9},
      {{{1, 6, 5, 8, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1}}, 30 * 8, 30 * 8, 8 * 72, 30 * 8},
  };
  for (const Case& test : cases) {
    CHECK(conv_op("conv2d").bytes(test.problem) == 4 * (test.x + test.weight + test.y));
    CHECK(conv_op("conv2d_backward_filter").bytes(test.problem) == 4 * (test.x + test.weight + test.y));
    CHECK(conv_op("conv2d_backward_data").bytes(test.problem) == 4 * (test.dx + test.weight + test.y));
  }
}

TEST_CASE("conv catalogue: what a grid or 32 bits cannot number is refused") {
  const auto runs = [](const char* op, const char* name, const Problem& problem) {
    for (const Rung& rung : conv_op(op).rungs)
      if (std::string(rung.name) == name) return can_run(rung, problem, 0);
    return false;  // not this pass's
  };
  for (const char* op : kPasses) {
    CAPTURE(std::string(op));
    const auto groups = [](std::int64_t count, DType type) {
      return Problem{{1, 3, 3, 2 * count, 2 * count, 3, 3, 1, 1, 1, 1, 1, 1, count}, {}, type};
    };
    CHECK(runs(op, "implicit-mma", groups(65535, DType::bf16)));
    CHECK(!runs(op, "implicit-mma", groups(65536, DType::bf16)));
    CHECK(runs(op, "implicit-gemm", groups(65535, DType::f32)));
    CHECK(!runs(op, "implicit-gemm", groups(65536, DType::f32)));
    const auto pictures = [](std::int64_t count) {
      return Problem{{count, 32, 32, 8, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1}, {}, DType::bf16};
    };
    for (const char* rung : {"implicit-mma", "implicit-wgmma", "implicit-persistent"}) {
      CAPTURE(std::string(rung));
      const bool has = runs(op, rung, pictures(2));
      CHECK((has || std::string(rung) == "implicit-persistent"));
      CHECK(runs(op, rung, pictures((1 << 20) - 1)) == has);
      CHECK(!runs(op, rung, pictures(1 << 20)));  // 2^30 pixels
    }
  }
}

}  // namespace
}  // namespace weft::test
