// im2col: columns[(n,p,q), (r,s,c)] = x[n, p stride - pad + r dilation, q stride - pad + s dilation, c], 0 outside.
// col2im, its gradient: dx[n,h,w,c] = sum of dcolumns[(n,p,q), (r,s,c)] over all p,q,r,s that were copied from (h, w).
// x is (N, H, W, C), columns (N P Q, R S C). No flops forward, one addition an element backward: bound by memory. The
// floor is one read of x and one write of columns, which is R S / stride^2 times larger than x.

#include "kernels/catalogue_ops.h"
#include "kernels/conv/conv.h"
#include "kernels/conv/entry.h"
#include "kernels/launch.h"
#include "kernels/ops.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Conv2d;

constexpr int kBlock = 256;

LaunchConfig config_for(int64_t elements, Stream stream) {
  return {
      .grid = dim3(static_cast<unsigned>((elements + kBlock - 1) / kBlock)), .block = dim3(kBlock), .stream = stream};
}

// im2col, rung 1, a thread an element of columns. Neighbouring threads write neighbouring addresses; they read runs of
// C (of S C where the dilation is 1) neighbours. The arithmetic of the index, four divisions, outweighs the copy.
template <class T>
__global__ void im2col_kernel(ConvShape z, const T* __restrict__ x, T* __restrict__ columns) {
  const int64_t element = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;  // in [0, N P Q R S C)
  if (element >= z.pixels_out() * z.patch()) return;
  const int tap = static_cast<int>(element % z.patch());  // in [0, R S C)
  const int64_t pixel = element / z.patch();              // in [0, N P Q)
  const int c = tap % z.C, s = tap / z.C % z.S, r = tap / z.C / z.S;
  const int q = static_cast<int>(pixel % z.Q), p = static_cast<int>(pixel / z.Q % z.P);
  const int64_t n = pixel / z.Q / z.P;
  const int h = z.row_in(p, r), w = z.column_in(q, s);
  const bool inside = h >= 0 && h < z.H && w >= 0 && w < z.W;
  columns[element] = inside ? x[((n * z.H + h) * z.W + w) * z.C + c] : static_cast<T>(0.0f);
}

// col2im, rung 1, a thread an element of dx that gathers its R S addends. The other way round, a thread an element of
// dcolumns adding to dx, would need atomics and give other bits on each run.
template <class From, class To>
__global__ void col2im_kernel(ConvShape z, const From* __restrict__ dcolumns, const To* __restrict__ other_dx,
                              To* __restrict__ dx) {
  const int64_t element = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;  // in [0, N H W C)
  if (element >= z.pixels_in() * z.C) return;
  const int c = static_cast<int>(element % z.C);
  const int w = static_cast<int>(element / z.C % z.W);
  const int h = static_cast<int>(element / z.C / z.W % z.H);
  const int64_t n = element / z.C / z.W / z.H;
  float sum = 0;
  for (int r = 0; r < z.R; ++r) {
    const int p = z.row_out(h, r);
    if (p < 0) continue;
    for (int s = 0; s < z.S; ++s) {
      const int q = z.column_out(w, s);
      if (q < 0) continue;
      sum += static_cast<float>(dcolumns[((n * z.P + p) * z.Q + q) * z.patch() + (r * z.S + s) * z.C + c]);
    }
  }
  if (other_dx != nullptr) sum += static_cast<float>(other_dx[element]);
  dx[element] = static_cast<To>(sum);
}

void launch_im2col_rung(const Problem& problem, void* const* operands, void*, Stream stream) {
  const ConvShape z = conv_shape(problem);
  if (problem.dtype == DType::f32)
    launch_im2col(z, static_cast<const float*>(operands[0]), static_cast<float*>(operands[1]), stream);
  else
    launch_im2col(z, static_cast<const __nv_bfloat16*>(operands[0]), static_cast<__nv_bfloat16*>(operands[1]), stream);
}

void launch_col2im_rung(const Problem& problem, void* const* operands, void*, Stream stream) {
  const ConvShape z = conv_shape(problem);
  if (problem.dtype == DType::f32)
    launch_col2im<float, float>(z, static_cast<const float*>(operands[0]), nullptr, static_cast<float*>(operands[1]),
                                stream);
  else
    launch_col2im<__nv_bfloat16, __nv_bfloat16>(z, static_cast<const __nv_bfloat16*>(operands[0]), nullptr,
                                                static_cast<__nv_bfloat16*>(operands[1]), stream);
}

