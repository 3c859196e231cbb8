// sgd_step: g = dweight + weight_decay weight;  velocity <- momentum velocity + g;
// weight <- weight - lr (nesterov ? g + momentum velocity : velocity).   All are (n); weight and velocity in place.
// The step of torch.optim.SGD, without dampening. (Sutskever et al., "On the importance of initialization and momentum
// in deep learning", 2013, up to where lr stands.)
// The n parameters are up to 8 groups, one behind the other, each with an lr and a weight_decay of its own: a network
// fine-tuned with differential rates is stepped in one launch all the same. Where the groups end comes with the launch,
// in constant memory: 20 bytes an element are all that moves, however many groups there are.
// 6 or 8 n flops and 20n bytes in float32: bound by memory. The floor is three reads and two writes.

#include <iterator>
#include <string>

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

/// The groups' rates: an argument of the kernel as it is.
struct Rule {
  int splits;
  int64_t split[SgdStep::kMaxGroups - 1];  ///< where each group but the last ends
  float lr[SgdStep::kMaxGroups], weight_decay[SgdStep::kMaxGroups];
  float momentum;
  bool nesterov;
};

/// The group of element i, sought from `group` on. Equal ends are empty groups, which are passed over.
__device__ int group_at(const Rule& rule, int64_t i, int group) {
  while (group < rule.splits && i >= rule.split[group]) ++group;
  return group;
}

__device__ void step(const Rule& rule, int group, float& weight, float dweight, float& velocity) {
  const float g = dweight + rule.weight_decay[group] * weight;
  velocity = rule.momentum * velocity + g;
  weight -= rule.lr[group] * (rule.nesterov ? g + rule.momentum * velocity : velocity);
}

// Rung 1, scalar. A thread an element, coalesced, which finds its group by comparing with the ends. All threads of a
// warp compare with the same one at a time, so constant memory answers them at once; they part only where a group ends
// within the warp. But three loads of 4 bytes in flight a thread, and the comparisons made for each element.
__global__ void sgd_step_scalar(float* __restrict__ weight, const float* __restrict__ dweight,
                                float* __restrict__ velocity, int64_t n, Rule rule) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) step(rule, group_at(rule, i, 0), weight[i], dweight[i], velocity[i]);
}

// Rung 2, float4. Three loads of 16 bytes stand before the first operation, and the group is sought once for the four
// elements of a pack. Groups end where they like, and a pack may lie in two of them or more: from one element to the
// next the thread asks only whether its group has ended. The arena may begin anywhere: its ragged first and last packs
// are taken element by element (packs.h).
__global__ void sgd_step_float4(float* __restrict__ weight, const float* __restrict__ dweight,
                                float* __restrict__ velocity, int64_t n, Rule rule) {
  const int64_t first = packing_of(weight, n).first(int64_t{blockIdx.x} * blockDim.x + threadIdx.x);
  if (first >= n) return;
  Pack<float> weights = load_ragged(weight, first, n), velocities = load_ragged(velocity, first, n);
  const Pack<float> gradients = load_ragged(dweight, first, n);
  int group = 0;
#pragma unroll
  for (int k = 0; k < Pack<float>::kSize; ++k) {
    group = group_at(rule, first + k, group);
    step(rule, group, weights.values[k], gradients.values[k], velocities.values[k]);
  }
  store_ragged(weight, first, n, weights);
  store_ragged(velocity, first, n, velocities);
}

