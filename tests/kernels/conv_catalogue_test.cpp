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
                  for (const DType type : {DType::f32, DType::bf16}) {
                    problem.dtype = type;
                    all.push_back(problem);
                  }
                }
  return all;
}

bool any(const Rung& rung, const Feature& feature, std::span<const Problem> problems) {
  return std::any_of(problems.begin(), problems.end(), [&](Problem problem) {
    if (!feature.has(rung.name, problem)) return false;
    for (const DType type : {DType::f32, DType::bf16}) {
      problem.dtype = type;
      if (can_run(rung, problem, 0)) return true;
    }
    return false;
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
        if (!any(rung, feature, calls)) continue;
        ++asked;
        CHECK_MESSAGE(any(rung, feature, op.problems), std::string(name), "/", std::string(rung.name),
                      " never meets: ", feature.name);
      }
    }
  }
  CAPTURE(asked);
  CHECK(asked >= 515);
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
