// Convolutions taken in parts (kernels/conv/im2col_parts.h): which rows a part has, and that the three passes give the
// same result however small the parts are.

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/conv/im2col_parts.h"
#include "kernels/ops.h"
#include "tests/kernels/harness.h"

namespace weft::test {
namespace {

using extents::Conv2d;

/// 3 pictures of 11 x 5 with 2 channels to 4 filters of r x 2, along the height as told.
Problem tall(std::int64_t r, std::int64_t stride, std::int64_t pad, std::int64_t dilation) {
  return {{3, 11, 5, 2, 4, r, 2, stride, 1, pad, 1, dilation, 1, 1}};
}

/// Calls look(problem, rows) for filters, strides, paddings and dilations along the height, and sizes of a part.
template <class Look>
void for_shapes(const Look& look) {
  for (std::int64_t r = 1; r <= 4; ++r)
    for (std::int64_t stride = 1; stride <= 5; ++stride)
      for (std::int64_t pad = 0; pad <= 5; ++pad)
        for (std::int64_t dilation = 1; dilation <= 3; ++dilation) {
          const Problem problem = tall(r, stride, pad, dilation);
          if (dilation * (r - 1) + 1 > 11 + 2 * pad) continue;
          CAPTURE(r);
          CAPTURE(stride);
          CAPTURE(pad);
          CAPTURE(dilation);
          const simt::ConvShape z = simt::conv_shape(problem);
          for (const std::int64_t rows : {0, 1, z.Q, 2 * z.Q + 1, z.P * z.Q, 2 * z.P * z.Q + 1, 1000000}) {
            CAPTURE(rows);
            look(z, rows);
          }
        }
}

TEST_CASE("conv parts: every row of y is in one part, where the whole convolution has it") {
  for_shapes([](const simt::ConvShape& z, std::int64_t rows) {
    std::vector<int> seen(static_cast<std::size_t>(z.N * z.P), 0);
    const auto parts = simt::parts_by_output(z, rows);
    for (const simt::ConvPart& part : parts) {
      const simt::ConvShape& s = part.shape;
      CHECK(s.pixels_out() <= std::max<std::int64_t>(rows, z.Q));
      CHECK(s.pixels_out() <= parts.front().shape.pixels_out());
      REQUIRE(part.y % (z.Q * z.K) == 0);
      REQUIRE(part.x % (z.H * z.W * z.C) == 0);
      const auto row = static_cast<int>(part.y / (z.Q * z.K)), picture = static_cast<int>(part.x / (z.H * z.W * z.C));
      CHECK(row / z.P == picture);
      CHECK((s.N == 1 || s.P == z.P));
      CHECK(s.H == z.H);
      for (int i = 0; i < s.N * s.P; ++i) ++seen[static_cast<std::size_t>(row + i)];
      for (int p = 0; p < s.P; ++p)
        for (int r = 0; r < z.R; ++r) CHECK(s.row_in(p, r) == z.row_in(row % z.P + p, r));
    }
    CHECK(std::all_of(seen.begin(), seen.end(), [](int count) { return count == 1; }));
  });
}

TEST_CASE("conv parts: every row of x is in one part, with all the rows of y that it was copied to") {
  for_shapes([](const simt::ConvShape& z, std::int64_t rows) {
    std::vector<int> seen(static_cast<std::size_t>(z.N * z.H), 0);
    for (const simt::ConvPart& part : simt::parts_by_input(z, rows)) {
      const simt::ConvShape& s = part.shape;
      CHECK((s.pixels_out() <= rows || s.H == 1));
      REQUIRE(part.x % (z.W * z.C) == 0);
      REQUIRE(part.y % (z.Q * z.K) == 0);
      const auto row = static_cast<int>(part.x / (z.W * z.C)), first = static_cast<int>(part.y / (z.Q * z.K));
      CHECK((s.N == 1 || (s.H == z.H && s.P == z.P)));
      REQUIRE(first + s.N * s.P <= z.N * z.P);
      const int above = first - row / z.H * z.P;  // rows of y in the picture that the part leaves out
      for (int i = 0; i < s.N * s.H; ++i) ++seen[static_cast<std::size_t>(row + i)];
      for (int h = 0; h < s.H; ++h)
        for (int r = 0; r < z.R; ++r) {
          const int whole = z.row_out(row % z.H + h, r);
          CHECK(s.row_out(h, r) == (whole < 0 ? -1 : whole - above));
        }
    }
    CHECK(std::all_of(seen.begin(), seen.end(), [](int count) { return count == 1; }));
  });
}

/// A rung of each pass that takes at most kRows rows of columns at a time.
template <std::int64_t kRows>
constexpr Rung kPasses[] = {
    {"conv2d",
     "",
     {},
     [](const Problem& p, void* const* o, void* w, Stream s) { simt::conv2d_in_parts(p, kRows, o, w, s); },
     [](const Problem& p) { return simt::conv2d_in_parts_workspace(p, kRows); }},
    {"conv2d_backward_data",
     "",
     {},
     [](const Problem& p, void* const* o, void* w, Stream s) {
       simt::conv2d_backward_data_in_parts(p, kRows, o, w, s);
     },
     [](const Problem& p) { return simt::conv2d_backward_data_in_parts_workspace(p, kRows); }},
    {"conv2d_backward_filter",
     "",
     {},
     [](const Problem& p, void* const* o, void* w, Stream s) {
       simt::conv2d_backward_filter_in_parts(p, kRows, o, w, s);
     },
     [](const Problem& p) { return simt::conv2d_backward_filter_in_parts_workspace(p, kRows); }},
};

/// All three passes in parts, within the bound and on integers exactly.
template <std::int64_t kRows>
void check_passes(Problem problem) {
  const Catalogue catalogue = simt::target().catalogue();
  char text[256];
  for (const Rung& rung : kPasses<kRows>)
    for (const DType type : {DType::f32, DType::bf16}) {
      problem.dtype = type;
      const Op* const op = find_op(catalogue, rung.name);
      REQUIRE(op != nullptr);
      CAPTURE(std::string(rung.name));
      CAPTURE(std::string(name_of(type)));
      CAPTURE(kRows);
      CAPTURE(std::string(describe(*op, problem, text, sizeof text)));
      const Signature signature = op->signature(problem);
      for (const Draw draw : {Draw::random, Draw::integers}) {
        const auto values = draw_operands(catalogue, *op, problem, draw, true);
        const Truth truth = evaluate(*op, problem, values);
        const Outcome outcome = run_rung({simt::target()}, rung, problem, signature, values);
        for (const std::string& line : outcome.complaints) FAIL_CHECK(line);
        for (const std::string& line : compare(*op, problem, signature, truth, outcome, draw == Draw::integers))
          FAIL_CHECK(line);
      }
    }
}

TEST_CASE("conv parts: the passes give the same whether a part is a row of y, a few, or some pictures") {
  const Problem shapes[] = {
      {{3, 7, 5, 3, 4, 3, 3, 1, 1, 1, 1, 1, 1, 1}},     // 7 x 5 of y: bands of one row, of two and the last of one
      {{1, 11, 6, 2, 5, 3, 2, 2, 1, 2, 0, 2, 1, 1}},    // stride, padding and dilation along the bands
      {{2, 10, 4, 3, 3, 2, 1, 4, 1, 0, 0, 1, 1, 1}},    // rows of x under no filter
      {{2, 9, 5, 2, 3, 5, 3, 1, 1, 4, 1, 1, 1, 1}},     // a filter longer than a band
      {{5, 4, 4, 2, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1}},  // 16 of y a picture, with a bias
      {{2, 5, 3, 3, 4, 1, 1, 1, 1, 1, 0, 1, 1, 1}},     // 1x1 with padding: bands without any above
      {{3, 3, 5, 4, 6, 1, 1, 1, 1, 0, 0, 1, 1, 1}},     // 1x1: columns that are a copy of the picture
  };
  for (const Problem& problem : shapes) {
    check_passes<1>(problem);
    check_passes<11>(problem);
    check_passes<34>(problem);  // of the fifth two pictures, two, and one
  }
}

TEST_CASE("conv parts: a part's workspace is the part's, not the whole's") {
  const Problem problem{{4, 16, 16, 8, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1}};  // rows of 288 bytes, 256 a picture
  CHECK(simt::conv2d_in_parts_workspace(problem, 512) == 512 * 288);
  CHECK(simt::conv2d_in_parts_workspace(problem, 100) == 96 * 288);  // six rows of y
  CHECK(simt::conv2d_in_parts_workspace(problem, 1) == 16 * 288);
  CHECK(simt::conv2d_backward_data_in_parts_workspace(problem, 512) == 512 * 288);
  CHECK(simt::conv2d_backward_data_in_parts_workspace(problem, 100) == 96 * 288);  // four of x
  CHECK(simt::conv2d_backward_data_in_parts_workspace(problem, 1) == 48 * 288);    // one, under three of y
}

}  // namespace
}  // namespace weft::test