Rule rule_of(const Problem& problem) {
  Rule rule{.splits = static_cast<int>(problem.extents[SgdStep::splits]),
            .split = {},
            .lr = {},
            .weight_decay = {},
            .momentum = static_cast<float>(problem.scalars[SgdStep::momentum]),
            .nesterov = problem.extents[SgdStep::nesterov] != 0};
  for (int group = 0; group < SgdStep::kMaxGroups; ++group) {
    if (group < rule.splits) rule.split[group] = problem.extents[SgdStep::split + group];
    rule.lr[group] = static_cast<float>(problem.scalars[SgdStep::lr + 2 * group]);
    rule.weight_decay[group] = static_cast<float>(problem.scalars[SgdStep::weight_decay + 2 * group]);
  }
  return rule;
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

constexpr const char* kExtents[] = {"n",       "nesterov", "splits",  "split_1", "split_2",
                                    "split_3", "split_4",  "split_5", "split_6", "split_7"};
constexpr const char* kScalars[] = {"momentum",       "lr",   "weight_decay",   "lr_2", "weight_decay_2", "lr_3",
                                    "weight_decay_3", "lr_4", "weight_decay_4", "lr_5", "weight_decay_5", "lr_6",
                                    "weight_decay_6", "lr_7", "weight_decay_7", "lr_8", "weight_decay_8"};
static_assert(std::size(kExtents) == SgdStep::kCount && std::size(kScalars) == SgdStep::kScalars);
static_assert(SgdStep::kCount <= kMaxExtents && SgdStep::kScalars <= kMaxScalars);

constexpr Problem kProblems[] = {
    {{1, 0}, {0, 0.1}},
    {{2, 0}, {0.9, 0.1}},
    {{3, 1}, {0.9, 0.1}},
    {{7, 0}, {0, 0.01, 1e-2}},
    {{33, 1}, {0.9, 0.5, 1e-2}},
    {{129, 0}, {0.99, 1, 0.1}},
    {{4099, 1}, {0.9, 0.01, 1e-4}},
    {{1 << 14, 0}, {0.9, 0.1, 1e-4}, DType::f32, "resnet18's usual step"},
    {{2, 0, 1, 1}, {0.9, 1, 0.5, 0.25, 0}, DType::f32, "two groups of one"},
    {{37, 1, 1, 18}, {0.9, 1, 0, 0.125, 0.5}, DType::f32, "two groups, a pack in both"},
    {{97, 0, 1, 97}, {0.9, 0.5, 0.5, 2, 1}, DType::f32, "the last group is empty"},
    {{65, 1, 2, 0, 31}, {0.5, 2, 1, 0.5, 0, 0.125, 0.5}, DType::f32, "the first group is empty"},
    {{1031, 0, 3, 255, 255, 770}, {0.9, 0.5, 0, 2, 1, 0.125, 0.5, 1, 0.25}, DType::f32, "the second group is empty"},
    {{11, 1, 5, 4, 5, 5, 6, 7}, {0.9, 1, 0, 2, 0.5, 4, 0, 0.5, 1, 0.25, 0, 0.125, 2}, DType::f32, "a pack in four"},
    {{4096, 0, 2, 1024, 3072}, {0.9, 0.01, 1e-4, 0.03, 1e-4, 0.1, 1e-4}, DType::f32, "lesson 1's three rates"},
    {{5003, 1, 7, 1, 1023, 1026, 2047, 3001, 3002, 5002},
     {0.5, 1, 0, 2, 0.5, 0, 0, 0.5, 1, 0.25, 0, 4, 0.25, 0.125, 2, 8, 0.125},
     DType::f32,
     "eight groups, one with no rate"},
};
constexpr Rung kRungs[] = {
    {"scalar",
     "A thread an element, as the formula says, which compares its place with the groups' ends.",
     {},
     launch_scalar},
    {"float4",
     "One instruction moves 16 bytes instead of 4, so more bytes are under way; a group is sought once for four.",
     {},
     launch_float4},
};

double elements(const Problem& p) {
  return static_cast<double>(p.extents[SgdStep::n]);
}

void check(const Problem& p) {
  require_positive("sgd_step", std::span(kExtents, 1), p);
  const int64_t splits = p.extents[SgdStep::splits];
  if (splits < 0 || splits >= SgdStep::kMaxGroups)
    fail("sgd_step: " + std::to_string(splits + 1) + " parameter groups; a launch takes 1 to " +
         std::to_string(SgdStep::kMaxGroups));
  int64_t from = 0;
  for (int64_t i = 0; i < splits; ++i) {
    const int64_t end = p.extents[SgdStep::split + i];
    if (end < from || end > p.extents[SgdStep::n])
      fail("sgd_step: group " + std::to_string(i + 1) + " ends at " + std::to_string(end) + ", but begins at " +
           std::to_string(from) + " and there are " + std::to_string(p.extents[SgdStep::n]) + " parameters");
    from = end;
  }
}

}  // namespace

const Op sgd_step = {
    .name = "sgd_step",
    .formula =
        "g = dweight + weight_decay weight; velocity <- momentum velocity + g; "
        "weight <- weight - lr (nesterov ? g + momentum velocity : velocity); all (n), lr and weight_decay by group",
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
    .check = check,
    .reference = reference::sgd_step,
    .flops = [](const Problem& p) { return (p.extents[SgdStep::nesterov] ? 8 : 6) * elements(p); },
    .bytes = [](const Problem& p) { return 20 * elements(p); },
    .bound = {.c = 4},
    .problems = kProblems,
    .rungs = kRungs,
};

}  // namespace weft::WEFT_TARGET
