// max_pool: y[n,p,q,c] = max over r,s of x[n, p stride_h - pad_h + r, q stride_w - pad_w + s, c], and
// index[n,p,q,c] = h W + w of that maximum.   max_pool_backward: dx[n,h,w,c] = sum of dy[n,p,q,c] over the windows
// whose index is h W + w.   x, dx are (N, H, W, C); y, dy, index (N, P, Q, C).
// R S comparisons an output; in float32 4 bytes for each input and 8 for each output: bound by memory once a window's
// overlap is served by the cache. The floor is one read of x and one write of y and of index.
// As torch has it: padding is minus infinity, the first of equal maxima wins, and a NaN beats everything.

#include "kernels/catalogue_ops.h"
#include "kernels/max_pool.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Pool;

template <class T>
struct MaxForwardIndexed : MaxForward<T> {
  MaxForwardIndexed(const Problem& problem, void* const* operands)
      : MaxForward<T>(problem, operands, as<int32_t>(operands[2])) {}
};

// The index costs 4 bytes an output in each pass. What the backward pass could do without it, and when that is fewer
// bytes, stands in max_pool_unindexed.cu.
template <class T>
struct MaxBackward : PoolPass<true> {
  using Planes = MaxGradients<Plane<T>, Plane<int32_t>>;
  const T* dy;
  const int32_t* index;
  T* dx;

  MaxBackward(const Problem& problem, void* const* operands)
      : PoolPass<true>{pool_shape(problem)},
        dy(as<const T>(operands[0])),
        index(as<const int32_t>(operands[1])),
        dx(as<T>(operands[2])) {}

  int64_t ring_bytes(int depth, int64_t elements) const {
    return max_rings_bytes<T>(int64_t{depth} * shape.Q * elements);
  }
  __device__ Planes planes(int64_t n) const {
    return {whole_plane(dy, n, in(), shape.C), whole_plane(index, n, in(), shape.C)};
  }
  template <int kVector>
  __device__ MaxRings<T> rings(unsigned char* shared, const Strip& strip, int depth) const {
    return max_rings<kVector, T>(shared, strip, depth, shape.Q);
  }
  template <int kVector>
  __device__ void fetch(const Planes& planes, const MaxRings<T>& rings, const Strip& strip, Range rows) const {
    fetch_rows<kVector>(planes.dy, rings.dy, rows, shape.Q, strip, shape.C);
    fetch_rows<kVector>(planes.index, rings.index, rows, shape.Q, strip, shape.C);
  }

  template <int kVector, class From>
  __device__ void at(const From& from, const PicturePixel& pixel, int c) const {
    gather_gradient<kVector>(from, shape, pixel, c, dx);
  }
};

constexpr const char* kForwardIdea = "A thread an output, its place found by divisions.";
constexpr const char* kBackwardIdea = "A thread an input asks each window that holds it: no atomics.";
constexpr Rung kRungs[] = {
    pool_rung<MaxForwardIndexed>(0, "thread-per-output", kForwardIdea),
    pool_rung<MaxForwardIndexed>(1, nullptr, nullptr),
    pool_rung<MaxForwardIndexed>(2, nullptr, nullptr),
    pool_rung<MaxForwardIndexed>(3, nullptr, nullptr),
};
constexpr Rung kBackwardRungs[] = {
    pool_rung<MaxBackward>(0, "thread-per-input", kBackwardIdea),
    pool_rung<MaxBackward>(1, nullptr, nullptr),
    pool_rung<MaxBackward>(2, nullptr, nullptr),
    pool_rung<MaxBackward>(3, nullptr, nullptr),
};

}  // namespace

const Op max_pool = {
    .name = "max_pool",
    .formula =
        "y[n,p,q,c] = max_rs x[n, p stride_h - pad_h + r, q stride_w - pad_w + s, c]; x (N, H, W, C), "
        "y, index (N, P, Q, C)",
    .peer = "cudnn:pooling_forward_max",
    .extent_names = kPoolExtents,
    .scalar_names = {},
    .signature =
        [](const Problem& p) {
          const int64_t* e = p.extents;
          return Signature{
              3,
              {{"x", Role::input, p.dtype, 4, {e[Pool::N], e[Pool::H], e[Pool::W], e[Pool::C]}, Fill::distinct},
               {"y", Role::output, p.dtype, 4, {e[Pool::N], e[Pool::P], e[Pool::Q], e[Pool::C]}},
               {"index", Role::output, DType::i32, 4, {e[Pool::N], e[Pool::P], e[Pool::Q], e[Pool::C]}}}};
        },
    .check = [](const Problem& p) { check_pool("max_pool", p); },
    .reference = reference::max_pool,
    .flops = [](const Problem& p) { return pool_outputs(p) * pool_window(p); },
    .bytes = [](const Problem& p) { return width(p) * (pool_inputs_met(p) + pool_outputs(p)) + 4 * pool_outputs(p); },
    .bound = {.c = 1},
    .problems = kPoolProblems,
    .rungs = kRungs,
    .choose = choose_pool_rung<false>,
    .exact_on_integers = true,
};

const Op max_pool_backward = {
    .name = "max_pool_backward",
    .formula =
        "dx[n,h,w,c] = sum of dy[n,p,q,c] where index[n,p,q,c] = h W + w; dy, index (N, P, Q, C), "
        "dx (N, H, W, C)",
    .peer = "cudnn:pooling_backward_max",
    .extent_names = kPoolExtents,
    .scalar_names = {},
    .signature =
        [](const Problem& p) {
          const int64_t* e = p.extents;
          return Signature{
              3,
              {{"dy", Role::input, p.dtype, 4, {e[Pool::N], e[Pool::P], e[Pool::Q], e[Pool::C]}},
               {"index", Role::input, DType::i32, 4, {e[Pool::N], e[Pool::P], e[Pool::Q], e[Pool::C]}, Fill::derived},
               {"dx", Role::output, p.dtype, 4, {e[Pool::N], e[Pool::H], e[Pool::W], e[Pool::C]}}}};
        },
    .check = [](const Problem& p) { check_pool("max_pool_backward", p); },
    .reference = reference::max_pool_backward,
    .flops = pool_outputs,
    .bytes = [](const Problem& p) { return width(p) * (pool_inputs(p) + pool_outputs(p)) + 4 * pool_outputs(p); },
    .bound = {.c = 2, .terms = pool_overlap},
    .problems = kPoolProblems,
    .rungs = kBackwardRungs,
    .gradient_of = "max_pool",
    .choose = choose_pool_rung<true>,
    .exact_on_integers = true,
};

}  // namespace weft::WEFT_TARGET
