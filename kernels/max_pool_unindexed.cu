// max_pool_unindexed: y[n,p,q,c] = max over r,s of x[n, p stride_h - pad_h + r, q stride_w - pad_w + s, c].
// max_pool_unindexed_backward: dx[n,h,w,c] = sum of dy[n,p,q,c] over the windows whose first maximum (h, w) is, which
// is looked for in x again. x, dx are (N, H, W, C); y, dy (N, P, Q, C). The results are those of max_pool.cu, to the
// bit.
//
// R S comparisons an output in each pass; bound by memory. What an output costs, with e bytes an element and
// i = stride_h stride_w inputs for each output:
//
//                     forward             backward             both        f32: stride 1, 2     bf16: stride 1, 2
//   with the index    e i + e + 4         e + 4 + e i          2 e i + 2 e + 8       24, 48                16, 28
//   without           e i + e             e i + e + e i        3 e i + 2 e           20, 56                10, 28
//
// So reading x once more is cheaper than writing the index and reading it where e i < 8: at a stride of 1. At a stride
// of 2 it moves as much in bfloat16, and in float32 a sixth more; beyond, more still. Between the passes the index
// holds 4 bytes an output, and x e i, which are none where x is kept anyway, as behind a ReLU, whose gradient wants it.
// (A byte for the place within the window would cost 2 in place of 8, but no longer be torch's index.) The graph uses
// max_pool: the pools of ResNet and SqueezeNet have a stride of 2. This op is in the catalogue to be measured beside
// it: no graph holds it.

#include "kernels/catalogue_ops.h"
#include "kernels/max_pool.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Pool;

template <class T>
struct MaxForwardUnindexed : MaxForward<T> {
  MaxForwardUnindexed(const Problem& problem, void* const* operands) : MaxForward<T>(problem, operands, nullptr) {}
};

/// x and dy of one picture; a window's winner is looked for whenever it is asked for.
template <class T>
struct SearchedGradients {
  Plane<T> x, dy;
  PoolShape shape;

  template <int kVector>
  __device__ Vector<int32_t, kVector> winner(int p, int q, int c) const {
    return find_maximum<kVector>(x, shape, p, q, c).where;
  }
};

// Rungs 1 to 3 look for the winner of every window that holds a pixel, for every pixel: a window of 3 x 3 is searched
// nine times, 81 reads, mostly of L1. Rung 4 has x's rows in shared memory beside dy's; there a block looks for each
// window's winner once, when its rows have come, keeps it as long as dy's, and gathers as if the index had been stored.
template <class T>
struct MaxBackwardUnindexed : PoolPass<true> {
  using Planes = SearchedGradients<T>;
  const T* x;
  const T* dy;
  T* dx;

  MaxBackwardUnindexed(const Problem& problem, void* const* operands)
      : PoolPass<true>{pool_shape(problem)},
        x(as<const T>(operands[0])),
        dy(as<const T>(operands[1])),
        dx(as<T>(operands[2])) {}

  /// Rows of x in a ring: those under `depth` rows of windows.
  __host__ __device__ int x_depth(int depth) const {
    const int64_t rows = int64_t{depth - 1} * shape.stride_h + shape.R;
    return rows < shape.H ? static_cast<int>(rows) : shape.H;
  }
  int64_t ring_bytes(int depth, int64_t elements) const {
    return max_rings_bytes<T>(int64_t{depth} * shape.Q * elements) +
           int64_t{x_depth(depth)} * shape.W * elements * static_cast<int64_t>(sizeof(T));
  }
  __device__ Planes planes(int64_t n) const {
    return {whole_plane(x, n, out(), shape.C), whole_plane(dy, n, in(), shape.C), shape};
  }

  struct Rings : MaxRings<T> {
    RowRing<T> x;
  };
  template <int kVector>
  __device__ Rings rings(unsigned char* shared, const Strip& strip, int depth) const {
    const MaxRings<T> rings = max_rings<kVector, T>(shared, strip, depth, shape.Q);
    T* const behind = rings.dy.data + int64_t{depth} * rings.dy.row_pitch;
    return {rings, row_ring<kVector>(behind, x_depth(depth), shape.W, strip)};
  }
  /// Rows of windows: dy's, the rows of x that they see and the rows of windows before them did not, and who won them.
  template <int kVector>
  __device__ void fetch(const Planes& planes, const Rings& rings, const Strip& strip, Range windows) const {
    if (windows.last <= windows.first) return;  // the same for the whole block
    const auto pixels = [&](int p) { return pixels_of_window(p, shape.H, shape.R, shape.stride_h, shape.pad_h); };
    Range rows = {pixels(windows.first).first, pixels(windows.last - 1).last};
    if (windows.first > 0 && rows.first < pixels(windows.first - 1).last) rows.first = pixels(windows.first - 1).last;
    fetch_rows<kVector>(planes.x, rings.x, rows, shape.W, strip, shape.C,
                        [&](int row, int column) { return windows_hold(shape, row, column); });
    fetch_rows<kVector>(planes.dy, rings.dy, windows, shape.Q, strip, shape.C);
    __syncthreads();  // x's rows are there
    for_strip<kVector>(windows, shape.Q, strip, shape.C, [&](int p, int q, int c) {
      store_vector(rings.index.data, rings.index.place(p, q, c), find_maximum<kVector>(rings.x, shape, p, q, c).where);
    });
  }

