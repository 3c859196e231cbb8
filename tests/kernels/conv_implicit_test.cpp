// The convolutions on tensor cores (kernels/conv/10 and 11): the rule by which backward data's classes meet their taps,
// slices of backward filter that are deeper than a ring of stages, and which rung a device takes for which layer.

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "kernels/conv/filter_slices.h"
#include "kernels/conv/im2col_map.h"
#include "kernels/conv/patches.h"
#include "kernels/ops.h"
#include "tests/kernels/harness.h"

namespace weft::test {
namespace {

using extents::Conv2d;

const Op& op_named(const char* name) {
  const Op* const op = find_op(simt::target().catalogue(), name);
  REQUIRE(op != nullptr);
  return *op;
}

/// A layer of ResNet's: a square picture of `side`, a filter of r x r, padded by its half.
Problem layer(std::int64_t images, std::int64_t side, std::int64_t channels, std::int64_t filters, std::int64_t r,
              std::int64_t stride, DType dtype = DType::bf16) {
  Problem problem;
  problem.dtype = dtype;
  auto* e = problem.extents;
  e[Conv2d::N] = images, e[Conv2d::H] = e[Conv2d::W] = side, e[Conv2d::C] = channels, e[Conv2d::K] = filters;
  e[Conv2d::R] = e[Conv2d::S] = r, e[Conv2d::stride_h] = e[Conv2d::stride_w] = stride;
  e[Conv2d::pad_h] = e[Conv2d::pad_w] = r / 2, e[Conv2d::dilation_h] = e[Conv2d::dilation_w] = e[Conv2d::groups] = 1;
  return problem;
}

TEST_CASE("conv patches: backward data's classes meet each pixel and tap where the formula does, and no others") {
  for (int stride = 1; stride <= 4; ++stride)
    for (int dilation = 1; dilation <= 4; ++dilation)
      for (int pad = 0; pad <= 5; ++pad) {
        CAPTURE(stride);
        CAPTURE(dilation);
        CAPTURE(pad);
        const int extent = 11, taps = 3, outputs = (extent + 2 * pad - dilation * (taps - 1) - 1) / stride + 1;
        std::vector<int> source(extent * taps, -1000), seen(extent, 0);
        for (int remainder = 0; remainder < stride; ++remainder) {
          const simt::PatchAxis axis = simt::data_axis(extent, outputs, taps, stride, pad, dilation, remainder);
          for (int i = 0; i < axis.count; ++i) {
            const int h = axis.first + i * axis.every;
            REQUIRE((h >= 0 && h < extent));
            ++seen[h];
            for (int j = 0; j < axis.taps; ++j) {
              const int r = axis.first_tap + j * axis.every_tap;
              REQUIRE((r >= 0 && r < taps));
              source[h * taps + r] = axis.origin + i * axis.step + j * axis.tap_step;
              // As the copy engine counts it, from a corner on.
              CHECK(simt::corner(axis) + i * axis.step + simt::tap_offset(axis, j) == source[h * taps + r]);
              CHECK(simt::tap_offset(axis, j) >= 0);
            }
          }
        }
        for (int h = 0; h < extent; ++h) {
          CHECK(seen[h] == 1);
          for (int r = 0; r < taps; ++r) {
            const int offset = h + pad - r * dilation;  // = p stride
            const bool meets = offset % stride == 0;
            CHECK(source[h * taps + r] == (meets ? offset / stride : -1000));
          }
        }
      }
}

/// Backward filter of T's on integers, which are exact, with the pixels cut as told.
template <class T, class Run>
void check_slices(Problem problem, const simt::Slices& slices, const Run& run) {
  constexpr DType kType = sizeof(T) == sizeof(float) ? DType::f32 : DType::bf16;
  problem.dtype = kType;
  const Op& op = op_named("conv2d_backward_filter");
  const auto operands = draw_operands(simt::target().catalogue(), op, problem, Draw::integers, true);
  const Truth truth = evaluate(op, problem, operands);
  const Bytes x = encode(kType, operands[0]), dy = encode(kType, operands[1]);
  const simt::ConvShape z = simt::conv_shape(problem);
  // The copy engine reads from multiples of 16 bytes.
  auto* const memory = static_cast<std::byte*>(simt::target().allocate(0, x.size() + dy.size() + 64));
  const auto place = [](std::byte* p) { return p + (16 - reinterpret_cast<std::uintptr_t>(p) % 16) % 16; };
  std::byte *const x_at = place(memory), *const dy_at = place(x_at + x.size());
  std::copy(x.begin(), x.end(), x_at);
  std::copy(dy.begin(), dy.end(), dy_at);
  std::vector<float> sums(static_cast<std::size_t>(slices.count * z.K * simt::slice_pitch(z.patch())));
  Bytes dweight(static_cast<std::size_t>(z.K) * static_cast<std::size_t>(z.patch()) * sizeof(T), std::byte{0xFF});
  run(z, slices, reinterpret_cast<const T*>(x_at), reinterpret_cast<const T*>(dy_at),
      reinterpret_cast<T*>(dweight.data()), sums.data());
  simt::target().release(0, memory);
  const Values got = decode(kType, dweight);
  REQUIRE(got.size() == truth.operands[2].size());
  int wrong = 0;
  for (std::size_t i = 0; i < got.size(); ++i) wrong += !(got[i] == round_to(kType, truth.operands[2][i]));
  CHECK(wrong == 0);
}

TEST_CASE("conv backward filter: slices deeper than the stages are many, and one that is all") {
  const Problem problem = layer(2, 14, 24, 72, 3, 1);  // 392 pixels: 7 steps of 64, and 8 more
  for (const simt::Slices& slices : {simt::Slices{1, 392}, simt::Slices{2, 320}, simt::Slices{7, 64}}) {
    CAPTURE(slices.count);
    check_slices<simt::bfloat16>(problem, slices, [](const auto&... arguments) {
      simt::conv2d_backward_filter_implicit_wgmma(arguments..., nullptr);
    });
    const auto mma = [](const auto&... arguments) { simt::conv2d_backward_filter_implicit_mma(arguments..., nullptr); };
    check_slices<simt::bfloat16>(problem, slices, mma);
    check_slices<float>(problem, slices, mma);
  }
}

std::string picked(const char* op, const Problem& problem, int capability) {
  const int rung = pick_rung(op_named(op), problem, capability);
  return rung < 0 ? "none" : op_named(op).rungs[static_cast<std::size_t>(rung)].name;
}

constexpr const char* kPasses[] = {"conv2d", "conv2d_backward_data", "conv2d_backward_filter"};

TEST_CASE("conv choice: tensor cores where there are some, Hopper's on Hopper alone") {
  for (const char* op : kPasses) {
    CAPTURE(std::string(op));
    for (const Problem& problem :
         {layer(128, 56, 64, 64, 3, 1), layer(128, 28, 128, 256, 3, 2), layer(128, 14, 1024, 2048, 1, 2)}) {
      const bool splits = std::string(op) == "conv2d_backward_filter";  // whose blocks are few
      const bool strided = std::string(op) == "conv2d_backward_data" && problem.extents[Conv2d::stride_h] > 1;
      CHECK(picked(op, problem, 90) == (splits || strided ? "implicit-wgmma" : "implicit-persistent"));
      CHECK(picked(op, problem, 80) == "implicit-mma");
      CHECK(picked(op, problem, 89) == "implicit-mma");
      CHECK(picked(op, problem, 100) == "implicit-mma");
      CHECK(picked(op, problem, 120) == "implicit-mma");
      CHECK(picked(op, problem, 75).rfind("implicit-", 0) != 0);
      CHECK(picked(op, problem, 0).rfind("implicit-", 0) != 0);
    }
  }
}

TEST_CASE("conv choice: 1x1 goes to gemm, but for what its epilogue cannot do, and filters' gradients on Hopper") {
  Problem pointwise = layer(128, 7, 2048, 512, 1, 1);
  for (const int capability : {75, 80, 89, 90, 100}) {
    CAPTURE(capability);
    CHECK(picked("conv2d", pointwise, capability) == "pointwise-gemm");
    CHECK(picked("conv2d_backward_data", pointwise, capability) == "pointwise-gemm");
  }
  CHECK(picked("conv2d_backward_filter", pointwise, 90) == "implicit-wgmma");
  CHECK(picked("conv2d_backward_filter", pointwise, 80) == "pointwise-gemm");
  CHECK(picked("conv2d_backward_filter", pointwise, 100) == "pointwise-gemm");
  CHECK(picked("conv2d_statistics", pointwise, 90) == "implicit-persistent");  // gemm's epilogue gathers nothing
  CHECK(picked("conv2d_statistics", pointwise, 80) == "implicit-mma");
  pointwise.extents[Conv2d::has_scale] = 1;
  CHECK(picked("conv2d", pointwise, 90) == "implicit-persistent");
  CHECK(picked("conv2d", pointwise, 80) == "implicit-mma");
}

TEST_CASE("conv choice: what Hopper's copy engine does not take, or takes in vain, goes to mma.sync") {
  CHECK(picked("conv2d", layer(128, 224, 3, 64, 7, 2), 90) == "implicit-mma");  // three channels: no TMA stride
  CHECK(picked("conv2d_backward_filter", layer(128, 224, 3, 64, 7, 2), 90) == "implicit-mma");
  CHECK(picked("conv2d", layer(32, 56, 16, 64, 3, 1), 90) == "implicit-mma");  // boxes of 64 channels, 48 of them zeros
  CHECK(picked("conv2d_backward_data", layer(32, 56, 16, 64, 3, 1), 90) == "implicit-persistent");  // the depth is K
  CHECK(picked("conv2d_backward_data", layer(32, 56, 60, 64, 3, 1), 90) == "implicit-mma");  // rows of 60 channels
  CHECK(picked("conv2d", layer(32, 56, 64, 63, 3, 1), 90) == "implicit-wgmma");  // no TMA stride for the result
  Problem groups = layer(32, 56, 64, 64, 3, 1);
  groups.extents[Conv2d::groups] = 4;
  CHECK(picked("conv2d", groups, 90) == "implicit-mma");
  Problem wide = layer(1, 600, 64, 64, 3, 1);
  wide.extents[Conv2d::dilation_h] = wide.extents[Conv2d::dilation_w] = 200;  // beyond a map's 8 bits
  CHECK(picked("conv2d", wide, 90) == "implicit-mma");
}

TEST_CASE("conv choice: float32 goes to tensor cores only where TF32 is allowed; depthwise never") {
  for (const char* op : kPasses) {
    CAPTURE(std::string(op));
    Problem problem = layer(128, 28, 128, 128, 3, 1, DType::f32);
    CHECK(picked(op, problem, 90).rfind("implicit-mma", 0) != 0);
    problem.extents[Conv2d::tf32] = 1;
    CHECK(picked(op, problem, 90) == "implicit-mma");
    CHECK(picked(op, problem, 80) == "implicit-mma");
    Problem depthwise = layer(128, 28, 128, 128, 3, 1);
    depthwise.extents[Conv2d::groups] = 128;
    CHECK(picked(op, depthwise, 90).rfind("implicit-mma", 0) != 0);
    CHECK(picked(op, depthwise, 90).rfind("implicit-wgmma", 0) != 0);
  }
}

}  // namespace
}  // namespace weft::test
