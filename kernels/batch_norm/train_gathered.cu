// batch_norm_train_gathered: batch_norm_train (train.cu) where the batch's mean and biased variance are known already,
// as conv2d_statistics gathers them while it makes x: y = relu?((x - mean) invstd weight + bias [+ residual]), invstd =
// 1 / sqrt(var + eps), and the running statistics move as there.   x, residual, y are (rows, C), all else (C).
// The floor is one read of x and one write of y, whatever the number of rows: batch_norm_train reaches it only where it
// can keep a channel's rows on the chip.

#include "kernels/batch_norm/apply.h"
#include "kernels/catalogue_ops.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::BatchNorm;

/// Where each operand stands (kernels/ops.h).
struct GatheredOperands {
  enum : int { x, weight, bias, residual, running_mean, running_var, mean, var, y, save_mean, save_invstd, kCount };
};
using At = GatheredOperands;
static_assert(static_cast<int>(At::residual) == static_cast<int>(TrainOperands::residual), "finish_of() finds it");

// Rung 1, vectorised: batch_norm_eval's kernel, whose first chunk's blocks also move the running statistics.
void launch_vectorised(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t C = problem.extents[BatchNorm::C];
  const BatchStatistics statistics = {as<float>(operands[At::running_mean]),
                                      as<float>(operands[At::running_var]),
                                      as<float>(operands[At::save_mean]),
                                      as<float>(operands[At::save_invstd]),
                                      static_cast<float>(problem.scalars[BatchNorm::eps]),
                                      static_cast<float>(problem.scalars[BatchNorm::momentum])};
  const ChannelStatistics found = {as<const float>(operands[At::mean]), as<const float>(operands[At::var]), true,
                                   statistics.eps};
  with_vector(problem.dtype, C, [&]<class T, int kVector>() {
    apply_vectors<T, kVector, true>(problem, as<const T>(operands[At::x]), as<const float>(operands[At::weight]),
                                    as<const float>(operands[At::bias]), found, finish_of<T>(problem, operands),
                                    as<T>(operands[At::y]), stream, statistics);
  });
}

constexpr Problem kProblems[] = {
    {{2, 1}, {1e-5, 0.1}},
    {{7, 3}, {1e-3, 0.5}},
    {{65, 7}, {1e-5, 1}},
    {{513, 40}, {1e-5, 0}},
    {{65, 63, 1, 0}, {1e-5, 0.1}, DType::f32, "add"},
    {{129, 24, 1, 1}, {1e-5, 0.1}, DType::f32, "add and relu"},
    {{67, 12, 1, 1}, {1e-5, 0.1, 0.75}, DType::f32, "add and relu with a ceiling"},
    {{196, 64, 0, 1}, {1e-5, 0.1}, DType::f32, "resnet18 layer1, 14 x 14, relu"},
};
constexpr Rung kRungs[] = {
    {"vectorised",
     "Statistics that came with x spare its first reading: one pass over x, in which the running ones move too.",
     {.dtypes = kFloats, .alignment = 16},
     launch_vectorised},
};

void check(const Problem& p) {
  check_batch_norm("batch_norm_train_gathered", p);
  if (p.extents[BatchNorm::rows] == 1)
    fail("batch_norm_train_gathered: expected more than 1 value per channel when training, got rows = 1 (C = " +
         std::to_string(p.extents[BatchNorm::C]) + "); one value has no variance: use a larger batch, or eval mode");
}

}  // namespace

const Op batch_norm_train_gathered = {
    .name = "batch_norm_train_gathered",
    .formula =
        "y[n,c] = relu?((x[n,c] - mean[c]) / sqrt(var[c] + eps) weight[c] + bias[c] [+ residual[n,c]]); x, "
        "residual, y (rows, C), all else (C)",
    .peer = nullptr,  // no library takes the statistics that a convolution gathered, and keeps the running ones
    .extent_names = kBatchNormExtents,
    .scalar_names = kBatchNormScalars,
    .signature =
        [](const Problem& p) {
          const int64_t rows = p.extents[BatchNorm::rows], C = p.extents[BatchNorm::C];
          const bool has_residual = p.extents[BatchNorm::has_residual] != 0;
          return Signature{At::kCount,
                           {{"x", Role::input, p.dtype, 2, {rows, C}},
                            {"weight", Role::input, DType::f32, 1, {C}},
                            {"bias", Role::input, DType::f32, 1, {C}},
                            {"residual", Role::input, p.dtype, 2, {rows, C}, Fill::normal, 0, has_residual},
                            {"running_mean", Role::inout, DType::f32, 1, {C}},
                            {"running_var", Role::inout, DType::f32, 1, {C}, Fill::positive},
                            {"mean", Role::input, DType::f32, 1, {C}},
                            {"var", Role::input, DType::f32, 1, {C}, Fill::positive},
                            {"y", Role::output, p.dtype, 2, {rows, C}},
                            {"save_mean", Role::output, DType::f32, 1, {C}},
                            {"save_invstd", Role::output, DType::f32, 1, {C}}}};
        },
    .check = check,
    .reference = reference::batch_norm_train_gathered,
    .flops = [](const Problem& p) { return 4 * batch_norm_elements(p); },
    .bytes =
        [](const Problem& p) {
          return (2 + static_cast<double>(p.extents[BatchNorm::has_residual])) * width(p) * batch_norm_elements(p) +
                 40.0 * static_cast<double>(p.extents[BatchNorm::C]);
        },
    .bound = {.c = 4},
    .problems = kProblems,
    .rungs = kRungs,
};

}  // namespace weft::WEFT_TARGET
