// cast: y[i] = x[i] in another type.   x, y are (n).
// bfloat16 and float16 round to nearest, ties to even. int32 and uint8 round towards zero and saturate; NaN gives 0.
// Bound by memory: the floor is one read of x and one write of y.

#include "kernels/catalogue_ops.h"
#include "kernels/element.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/ops.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Cast;

/// IEEE 754 binary16: a sign, 5 bits of exponent (bias 15), 10 of fraction. Written out rather than taken from
/// cuda_fp16.h: it is short, and one source serves both targets.
struct float16 {
  uint16_t bits;
};

__device__ float widen(float value) {
  return value;
}
__device__ float widen(bfloat16 value) {
  return __bfloat162float(value);
}
__device__ float widen(uint8_t value) {
  return static_cast<float>(value);
}
__device__ float widen(int32_t value) {
  return static_cast<float>(value);
}
__device__ float widen(float16 value) {
  const uint32_t sign = (value.bits & 0x8000u) << 16, exponent = value.bits >> 10 & 0x1Fu,
                 fraction = value.bits & 0x3FFu;
  if (exponent == 0) {  // zero and subnormal numbers: fraction * 2^-24, which float32 holds exactly
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  // The bias is 127 there and 15 here; infinity and NaN have the largest exponent in both.
  const uint32_t rebiased = exponent == 31 ? 255 : exponent + 112;
  return __uint_as_float(sign | rebiased << 23 | fraction << 13);
}

template <class To>
__device__ To narrow(float value);
template <>
__device__ float narrow<float>(float value) {
  return value;
}
template <>
__device__ bfloat16 narrow<bfloat16>(float value) {
  return __float2bfloat16(value);
}
template <>
__device__ float16 narrow<float16>(float value) {
  const uint32_t bits = __float_as_uint(value), sign = bits >> 16 & 0x8000u;
  uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return {static_cast<uint16_t>(sign | 0x7E00u)};   // NaN
  if (magnitude >= 0x477FF000u) return {static_cast<uint16_t>(sign | 0x7C00u)};  // 65520 is half-way to 2^16: infinity
  if (magnitude < 0x38800000u) {
    // Below 2^-14 the result is a multiple of 2^-24, which is the distance of floats beside 0.5: adding 0.5 rounds.
    const float shifted = __uint_as_float(magnitude) + 0.5f;
    return {static_cast<uint16_t>(sign | (__float_as_uint(shifted) - 0x3F000000u))};
  }
  // Round off 13 bits: half a unit less one, and one more where the last bit that stays is odd, carries as it should.
  magnitude += 0xFFFu + (magnitude >> 13 & 1u);
  return {static_cast<uint16_t>(sign | (magnitude - (112u << 23)) >> 13)};
}
template <>
__device__ int32_t narrow<int32_t>(float value) {
  if (!(value > -2147483648.0f)) return value != value ? 0 : -2147483647 - 1;
  return value >= 2147483648.0f ? 2147483647 : static_cast<int32_t>(value);
}
template <>
__device__ uint8_t narrow<uint8_t>(float value) {
  if (!(value > 0)) return 0;
  return value >= 255 ? 255 : static_cast<uint8_t>(value);
}

// Rung 1, scalar. A thread an element: a warp reads 128 bytes of float32, but only 32 of uint8, an instruction.
template <class From, class To>
__global__ void cast_scalar(const From* __restrict__ x, To* __restrict__ y, int64_t n) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) y[i] = narrow<To>(widen(x[i]));
}

/// Four elements that one instruction loads or stores.
template <class T>
struct alignas(4 * sizeof(T)) Four {
  T values[4];
};

// Rung 2, four-per-thread. One load and one store for four elements, each of 4 to 16 bytes. The elements behind the
// last whole four go to the grid's first threads.
template <class From, class To>
__global__ void cast_four_per_thread(const From* __restrict__ x, To* __restrict__ y, int64_t n) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n / 4) {
    const Four<From> from = reinterpret_cast<const Four<From>*>(x)[i];
    Four<To> to;
    for (int k = 0; k < 4; ++k) to.values[k] = narrow<To>(widen(from.values[k]));
    reinterpret_cast<Four<To>*>(y)[i] = to;
  }
  if (i < n % 4) y[n - 1 - i] = narrow<To>(widen(x[n - 1 - i]));
}

/// Every pair goes through float32, so those that would round twice, or lose what float32 cannot hold, are left out.
constexpr bool castable(DType from, DType to) {
  const auto is_float = [](DType type) { return type == DType::f32 || type == DType::bf16 || type == DType::f16; };
  if (is_float(from)) return is_float(to) || to == DType::i32 || to == DType::u8;
  if (from == DType::u8) return is_float(to);
  return from == DType::i32 && to == DType::f32;
}

/// Calls run<T, dtype>() for the type.
template <class Run>
void with_any_type(DType dtype, Run&& run) {
  switch (dtype) {
    case DType::f32:
      return run.template operator()<float, DType::f32>();
    case DType::bf16:
      return run.template operator()<bfloat16, DType::bf16>();
    case DType::f16:
      return run.template operator()<float16, DType::f16>();
    case DType::i32:
      return run.template operator()<int32_t, DType::i32>();
    case DType::u8:
      return run.template operator()<uint8_t, DType::u8>();
    case DType::i64:
      return;
  }
}

