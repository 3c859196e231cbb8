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
#include "kernels/packs.h"
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

// Rung 2, float4. Three loads of 16 bytes stand before the first operation. The parameters of a group lie in one flat
// arena, so one launch steps them all, wherever in the arena the group begins: the ragged first and last packs are
// taken element by element (packs.h).
__global__ void sgd_step_float4(float* __restrict__ weight, const float* __restrict__ dweight,
                                float* __restrict__ velocity, int64_t n, Rule rule) {
  const int64_t first = packing_of(weight, n).first(int64_t{blockIdx.x} * blockDim.x + threadIdx.x);
  if (first >= n) return;
  Pack<float> weights = load_ragged(weight, first, n), velocities = load_ragged(velocity, first, n);
  const Pack<float> gradients = load_ragged(dweight, first, n);
  for (int k = 0; k < Pack<float>::kSize; ++k) step(rule, weights.values[k], gradients.values[k], velocities.values[k]);
  store_ragged(weight, first, n, weights);
  store_ragged(velocity, first, n, velocities);
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

void launch_float4(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t n = problem.extents[SgdStep::n];
  const auto weight = as<float>(operands[0]);
  launch(sgd_step_float4, {.grid = blocks_for(packing_of(weight, n).count, kBlock), .block = kBlock, .stream = stream},
         weight, as<const float>(operands[1]), as<float>(operands[2]), n, rule_of(problem));
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
    .peer = nullptr,  // no library updates weights: frameworks have kernels of their own
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
