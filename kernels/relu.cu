// relu: y[i] = max(x[i], 0).   relu_backward: dx[i] = y[i] > 0 ? dy[i] : 0.   All are (n).
// Forward n flops and 8n bytes in float32, backward n flops and 12n bytes: bound by memory. The floor is one read of
// each input and one write of the output. The backward takes y rather than x, so that a graph may overwrite x.

#include "kernels/catalogue_ops.h"
#include "kernels/launch.h"
#include "kernels/ops.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Elements;

constexpr int kBlock = 256;

// Rung 1, scalar. A thread an element: neighbouring threads touch neighbouring addresses, so a warp's request is 4
// sectors of 32 bytes, but each thread has only 4 bytes in flight. The comparison is written so that NaN passes
// through.
__global__ void relu_scalar(const float* __restrict__ x, float* __restrict__ y, int64_t n) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) y[i] = x[i] < 0 ? 0 : x[i];
}

void launch_relu_scalar(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t n = problem.extents[Elements::n];
  launch(relu_scalar,
         {.grid = dim3(static_cast<unsigned>((n + kBlock - 1) / kBlock)), .block = dim3(kBlock), .stream = stream},
         static_cast<const float*>(operands[0]), static_cast<float*>(operands[1]), n);
}

Signature relu_signature(const Problem& problem) {
  const int64_t n = problem.extents[Elements::n];
  return {2, {{"x", Role::input, problem.dtype, 1, {n}, Fill::away}, {"y", Role::output, problem.dtype, 1, {n}}}};
}

constexpr const char* kElementExtents[] = {"n"};
constexpr Problem kProblems[] = {{{1}}, {{2}}, {{3}}, {{31}}, {{1000}}, {{4099}}, {{1 << 16}}};
constexpr Rung kRungs[] = {
    {"scalar", "A thread an element, as the formula says.", {}, launch_relu_scalar},
};

}  // namespace

const Op relu = {
    .name = "relu",
    .formula = "y[i] = max(x[i], 0); x, y (n)",
    .peer = "cudnn:activation_forward",
    .extent_names = kElementExtents,
    .scalar_names = {},
    .signature = relu_signature,
    .check = nullptr,
    .reference = reference::relu,
    .flops = [](const Problem& p) { return static_cast<double>(p.extents[Elements::n]); },
    .bytes = [](const Problem& p) { return 8.0 * static_cast<double>(p.extents[Elements::n]); },
    .bound = {},
    .problems = kProblems,
    .rungs = kRungs,
};

}  // namespace weft::WEFT_TARGET