Signature signature_of(const Problem& problem, bool gradient) {
  const ConvShape z = conv_shape(problem);
  const Operand picture{
      gradient ? "dx" : "x", gradient ? Role::output : Role::input, problem.dtype, 4, {z.N, z.H, z.W, z.C}};
  const Operand columns{gradient ? "dcolumns" : "columns",
                        gradient ? Role::input : Role::output,
                        problem.dtype,
                        2,
                        {z.pixels_out(), z.patch()}};
  return gradient ? Signature{2, {columns, picture}} : Signature{2, {picture, columns}};
}

double elements_moved(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  return static_cast<double>(z.pixels_in() * z.C + z.pixels_out() * z.patch());
}

constexpr Rung kIm2colRungs[] = {
    {"thread-per-element", "A thread copies one element of columns, found by dividing its number.", kConvNeeds,
     launch_im2col_rung},
};
constexpr Rung kCol2imRungs[] = {
    {"gather", "A thread sums what one pixel's channel was copied to; nobody adds to another's element.", kConvNeeds,
     launch_col2im_rung},
};

}  // namespace

template <class T>
void launch_im2col(const ConvShape& shape, const T* x, T* columns, Stream stream) {
  launch(im2col_kernel<T>, config_for(shape.pixels_out() * shape.patch(), stream), shape, x, columns);
}

template <class From, class To>
void launch_col2im(const ConvShape& shape, const From* dcolumns, const To* other_dx, To* dx, Stream stream) {
  launch(col2im_kernel<From, To>, config_for(shape.pixels_in() * shape.C, stream), shape, dcolumns, other_dx, dx);
}

template void launch_im2col(const ConvShape&, const float*, float*, Stream);
template void launch_im2col(const ConvShape&, const __nv_bfloat16*, __nv_bfloat16*, Stream);
template void launch_col2im(const ConvShape&, const float*, const float*, float*, Stream);
template void launch_col2im(const ConvShape&, const float*, const __nv_bfloat16*, __nv_bfloat16*, Stream);
template void launch_col2im(const ConvShape&, const __nv_bfloat16*, const __nv_bfloat16*, __nv_bfloat16*, Stream);

const Op im2col = {
    .name = "im2col",
    .formula = "columns[(n,p,q), (r,s,c)] = x[n, p stride - pad + r dilation, q stride - pad + s dilation, c]",
    .peer = nullptr,  // cuDNN's im2col knows NCHW alone
    .extent_names = kConvExtents,
    .scalar_names = {},
    .signature = [](const Problem& p) { return signature_of(p, false); },
    .check = check_im2col,
    .reference = reference::im2col,
    .flops = [](const Problem&) { return 0.0; },
    .bytes = [](const Problem& p) { return conv_element_bytes(p) * elements_moved(p); },
    .bound = {},
    .problems = kUngroupedProblems,
    .rungs = kIm2colRungs,
    .exact_on_integers = true,
};

const Op col2im = {
    .name = "col2im",
    .formula = "dx[n,h,w,c] = sum of dcolumns[(n,p,q), (r,s,c)] over what was copied from x[n,h,w,c]",
    .peer = nullptr,  // cuDNN has none
    .extent_names = kConvExtents,
    .scalar_names = {},
    .signature = [](const Problem& p) { return signature_of(p, true); },
    .check = check_im2col,
    .reference = reference::col2im,
    .flops =
        [](const Problem& p) {
          const ConvShape z = conv_shape(p);
          return static_cast<double>(z.pixels_out() * z.patch());
        },
    .bytes = [](const Problem& p) { return conv_element_bytes(p) * elements_moved(p); },
    .bound = {.c = 4, .terms = [](const Problem& p) { return p.extents[Conv2d::R] * p.extents[Conv2d::S]; }},
    .problems = kUngroupedProblems,
    .rungs = kCol2imRungs,
    .gradient_of = "im2col",
    .exact_on_integers = true,
};

}  // namespace weft::WEFT_TARGET