  template <int kVector, class From>
  __device__ void at(const From& from, const PicturePixel& pixel, int c) const {
    gather_gradient<kVector>(from, shape, pixel, c, dx);
  }
};

constexpr const char* kForwardIdea = "A thread an output, its place found by divisions; no index is written.";
constexpr const char* kBackwardIdea =
    "The index was written for this pass alone; here a thread an input looks for the maximum of each window that holds "
    "it.";
constexpr Rung kRungs[] = {
    pool_rung<MaxForwardUnindexed>(0, "thread-per-output", kForwardIdea),
    pool_rung<MaxForwardUnindexed>(1, nullptr, nullptr),
    pool_rung<MaxForwardUnindexed>(2, nullptr, nullptr),
    pool_rung<MaxForwardUnindexed>(3, nullptr, nullptr),
};
constexpr Rung kBackwardRungs[] = {
    pool_rung<MaxBackwardUnindexed>(0, "thread-per-input", kBackwardIdea),
    pool_rung<MaxBackwardUnindexed>(1, nullptr, nullptr),
    pool_rung<MaxBackwardUnindexed>(2, nullptr, nullptr),
    pool_rung<MaxBackwardUnindexed>(3, nullptr, nullptr),
};

Operand picture(const Problem& p, const char* name, Role role, Fill fill = Fill::normal) {
  const int64_t* e = p.extents;
  return {name, role, p.dtype, 4, {e[Pool::N], e[Pool::H], e[Pool::W], e[Pool::C]}, fill};
}
Operand pooled(const Problem& p, const char* name, Role role) {
  const int64_t* e = p.extents;
  return {name, role, p.dtype, 4, {e[Pool::N], e[Pool::P], e[Pool::Q], e[Pool::C]}};
}

}  // namespace

const Op max_pool_unindexed = {
    .name = "max_pool_unindexed",
    .formula =
        "y[n,p,q,c] = max_rs x[n, p stride_h - pad_h + r, q stride_w - pad_w + s, c]; x (N, H, W, C), "
        "y (N, P, Q, C)",
    .peer = "cudnn:pooling_forward_max",
    .extent_names = kPoolExtents,
    .scalar_names = {},
    .signature =
        [](const Problem& p) {
          return Signature{2, {picture(p, "x", Role::input, Fill::distinct), pooled(p, "y", Role::output)}};
        },
    .check = [](const Problem& p) { check_pool("max_pool_unindexed", p); },
    .reference = reference::max_pool_unindexed,
    .flops = [](const Problem& p) { return pool_outputs(p) * pool_window(p); },
    .bytes = [](const Problem& p) { return width(p) * (pool_inputs_met(p) + pool_outputs(p)); },
    .bound = {.c = 1},
    .problems = kPoolProblems,
    .rungs = kRungs,
    .choose = choose_pool_rung<false>,
    .exact_on_integers = true,
};

const Op max_pool_unindexed_backward = {
    .name = "max_pool_unindexed_backward",
    .formula =
        "dx[n,h,w,c] = sum of dy[n,p,q,c] over the windows whose first maximum is x[n,h,w,c]; dy (N, P, Q, C), "
        "x, dx (N, H, W, C)",
    .peer = "cudnn:pooling_backward_max",
    .extent_names = kPoolExtents,
    .scalar_names = {},
    .signature =
        [](const Problem& p) {
          return Signature{3,
                           {picture(p, "x", Role::input, Fill::distinct), pooled(p, "dy", Role::input),
                            picture(p, "dx", Role::output)}};
        },
    .check = [](const Problem& p) { check_pool("max_pool_unindexed_backward", p); },
    .reference = reference::max_pool_unindexed_backward,
    .flops = [](const Problem& p) { return pool_outputs(p) * (pool_window(p) + 1); },
    .bytes = [](const Problem& p) { return width(p) * (pool_inputs_met(p) + pool_inputs(p) + pool_outputs(p)); },
    .bound = {.c = 2, .terms = pool_overlap},
    .problems = kPoolProblems,
    .rungs = kBackwardRungs,
    .gradient_of = "max_pool_unindexed",
    .choose = choose_pool_rung<true>,
    .exact_on_integers = true,
};

}  // namespace weft::WEFT_TARGET
