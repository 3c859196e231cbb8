// dropout: y[i] = x[i] / (1 - p) where element i is kept, else 0.   dropout_backward: dx[i] = dy[i] / (1 - p) where it
// was kept, else 0: the same map, so the same kernels.   All are (n).
// (Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.)
// The 32 random bits of element i are word i % 4 of philox4x32_10(seed, op * 2^32 + step, i / 4), and it is kept where
// they are at least round(p * 2^32): a comparison of integers, the same on every device. Nothing is stored for the
// backward pass, which draws the same bits again.
// n flops, 8n bytes in float32, and for four elements one Philox block of about 60 integer instructions: bound by
// memory.

#include <cmath>

#include "kernels/catalogue_ops.h"
#include "kernels/element.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/ops.h"
#include "kernels/philox_device.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Dropout;

/// Which elements are kept, and what they are multiplied by.
struct Mask {
  uint64_t seed, subsequence;
  uint64_t threshold;  ///< 0 ... 2^32
  float scale;         ///< 1 / (1 - p)
};

template <class T>
__device__ T masked(T x, uint32_t random, const Mask& mask) {
  return from_float<T>(random >= mask.threshold ? to_float(x) * mask.scale : 0);
}

__device__ uint32_t word(const uint4& block, int which) {
  return which == 0 ? block.x : which == 1 ? block.y : which == 2 ? block.z : block.w;
}

// Rung 1, philox-per-element. A thread an element: it computes the four words of its Philox block, uses one and throws
// three away, as do its three neighbours.
template <class T>
__global__ void dropout_philox_per_element(const T* __restrict__ x, T* __restrict__ y, int64_t n, Mask mask) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const uint4 random = philox4x32_10(mask.seed, mask.subsequence, static_cast<uint64_t>(i / 4));
  y[i] = masked(x[i], word(random, static_cast<int>(i % 4)), mask);
}

// Rung 2, philox-per-four. A thread takes 16 bytes (4 floats, 8 bfloat16) and uses every word of its Philox blocks: a
// quarter of the integer work, and one instruction for what took four. The elements behind the last whole pack go to
// the grid's first threads.
template <class T>
__global__ void dropout_philox_per_four(const T* __restrict__ x, T* __restrict__ y, int64_t n, Mask mask) {
  constexpr int kSize = Pack<T>::kSize;
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n / kSize) {
    Pack<T> pack = load_pack(x, i);
    for (int four = 0; four < kSize / 4; ++four) {
      const uint4 random = philox4x32_10(mask.seed, mask.subsequence, static_cast<uint64_t>(i * (kSize / 4) + four));
      T* values = pack.values + 4 * four;
      values[0] = masked(values[0], random.x, mask);
      values[1] = masked(values[1], random.y, mask);
      values[2] = masked(values[2], random.z, mask);
      values[3] = masked(values[3], random.w, mask);
    }
    store_pack(y, i, pack);
  }
  if (i < n % kSize) {
    const int64_t last = n - 1 - i;
    const uint4 random = philox4x32_10(mask.seed, mask.subsequence, static_cast<uint64_t>(last / 4));
    y[last] = masked(x[last], word(random, static_cast<int>(last % 4)), mask);
  }
}

Mask mask_of(const Problem& problem) {
  const double p = problem.scalars[Dropout::p];
  return {static_cast<uint64_t>(problem.extents[Dropout::seed]),
          (static_cast<uint64_t>(problem.extents[Dropout::op]) << 32) +
              static_cast<uint64_t>(problem.extents[Dropout::step]),
          static_cast<uint64_t>(std::llround(p * 4294967296.0)), static_cast<float>(1 / (1 - p))};
}

void launch_philox_per_element(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t n = problem.extents[Dropout::n];
  with_type(problem.dtype, [&]<class T>() {
    launch(dropout_philox_per_element<T>, {.grid = blocks_for(n, kBlock), .block = kBlock, .stream = stream},
           as<const T>(operands[0]), as<T>(operands[1]), n, mask_of(problem));
  });
}

