// Which maximum wins, what a NaN does, and what an average is divided by: against torch's.
//
// The literals come from torch 1.13, torch.nn.functional.max_pool2d(x, k, s, p, ceil_mode=c, return_indices=True) and
// avg_pool2d(x, k, s, p, ceil_mode=c), x as below; for the average x = torch.arange(1., 26).view(1, 1, 5, 5).

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <string_view>

#include "kernels/error.h"
#include "kernels/ops.h"
#include "tests/kernels/call.h"

namespace weft::test {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

const Values kX = {1, 3, 3, 0, 2, 3, 3, 1, 5, 5, 0, -1, kNaN, 2, 2, 7, 7, 7, -4, kNaN, 7, 1, 2, kNaN, 0};

struct Case {
  std::int64_t window, stride, pad, outputs;  // along both axes
  Values y, index;
};
const Case kMaxCases[] = {
    {2, 2, 0, 2, {3, 5, 7, kNaN}, {1, 8, 15, 12}},
    {3, 2, 0, 2, {kNaN, kNaN, kNaN, kNaN}, {12, 12, 12, 23}},
    {3, 2, 1, 3, {3, 5, 5, 7, kNaN, kNaN, 7, kNaN, kNaN}, {1, 8, 8, 15, 12, 19, 15, 23, 23}},
    {2, 2, 0, 3, {3, 5, 5, 7, kNaN, kNaN, 7, kNaN, 0}, {1, 8, 9, 15, 12, 19, 20, 23, 24}},  // ceil_mode
};
const Case kAverageCases[] = {
    {2, 2, 0, 3, {4, 6, 7.5, 14, 16, 17.5, 21.5, 23.5, 25}, {}},  // ceil_mode
    {3,
     2,
     1,
     3,
     {1.77777779, 3.66666675, 3.11111116, 7.66666651, 13, 9.66666698, 8.44444466, 13.666667, 9.77777767},
     {}},
    {3, 3, 1, 2, {1.77777779, 4.33333349, 11, 19}, {}},  // ceil_mode, and no difference
};

Problem pool_call(const Case& pool, std::int64_t channels = 1) {
  const std::int64_t k = pool.window, s = pool.stride, p = pool.pad, o = pool.outputs;
  return {{1, 5, 5, channels, k, k, s, s, p, p, o, o}};
}

/// The picture in each of `channels` channels.
Values spread(const Values& picture, std::size_t channels) {
  Values all;
  for (const double value : picture) all.insert(all.end(), channels, value);
  return all;
}

TEST_CASE("max pool: the first maximum wins and a NaN beats everything, as in torch") {
  for (const Case& pool : kMaxCases)
    for (const std::size_t channels : {std::size_t{1}, std::size_t{33}}) {
      const Values empty(pool.y.size() * channels);
      call_every_rung("max_pool", pool_call(pool, static_cast<std::int64_t>(channels)),
                      {spread(kX, channels), empty, empty}, [&](const std::vector<Values>& results) {
                        const Values y = spread(pool.y, channels);
                        for (std::size_t i = 0; i < y.size(); ++i)
                          CHECK((results[1][i] == y[i] || (std::isnan(y[i]) && std::isnan(results[1][i]))));
                        CHECK(results[2] == spread(pool.index, channels));
                      });
    }
}

TEST_CASE("max pool without index: the same maxima, and the gradient goes where the index would have pointed") {
  for (const Case& pool : kMaxCases)
    for (const std::size_t channels : {std::size_t{1}, std::size_t{32}, std::size_t{33}}) {
      const Problem problem = pool_call(pool, static_cast<std::int64_t>(channels));
      const Values x = spread(kX, channels), y = spread(pool.y, channels), index = spread(pool.index, channels);
      call_every_rung("max_pool_unindexed", problem, {x, Values(y.size())}, [&](const std::vector<Values>& results) {
        for (std::size_t i = 0; i < y.size(); ++i)
          CHECK((results[1][i] == y[i] || (std::isnan(y[i]) && std::isnan(results[1][i]))));
      });
      Values dy(y.size()), dx(x.size(), 0.0);
      for (std::size_t i = 0; i < dy.size(); ++i) {
        dy[i] = static_cast<double>(1 + i % 7);
        dx[static_cast<std::size_t>(index[i]) * channels + i % channels] += dy[i];
      }
      call_every_rung("max_pool_unindexed_backward", problem, {x, dy, Values(x.size())},
                      [&](const std::vector<Values>& results) { CHECK(results[2] == dx); });
    }
}

TEST_CASE("max pool: minus infinity everywhere still gives an index inside the window") {
  const Values lowest(25, -std::numeric_limits<double>::infinity());
  call_every_rung("max_pool", pool_call(kMaxCases[2]), {lowest, Values(9), Values(9)},
                  [&](const std::vector<Values>& results) {
                    CHECK(results[2] == Values{0, 1, 3, 5, 6, 8, 15, 16, 18});
                  });
}

TEST_CASE("max pool backward: a pixel collects from every window that it won") {
  // Windows of 3 with stride 1 over a picture whose centre is largest: all nine windows send their gradient there.
  const Problem problem{{1, 5, 5, 1, 3, 3, 1, 1, 0, 0, 3, 3}};
  Values expected(25, 0.0);
  expected[12] = 1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 9;
  call_every_rung("max_pool_backward", problem, {{1, 2, 3, 4, 5, 6, 7, 8, 9}, Values(9, 12.0), Values(25)},
                  [&](const std::vector<Values>& results) { CHECK(results[2] == expected); });
}

TEST_CASE("average pool: padding counts, what hangs over does not, as in torch") {
  Values x;
  for (int i = 1; i <= 25; ++i) x.push_back(i);
  for (const Case& pool : kAverageCases)
    call_every_rung("avg_pool", pool_call(pool), {x, Values(pool.y.size())}, [&](const std::vector<Values>& results) {
      for (std::size_t i = 0; i < pool.y.size(); ++i) CHECK(std::abs(results[1][i] - pool.y[i]) <= 4e-6);
    });
}

TEST_CASE("pools: the choice: walking down a picture where something is wanted twice and there are pictures enough") {
  const auto picked = [](const char* name, std::int64_t images, std::int64_t stride) {
    const Op& op = op_of(devices().front(), name);
    const std::int64_t outputs = 112 / stride;
    const Problem problem{{images, 112, 112, 64, 3, 3, stride, stride, 1, 1, outputs, outputs}};
    return std::string(op.rungs[static_cast<std::size_t>(pick_rung(op, problem, 90))].name);
  };
  for (const char* name : {"max_pool", "max_pool_backward", "avg_pool", "avg_pool_backward"}) {
    CHECK(picked(name, 64, 2) == "rolling-rows");
    CHECK(picked(name, 64, 1) == "rolling-rows");
    // No pixel is in two windows; but a window's gradient is wanted by nine pixels.
    const bool backward = std::string_view(name).ends_with("_backward");
    CHECK(picked(name, 64, 4) == (backward ? "rolling-rows" : "vectorised"));
    CHECK(picked(name, 8, 2) == "vectorised");  // 16 blocks
  }
}

TEST_CASE("pools: the fewest bytes leave out what a stride skips, but of a gradient of x nothing") {
  // Rows and columns 0, 1, 3 and 4 of 7: 16 pixels of 49 under 4 windows, 4 channels of 4 bytes.
  const Problem problem{{1, 7, 7, 4, 2, 2, 3, 3, 0, 0, 2, 2}};
  const auto bytes = [&](const char* name) { return op_of(devices().front(), name).bytes(problem); };
  CHECK(bytes("avg_pool") == 16 * (16 + 4));
  CHECK(bytes("avg_pool_backward") == 16 * (49 + 4));
  CHECK(bytes("max_pool") == 16 * (16 + 4 + 4));
  CHECK(bytes("max_pool_backward") == 16 * (49 + 4 + 4));
  CHECK(bytes("max_pool_unindexed") == 16 * (16 + 4));
  CHECK(bytes("max_pool_unindexed_backward") == 16 * (16 + 49 + 4));
}

TEST_CASE("pools: a shape that makes no sense is refused with its numbers") {
  const Op& op = op_of(devices().front(), "max_pool");
  const auto refused = [&](const Problem& problem, const char* part) {
    try {
      op.check(problem);
    } catch (const Error& error) {
      CHECK_MESSAGE(std::string(error.what()).find(part) != std::string::npos, error.what());
      return;
    }
    FAIL_CHECK("not refused: " << part);
  };
  refused({{1, 5, 5, 1, 2, 2, 2, 2, 0, 0, 4, 2}}, "along H");
  refused({{1, 5, 5, 1, 2, 2, 2, 2, 0, 0, 2, 4}}, "gives 2 outputs (3 with ceil_mode), not 4");
  refused({{1, 5, 5, 1, 2, 2, 2, 2, 2, 0, 4, 2}}, "half the window at most");
  refused({{1, 2, 2, 1, 5, 5, 1, 1, 0, 0, 1, 1}}, "larger than the padded picture");
  refused({{0, 5, 5, 1, 2, 2, 2, 2, 0, 0, 2, 2}}, "N is 0");
  // The last window would start in the padding behind the picture: torch leaves it out, ceil_mode or not.
  refused({{1, 4, 4, 1, 2, 2, 3, 3, 1, 1, 3, 3}}, "not 3");
}

}  // namespace
}  // namespace weft::test
