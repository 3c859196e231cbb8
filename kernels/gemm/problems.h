#pragma once
// gemm's problems: one written down by names, and the shapes worth testing.

#include <type_traits>

#include "kernels/catalogue.h"
#include "kernels/gemm/gemm.h"
#include "kernels/ops.h"
#include "kernels/target.h"

namespace weft::WEFT_TARGET {

/// A gemm's extents and scalars (extents::Gemm) by name.
struct GemmShape {
  int64_t M, N, K;
  bool trans_a = false, trans_b = false;
  bool bias = false, residual = false, relu = false;
  bool out_f32 = false, tf32 = false;
  int64_t lda = 0, ldb = 0, ldy = 0, ld_residual = 0;
  double alpha = 1, beta = 0;
  const char* note = nullptr;
};

constexpr Problem gemm_problem(const GemmShape& z, DType dtype = DType::f32) {
  return {{z.M, z.N, z.K, z.trans_a, z.trans_b, z.bias, z.residual, z.relu, z.out_f32, z.tf32, z.lda, z.ldb, z.ldy,
           z.ld_residual},
          {z.alpha, z.beta},
          dtype,
          z.note};
}

/// The same with rows of a, b and y that begin at whole 16 bytes of bfloat16, as Hopper's copy engine asks of what it
/// reads and writes: without padding it could take hardly any of the odd sizes below. 8 elements more than need be.
constexpr GemmShape padded(GemmShape z) {
  const auto pitch = [](int64_t row) { return (row + 7) / 8 * 8 + 8; };
  z.lda = pitch(z.trans_a ? z.M : z.K);
  z.ldb = pitch(z.trans_b ? z.K : z.N);
  z.ldy = pitch(z.N);
  if (z.note == nullptr) z.note = "rows of whole 16 bytes";
  return z;
}

/// The shapes worth testing. Each runs in float32 and in bfloat16, on every rung that takes it.
inline constexpr Problem kGemmProblems[] = {
    gemm_problem({.M = 1, .N = 1, .K = 1}),
    gemm_problem({.M = 2, .N = 3, .K = 7, .out_f32 = true}),
    gemm_problem({.M = 7, .N = 2, .K = 3, .trans_a = true, .bias = true, .relu = true}),
    gemm_problem({.M = 3, .N = 7, .K = 2, .trans_b = true, .bias = true, .alpha = -0.5, .beta = 1}),
    gemm_problem({.M = 31, .N = 33, .K = 63, .residual = true}),
    gemm_problem({.M = 33, .N = 63, .K = 31, .trans_a = true, .tf32 = true}),
    gemm_problem({.M = 63, .N = 31, .K = 33, .trans_b = true, .out_f32 = true}),
    gemm_problem({.M = 65, .N = 65, .K = 65, .trans_a = true, .trans_b = true}),
    gemm_problem({.M = 63, .N = 65, .K = 7, .trans_a = true, .trans_b = true, .bias = true, .alpha = 2, .beta = -1}),
    gemm_problem({.M = 64, .N = 64, .K = 64, .tf32 = true, .note = "one whole tile"}),
    gemm_problem({.M = 64,
                  .N = 64,
                  .K = 16,
                  .trans_a = true,
                  .trans_b = true,
                  .bias = true,
                  .residual = true,
                  .relu = true,
                  .out_f32 = true,
                  .beta = 0.5,
                  .note = "one whole tile, one step"}),
    gemm_problem({.M = 128,
                  .N = 192,
                  .K = 48,
                  .trans_b = true,
                  .bias = true,
                  .residual = true,
                  .relu = true,
                  .note = "whole tiles"}),
    gemm_problem({.M = 97, .N = 101, .K = 103, .alpha = 0.5, .beta = 0.5, .note = "prime"}),
    gemm_problem({.M = 101, .N = 103, .K = 97, .trans_a = true, .out_f32 = true, .note = "prime"}),
    gemm_problem({.M = 103, .N = 97, .K = 101, .trans_b = true, .tf32 = true, .note = "prime"}),
    gemm_problem(
        {.M = 127, .N = 131, .K = 37, .trans_a = true, .trans_b = true, .bias = true, .beta = 1, .note = "prime"}),
    gemm_problem({.M = 129,
                  .N = 127,
                  .K = 31,
                  .residual = true,
                  .lda = 40,
                  .ldb = 136,
                  .ldy = 144,
                  .ld_residual = 152,
                  .note = "strided by whole 16 bytes"}),
    gemm_problem({.M = 33,
                  .N = 65,
                  .K = 63,
                  .trans_a = true,
                  .bias = true,
                  .residual = true,
                  .relu = true,
                  .lda = 37,
                  .ldb = 67,
                  .ldy = 71,
                  .ld_residual = 66,
                  .beta = 1,
                  .note = "strided by odd numbers"}),
    gemm_problem({.M = 65,
                  .N = 33,
                  .K = 29,
                  .trans_a = true,
                  .trans_b = true,
                  .out_f32 = true,
                  .lda = 72,
                  .ldb = 32,
                  .ldy = 35,
                  .note = "strided, transposed"}),
    gemm_problem({.M = 129,
                  .N = 70,
                  .K = 83,
                  .trans_a = true,
                  .trans_b = true,
                  .relu = true,
                  .tf32 = true,
                  .lda = 132,
                  .ldb = 84,
                  .note = "strided by 16 bytes of float, 8 of bfloat16"}),
    gemm_problem(
        {.M = 70, .N = 129, .K = 67, .residual = true, .tf32 = true, .lda = 69, .ldb = 131, .ldy = 130, .beta = 1}),
    gemm_problem({.M = 129, .N = 260, .K = 35, .bias = true, .note = "ragged, over several tiles"}),
    gemm_problem({.M = 1, .N = 130, .K = 100, .trans_b = true, .bias = true, .note = "one row"}),
    gemm_problem({.M = 130, .N = 1, .K = 100, .trans_a = true, .bias = true, .note = "one column"}),
    gemm_problem({.M = 9, .N = 8, .K = 600, .trans_a = true, .relu = true, .note = "long sums"}),
    gemm_problem({.M = 200, .N = 70, .K = 1, .note = "outer product"}),
    gemm_problem({.M = 16, .N = 10, .K = 512, .trans_b = true, .bias = true, .note = "resnet18 fc, forward"}),
    gemm_problem({.M = 16, .N = 512, .K = 10, .note = "resnet18 fc, backward data"}),
    gemm_problem({.M = 10, .N = 512, .K = 16, .trans_a = true, .note = "resnet18 fc, backward weight"}),
    gemm_problem({.M = 49, .N = 64, .K = 288, .trans_b = true, .note = "a 3x3 convolution's columns and filters"}),

    // The small sizes again, for the rungs that want whole 16 bytes, and for TF32 (gemm_sizes_test.cpp says what
    // these must meet); then float results from Hopper's.
    gemm_problem(padded({.M = 1, .N = 31, .K = 65, .bias = true, .relu = true, .tf32 = true})),
    gemm_problem(padded({.M = 2, .N = 33, .K = 127, .trans_a = true, .residual = true, .tf32 = true, .alpha = 0.5})),
    gemm_problem(padded({.M = 3, .N = 63, .K = 129, .trans_b = true, .tf32 = true, .beta = 1})),
    gemm_problem(
        padded({.M = 7, .N = 65, .K = 1, .trans_a = true, .trans_b = true, .tf32 = true, .alpha = -2, .beta = 0.5})),
    gemm_problem(
        padded({.M = 31, .N = 127, .K = 2, .bias = true, .residual = true, .relu = true, .tf32 = true, .beta = -1})),
    gemm_problem(padded({.M = 33, .N = 129, .K = 3, .trans_a = true, .bias = true, .tf32 = true, .alpha = 2})),
    gemm_problem(padded({.M = 63, .N = 1, .K = 7, .trans_b = true, .residual = true, .tf32 = true, .beta = 1})),
    gemm_problem(
        padded({.M = 65, .N = 2, .K = 31, .trans_a = true, .trans_b = true, .relu = true, .tf32 = true, .alpha = 0.5})),
    gemm_problem(padded({.M = 127, .N = 3, .K = 33, .trans_a = true, .bias = true, .tf32 = true, .beta = 1})),
    gemm_problem(
        padded({.M = 129, .N = 7, .K = 63, .trans_b = true, .bias = true, .tf32 = true, .alpha = -0.5, .beta = 2})),
    gemm_problem(padded({.M = 7, .N = 33, .K = 65, .bias = true, .out_f32 = true})),
    gemm_problem(padded({.M = 33, .N = 7, .K = 31, .trans_a = true, .out_f32 = true, .beta = 1})),
    gemm_problem(padded({.M = 31, .N = 63, .K = 33, .trans_b = true, .residual = true, .out_f32 = true})),
    gemm_problem(padded({.M = 130,
                         .N = 258,
                         .K = 9,
                         .trans_a = true,
                         .trans_b = true,
                         .bias = true,
                         .relu = true,
                         .out_f32 = true,
                         .beta = 0.5,
                         .note = "several tiles of float, in rows of whole 16 bytes"})),
    // Slices of K for every pair of types, with all that the epilogue may read.
    gemm_problem({.M = 33,
                  .N = 31,
                  .K = 260,
                  .trans_b = true,
                  .bias = true,
                  .residual = true,
                  .relu = true,
                  .tf32 = true,
                  .beta = 0.5,
                  .note = "sliced, TF32"}),
    gemm_problem({.M = 20,
                  .N = 41,
                  .K = 201,
                  .trans_a = true,
                  .bias = true,
                  .residual = true,
                  .relu = true,
                  .out_f32 = true,
                  .alpha = 0.5,
                  .beta = -1,
                  .note = "sliced, float results"}),
    // Persistent blocks take several tiles of 128 x 256 each, the ring of stages going round meanwhile.
    gemm_problem(padded({.M = 130,
                         .N = 258,
                         .K = 140,
                         .trans_a = true,
                         .bias = true,
                         .relu = true,
                         .alpha = 0.5,
                         .beta = 1,
                         .note = "tiles side by side and below each other, in rows of whole 16 bytes"})),
    gemm_problem(padded({.M = 257,
                         .N = 127,
                         .K = 9,
                         .trans_b = true,
                         .residual = true,
                         .note = "pairs of tiles below each other, in rows of whole 16 bytes"})),
};

template <class T>
constexpr DType kTypeOf = std::is_same_v<T, float> ? DType::f32 : DType::bf16;

/// A call as the catalogue has it.
template <class T, class Out>
Problem problem_of(const GemmCall<T, Out>& call) {
  return gemm_problem({.M = call.M,
                       .N = call.N,
                       .K = call.K,
                       .trans_a = call.trans_a,
                       .trans_b = call.trans_b,
                       .bias = call.bias != nullptr,
                       .residual = call.residual != nullptr,
                       .relu = call.relu,
                       .out_f32 = std::is_same_v<Out, float>,
                       .tf32 = call.tf32,
                       .lda = call.lda,
                       .ldb = call.ldb,
                       .ldy = call.ldy,
                       .ld_residual = call.ld_residual,
                       .alpha = call.alpha,
                       .beta = call.beta},
                      kTypeOf<T>);
}

}  // namespace weft::WEFT_TARGET