void launch_philox_per_four(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  if (!aligned({operands[0], operands[1]})) return launch_philox_per_element(problem, operands, workspace, stream);
  const int64_t n = problem.extents[Dropout::n];
  with_type(problem.dtype, [&]<class T>() {
    launch(dropout_philox_per_four<T>,
           {.grid = blocks_for(n, kBlock * Pack<T>::kSize), .block = kBlock, .stream = stream},
           as<const T>(operands[0]), as<T>(operands[1]), n, mask_of(problem));
  });
}

constexpr const char* kExtents[] = {"n", "seed", "op", "step"};
constexpr const char* kScalars[] = {"p"};
constexpr Problem kProblems[] = {
    {{1, 7, 0, 0}, {0.25}},
    {{2, 7, 0, 1}, {0.5}},
    {{3, 7, 1, 0}, {0.5}},
    {{7, 1, 2, 3}, {0.1}},
    {{31, 42, 3, 1000}, {0.9}},
    {{33, 42, 3, 1001}, {0}},
    {{65, 0, 0, 0}, {0.5}},
    {{129, -1, 5, 4294967295}, {0.5}},
    {{4099, 3, 1, 2}, {0.5}, DType::f32, "squeezenet1_1 and lenet drop half"},
    {{1 << 14, 1234567890123, 7, 99}, {0.2}},
};
constexpr Rung kRungs[] = {
    {"philox-per-element",
     "A thread an element draws four words and uses one.",
     {.dtypes = kFloats},
     launch_philox_per_element},
    {"philox-per-four",
     "A thread takes 16 bytes and uses every word that it draws.",
     {.dtypes = kFloats},
     launch_philox_per_four},
};

void check_call(const char* op, const Problem& problem) {
  const int64_t* e = problem.extents;
  const auto refuse = [&](const std::string& what) { fail(std::string(op) + ": " + what); };
  if (e[Dropout::n] < 1) refuse("n is " + std::to_string(e[Dropout::n]) + ", and must be at least 1");
  for (const int which : {Dropout::op, Dropout::step})
    if (e[which] < 0 || e[which] > 4294967295)
      refuse(std::string(kExtents[which]) + " is " + std::to_string(e[which]) + ", and must be a 32-bit number");
  const double p = problem.scalars[Dropout::p];
  if (!(p >= 0 && p <= 1)) refuse("p is " + std::to_string(p) + ", and must be a probability");
}

double elements(const Problem& p) {
  return static_cast<double>(p.extents[Dropout::n]);
}
double bytes(const Problem& p) {
  return 2 * width(p) * elements(p);
}

}  // namespace

const Op dropout = {
    .name = "dropout",
    .formula = "y[i] = x[i] / (1 - p) where Philox's word i is at least p 2^32, else 0; x, y (n)",
    .peer = nullptr,  // cuDNN's draws random numbers of its own, and keeps their state
    .extent_names = kExtents,
    .scalar_names = kScalars,
    .signature =
        [](const Problem& p) {
          const int64_t n = p.extents[Dropout::n];
          return Signature{2, {{"x", Role::input, p.dtype, 1, {n}}, {"y", Role::output, p.dtype, 1, {n}}}};
        },
    .check = [](const Problem& p) { check_call("dropout", p); },
    .reference = reference::dropout,
    .flops = elements,
    .bytes = bytes,
    .bound = {.c = 3},  // 1 / (1 - p) is rounded to float32, and so is the product
    .problems = kProblems,
    .rungs = kRungs,
};

const Op dropout_backward = {
    .name = "dropout_backward",
    .formula = "dx[i] = dy[i] / (1 - p) where Philox's word i is at least p 2^32, else 0; dy, dx (n)",
    .peer = nullptr,  // cuDNN's wants the mask that its own forward pass kept
    .extent_names = kExtents,
    .scalar_names = kScalars,
    .signature =
        [](const Problem& p) {
          const int64_t n = p.extents[Dropout::n];
          return Signature{2, {{"dy", Role::input, p.dtype, 1, {n}}, {"dx", Role::output, p.dtype, 1, {n}}}};
        },
    .check = [](const Problem& p) { check_call("dropout_backward", p); },
    .reference = reference::dropout_backward,
    .flops = elements,
    .bytes = bytes,
    .bound = {.c = 3},
    .problems = kProblems,
    .rungs = kRungs,
    .gradient_of = "dropout",
};

}  // namespace weft::WEFT_TARGET
