// gemm: the catalogue's entry and the choice of a rung. The formula, its costs and the list of rungs stand in gemm.h.

#include "kernels/gemm/gemm.h"

#include <string>

#include "kernels/catalogue_ops.h"
#include "kernels/error.h"
#include "kernels/ops.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Gemm;

/// Builds the call of a problem and hands it to `run`, once for each type.
template <class T>
GemmCall<T, T> call_of(const Problem& problem, void* const* operands) {
  const auto* e = problem.extents;
  return {.a = static_cast<const T*>(operands[0]),
          .b = static_cast<const T*>(operands[1]),
          .bias = e[Gemm::has_bias] ? static_cast<const T*>(operands[2]) : nullptr,
          .y = static_cast<T*>(operands[3]),
          .M = e[Gemm::M],
          .N = e[Gemm::N],
          .K = e[Gemm::K],
          .trans_a = e[Gemm::trans_a] != 0,
          .trans_b = e[Gemm::trans_b] != 0,
          .alpha = static_cast<float>(problem.scalars[Gemm::alpha]),
          .beta = static_cast<float>(problem.scalars[Gemm::beta])};
}

void launch_naive(const Problem& problem, void* const* operands, void*, Stream stream) {
  if (problem.dtype == DType::f32)
    gemm_naive(call_of<float>(problem, operands), stream);
  else
    gemm_naive(call_of<__nv_bfloat16>(problem, operands), stream);
}

void launch_shared_tile(const Problem& problem, void* const* operands, void*, Stream stream) {
  if (problem.dtype == DType::f32)
    gemm_shared_tile(call_of<float>(problem, operands), stream);
  else
    gemm_shared_tile(call_of<__nv_bfloat16>(problem, operands), stream);
}

void launch_register_tile(const Problem& problem, void* const* operands, void*, Stream stream) {
  if (problem.dtype == DType::f32)
    gemm_register_tile(call_of<float>(problem, operands), stream);
  else
    gemm_register_tile(call_of<__nv_bfloat16>(problem, operands), stream);
}

Signature gemm_signature(const Problem& problem) {
  const auto* e = problem.extents;
  const int64_t m = e[Gemm::M], n = e[Gemm::N], k = e[Gemm::K];
  const Role y_role = problem.scalars[Gemm::beta] != 0 ? Role::inout : Role::output;
  Signature signature{4,
                      {{"a", Role::input, problem.dtype, 2, {m, k}},
                       {"b", Role::input, problem.dtype, 2, {k, n}},
                       {"bias", Role::input, problem.dtype, 1, {n}},
                       {"y", y_role, problem.dtype, 2, {m, n}}}};
  if (e[Gemm::trans_a]) signature.operands[0].dims[0] = k, signature.operands[0].dims[1] = m;
  if (e[Gemm::trans_b]) signature.operands[1].dims[0] = n, signature.operands[1].dims[1] = k;
  signature.operands[2].present = e[Gemm::has_bias] != 0;
  return signature;
}

void check_gemm(const Problem& problem) {
  const auto* e = problem.extents;
  if (e[Gemm::M] < 1 || e[Gemm::N] < 1 || e[Gemm::K] < 1)
    fail("gemm: M, N and K are at least 1, but M=" + std::to_string(e[Gemm::M]) + " N=" + std::to_string(e[Gemm::N]) +
         " K=" + std::to_string(e[Gemm::K]));
}

// A tile of 64 x 64 is mostly padding for a matrix of a few rows or columns: there a thread an element reads less.
constexpr int64_t kFewestForTile = 8;

bool is_tiny(int64_t m, int64_t n) {
  return m < kFewestForTile || n < kFewestForTile;
}

enum : int { kNaive, kSharedTile, kRegisterTile };

int choose_gemm(const Problem& problem, int) {
  return is_tiny(problem.extents[Gemm::M], problem.extents[Gemm::N]) ? kNaive : kRegisterTile;
}

constexpr const char* kExtents[] = {"M", "N", "K", "trans_a", "trans_b", "has_bias"};
constexpr const char* kScalars[] = {"alpha", "beta"};

