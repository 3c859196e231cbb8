// sgd_step: g = dweight + weight_decay weight;  velocity <- momentum velocity + g;
// weight <- weight - lr (nesterov ? g + momentum velocity : velocity).   All are (n); weight and velocity in place.
// The step of torch.optim.SGD, without dampening. (Sutskever et al., "On the importance of initialization and momentum
// in deep learning", 2013, up to where lr stands.)
// 6 or 8 n flops and 20n bytes in float32: bound by memory. The floor is three reads and two writes.

#include "kernels/catalogue_ops.h"
#include "kernels/element.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/ops.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::SgdStep;

struct Rule {
  float lr, momentum, weight_decay;
  bool nesterov;
};

__device__ void step(const Rule& rule, float& weight, float dweight, float& velocity) {
  const float g = dweight + rule.weight_decay * weight;
  velocity = rule.momentum * velocity + g;
  weight -= rule.lr * (rule.nesterov ? g + rule.momentum * velocity : velocity);
}

// Rung 1, scalar. A thread an element, coalesced: but three loads of 4 bytes in flight a thread.
__global__ void sgd_step_scalar(float* __restrict__ weight, const float* __restrict__ dweight,
                                float* __restrict__ velocity, int64_t n, Rule rule) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) step(rule, weight[i], dweight[i], velocity[i]);
}

// Rung 2, float4. Three loads of 16 bytes stand before the first operation. The elements behind the last whole pack go
// to the grid's first threads.
__global__ void sgd_step_float4(float* __restrict__ weight, const float* __restrict__ dweight,
                                float* __restrict__ velocity, int64_t n, Rule rule) {
  constexpr int kSize = Pack<float>::kSize;
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n / kSize) {
    Pack<float> weights = load_pack(weight, i), velocities = load_pack(velocity, i);
    const Pack<float> gradients = load_pack(dweight, i);
    for (int k = 0; k < kSize; ++k) step(rule, weights.values[k], gradients.values[k], velocities.values[k]);
    store_pack(weight, i, weights);
    store_pack(velocity, i, velocities);
  }
  if (i < n % kSize) {
    const int64_t last = n - 1 - i;
    step(rule, weight[last], dweight[last], velocity[last]);
  }
}

Rule rule_of(const Problem& problem) {
  return {static_cast<float>(problem.scalars[SgdStep::lr]), static_cast<float>(problem.scalars[SgdStep::momentum]),
          static_cast<float>(problem.scalars[SgdStep::weight_decay]), problem.extents[SgdStep::nesterov] != 0};
}

void launch_scalar(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t n = problem.extents[SgdStep::n];
  launch(sgd_step_scalar, {.grid = blocks_for(n, kBlock), .block = kBlock, .stream = stream}, as<float>(operands[0]),
         as<const float>(operands[1]), as<float>(operands[2]), n, rule_of(problem));
}

void launch_float4(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  if (!aligned({operands[0], operands[1], operands[2]})) return launch_scalar(problem, operands, workspace, stream);
  const int64_t n = problem.extents[SgdStep::n];
  launch(sgd_step_float4, {.grid = blocks_for(n, kBlock * Pack<float>::kSize), .block = kBlock, .stream = stream},
         as<float>(operands[0]), as<const float>(operands[1]), as<float>(operands[2]), n, rule_of(problem));
}

constexpr const char* kExtents[] = {"n", "nesterov"};
constexpr const char* kScalars[] = {"lr", "momentum", "weight_decay"};
constexpr Problem kProblems[] = {
    {{1, 0}, {0.1, 0, 0}},          {{2, 0}, {0.1, 0.9, 0}},
    {{3, 1}, {0.1, 0.9, 0}},        {{7, 0}, {0.01, 0, 1e-2}},
    {{33, 1}, {0.5, 0.9, 1e-2}},    {{129, 0}, {1, 0.99, 0.1}},
    {{4099, 1}, {0.01, 0.9, 1e-4}}, {{1 << 14, 0}, {0.1, 0.9, 1e-4}, DType::f32, "resnet18's usual step"},
};
constexpr Rung kRungs[] = {
    {"scalar", "A thread an element, as the formula says.", {}, launch_scalar},
    {"float4", "One instruction moves 16 bytes instead of 4, so more bytes are under way.", {}, launch_float4},
};

double elements(const Problem& p) {
  return static_cast<double>(p.extents[SgdStep::n]);
}

}  // namespace

const Op sgd_step = {
    .name = "sgd_step",
    .formula =
        "g = dweight + weight_decay weight; velocity <- momentum velocity + g; "
        "weight <- weight - lr (nesterov ? g + momentum velocity : velocity); all (n)",
    .peer = nullptr,
    .extent_names = kExtents,
    .scalar_names = kScalars,
    .signature =
        [](const Problem& p) {
          const int64_t n = p.extents[SgdStep::n];
          return Signature{3,
                           {{"weight", Role::inout, DType::f32, 1, {n}},
                            {"dweight", Role::input, DType::f32, 1, {n}},
                            {"velocity", Role::inout, DType::f32, 1, {n}}}};
        },
    .check = [](const Problem& p) { require_positive("sgd_step", std::span(kExtents, 1), p); },
    .reference = reference::sgd_step,
    .flops = [](const Problem& p) { return (p.extents[SgdStep::nesterov] ? 8 : 6) * elements(p); },
    .bytes = [](const Problem& p) { return 20 * elements(p); },
    .bound = {.c = 4},
    .problems = kProblems,
    .rungs = kRungs,
};

}  // namespace weft::WEFT_TARGET