/// Calls run<From, To>() for the call's pair of types.
template <class Run>
void with_types(const Problem& problem, Run&& run) {
  with_any_type(static_cast<DType>(problem.extents[Cast::from]), [&]<class From, DType from>() {
    with_any_type(static_cast<DType>(problem.extents[Cast::to]), [&]<class To, DType to>() {
      if constexpr (castable(from, to)) run.template operator()<From, To>();
    });
  });
}

void launch_scalar(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t n = problem.extents[Cast::n];
  with_types(problem, [&]<class From, class To>() {
    launch(cast_scalar<From, To>, {.grid = blocks_for(n, kBlock), .block = kBlock, .stream = stream},
           as<const From>(operands[0]), as<To>(operands[1]), n);
  });
}

void launch_four_per_thread(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  if (!aligned({operands[0], operands[1]})) return launch_scalar(problem, operands, workspace, stream);
  const int64_t n = problem.extents[Cast::n];
  with_types(problem, [&]<class From, class To>() {
    launch(cast_four_per_thread<From, To>, {.grid = blocks_for(n, kBlock * 4), .block = kBlock, .stream = stream},
           as<const From>(operands[0]), as<To>(operands[1]), n);
  });
}

constexpr const char* kExtents[] = {"n", "from", "to"};
constexpr const char* kNames[] = {"f32", "f16", "bf16", "i32", "i64", "u8"};  // in the order of DType

constexpr Problem problem_of(int64_t n, DType from, DType to) {
  return {{n, static_cast<int64_t>(from), static_cast<int64_t>(to)}};
}
constexpr Problem kProblems[] = {
    problem_of(1, DType::f32, DType::bf16),    problem_of(33, DType::f32, DType::bf16),
    problem_of(4099, DType::f32, DType::bf16), problem_of(4099, DType::bf16, DType::f32),
    problem_of(7, DType::f32, DType::f16),     problem_of(4099, DType::f32, DType::f16),
    problem_of(4099, DType::f16, DType::f32),  problem_of(129, DType::bf16, DType::f16),
    problem_of(129, DType::f16, DType::bf16),  problem_of(65, DType::f32, DType::f32),
    problem_of(3, DType::u8, DType::f32),      problem_of(3 * 1031, DType::u8, DType::f32),
    problem_of(129, DType::u8, DType::bf16),   problem_of(129, DType::u8, DType::f16),
    problem_of(129, DType::i32, DType::f32),   problem_of(129, DType::f32, DType::i32),
    problem_of(129, DType::f32, DType::u8),    problem_of(127, DType::bf16, DType::i32),
};
// The call names both types itself, so it may be of any type.
constexpr unsigned kAny = kFloats | bit(DType::f16) | bit(DType::i32) | bit(DType::u8);
constexpr Rung kRungs[] = {
    {"scalar", "A thread an element.", {.dtypes = kAny}, launch_scalar},
    {"four-per-thread", "One load and one store for four elements.", {.dtypes = kAny}, launch_four_per_thread},
};

int64_t size_of(DType dtype) {
  return dtype == DType::u8 ? 1 : dtype == DType::bf16 || dtype == DType::f16 ? 2 : 4;
}

void check(const Problem& p) {
  const int64_t n = p.extents[Cast::n], from = p.extents[Cast::from], to = p.extents[Cast::to];
  if (n < 1) fail("cast: n is " + std::to_string(n) + ", and must be at least 1");
  constexpr int64_t kTypes = std::size(kNames);
  if (from < 0 || from >= kTypes || to < 0 || to >= kTypes)
    fail("cast: from = " + std::to_string(from) + " or to = " + std::to_string(to) + " is no element type");
  if (!castable(static_cast<DType>(from), static_cast<DType>(to)))
    fail(std::string("cast: ") + kNames[from] + " to " + kNames[to] + " is not supported");
}

Fill fill_of(DType from) {
  return from == DType::u8 ? Fill::pixels : from == DType::i32 ? Fill::labels : Fill::normal;
}

}  // namespace

const Op cast = {
    .name = "cast",
    .formula = "y[i] = x[i], rounded to nearest even (to an integer: towards zero); x, y (n)",
    .peer = nullptr,  // no function of cuDNN's or cuBLAS's changes a type alone
    .extent_names = kExtents,
    .scalar_names = {},
    .signature =
        [](const Problem& p) {
          const int64_t n = p.extents[Cast::n];
          const auto from = static_cast<DType>(p.extents[Cast::from]), to = static_cast<DType>(p.extents[Cast::to]);
          return Signature{2, {{"x", Role::input, from, 1, {n}, fill_of(from), 1000}, {"y", Role::output, to, 1, {n}}}};
        },
    .check = check,
    .reference = reference::cast,
    .flops = [](const Problem&) { return 0.0; },
    .bytes =
        [](const Problem& p) {
          const int64_t width =
              size_of(static_cast<DType>(p.extents[Cast::from])) + size_of(static_cast<DType>(p.extents[Cast::to]));
          return static_cast<double>(p.extents[Cast::n] * width);
        },
    .bound = {.c = 1},
    .problems = kProblems,
    .rungs = kRungs,
    .exact_on_integers = true,
};

}  // namespace weft::WEFT_TARGET