// M, N, K, trans_a, trans_b, has_bias; alpha, beta.
constexpr Problem kProblems[] = {
    {{1, 1, 1}, {1, 0}},
    {{2, 3, 7}, {1, 0}},
    {{7, 2, 3, 1, 0, 1}, {1, 0}},
    {{3, 7, 2, 0, 1, 1}, {-0.5, 1}},
    {{31, 33, 63}, {1, 0}},
    {{33, 63, 31, 1}, {1, 0}},
    {{63, 31, 33, 0, 1}, {1, 0}},
    {{65, 65, 65, 1, 1}, {1, 0}},
    {{63, 65, 7, 1, 1, 1}, {2, -1}},
    {{64, 64, 64}, {1, 0}, DType::f32, "one whole tile"},
    {{64, 64, 16, 1, 1, 1}, {1, 0.5}, DType::f32, "one whole tile, one step"},
    {{128, 192, 48, 0, 1, 1}, {1, 0}, DType::f32, "whole tiles"},
    {{97, 101, 103}, {0.5, 0.5}, DType::f32, "prime"},
    {{101, 103, 97, 1}, {1, 0}, DType::f32, "prime"},
    {{103, 97, 101, 0, 1}, {1, 0}, DType::f32, "prime"},
    {{127, 131, 37, 1, 1, 1}, {1, 1}, DType::f32, "prime"},
    {{1, 130, 200, 0, 1, 1}, {1, 0}, DType::f32, "one row"},
    {{130, 1, 200, 1, 0, 1}, {1, 0}, DType::f32, "one column"},
    {{9, 8, 1000, 1}, {1, 0}, DType::f32, "long sums"},
    {{200, 70, 1}, {1, 0}, DType::f32, "outer product"},
    {{16, 1000, 512, 0, 1, 1}, {1, 0}, DType::f32, "resnet18 fc, forward"},
    {{16, 512, 100}, {1, 0}, DType::f32, "resnet18 fc of 100 classes, backward data"},
    {{100, 512, 16, 1}, {1, 0}, DType::f32, "resnet18 fc of 100 classes, backward weight"},
    {{196, 128, 288, 0, 1}, {1, 0}, DType::f32, "a 3x3 convolution's columns and filters"},
};

constexpr Needs kNeeds = {.dtypes = 1u << static_cast<unsigned>(DType::f32) | 1u << static_cast<unsigned>(DType::bf16)};
constexpr Rung kRungs[] = {
    {"naive", "A thread an element, its operands read from global memory: the formula as written.", kNeeds,
     launch_naive},
    {"shared-tile",
     "Threads read the same rows and columns again and again; a block reads them once into shared memory, a square "
     "tile at "
     "a time.",
     kNeeds, launch_shared_tile},
    {"register-tile",
     "Every multiplication read two numbers from shared memory; a thread that keeps 8 x 4 sums in registers reads 12 "
     "for "
     "32 multiplications, four at a time.",
     kNeeds, launch_register_tile},
};

}  // namespace

template <class T, class Out>
void gemm_best(const GemmCall<T, Out>& call, Stream stream) {
  if (is_tiny(call.M, call.N))
    gemm_naive(call, stream);
  else
    gemm_register_tile(call, stream);
}

template void gemm_best(const GemmCall<float, float>&, Stream);
template void gemm_best(const GemmCall<__nv_bfloat16, __nv_bfloat16>&, Stream);
template void gemm_best(const GemmCall<__nv_bfloat16, float>&, Stream);

const Op gemm = {
    .name = "gemm",
    .formula = "y = alpha op(a) op(b) + beta y [+ bias]; op(a) (M, K), op(b) (K, N), bias (N), y (M, N)",
    .peer = "cublas:gemm",
    .extent_names = kExtents,
    .scalar_names = kScalars,
    .signature = gemm_signature,
    .check = check_gemm,
    .reference = reference::gemm,
    .flops =
        [](const Problem& p) {
          return 2.0 * static_cast<double>(p.extents[Gemm::M]) * static_cast<double>(p.extents[Gemm::N]) *
                 static_cast<double>(p.extents[Gemm::K]);
        },
    .bytes =
        [](const Problem& p) {
          const auto m = static_cast<double>(p.extents[Gemm::M]), n = static_cast<double>(p.extents[Gemm::N]);
          const auto k = static_cast<double>(p.extents[Gemm::K]);
          const double y = p.scalars[Gemm::beta] != 0 ? 2 * m * n : m * n;
          const double element = p.dtype == DType::f32 ? 4 : 2;
          return element * (m * k + k * n + y + (p.extents[Gemm::has_bias] ? n : 0));
        },
    .bound = {.c = 4, .terms = [](const Problem& p) { return p.extents[Gemm::K]; }},
    .problems = kProblems,
    .rungs = kRungs,
    .choose = choose_gemm,
    .exact_on_integers = true,
};

}  // namespace weft::WEFT_TARGET
