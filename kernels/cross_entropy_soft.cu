// cross_entropy_soft: lse[n] = log sum_c exp(x[n,c]), loss = 1/N sum_n sum_c t[n,c] (lse[n] - x[n,c]).
// x are logits (N, C); t are targets, float32 (N, C); lse float32 (N); loss float32 (1).
// cross_entropy (cross_entropy.cu) knows one right class a row. Here every class has a share, and the shares need not
// add up to one: smoothed labels (Szegedy et al., "Rethinking the Inception Architecture", 2016), mixed ones (Zhang et
// al., "mixup", 2018) and weights of classes are all a matter of which t is given (nn/losses.h).
// About 6NC flops and 8NC bytes in float32: bound by memory. The floor is one read of either input.

#include "kernels/catalogue_ops.h"
#include "kernels/element.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/online_softmax.h"
#include "kernels/ops.h"
#include "kernels/packs.h"
#include "kernels/reduce.h"
#include "kernels/reference/reference.h"
#include "kernels/row_losses.h"
#include "kernels/row_team.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Rows;

constexpr int kWarps = kBlock / 32;

// Rung 1, thread-per-row. Neighbouring threads read addresses C elements apart: 32 sectors a request, of which 4 bytes
// each are used at a time. The logits are read three times: for the maximum, the sum, and the product with the targets.
template <class T>
__global__ void cross_entropy_soft_thread_per_row(const T* __restrict__ logits, const float* __restrict__ targets,
                                                  float* __restrict__ lse, float* __restrict__ row_loss, int64_t N,
                                                  int64_t C) {
  const int64_t n = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (n >= N) return;
  const T* row = logits + n * C;
  float maximum = std::numeric_limits<float>::lowest();
  for (int64_t c = 0; c < C; ++c) maximum = fmaxf(maximum, to_float(row[c]));
  float sum = 0;
  for (int64_t c = 0; c < C; ++c) sum += expf(to_float(row[c]) - maximum);
  const float log_sum = maximum + logf(sum);
  float loss = 0;
  for (int64_t c = 0; c < C; ++c) loss += targets[n * C + c] * (log_sum - to_float(row[c]));
  lse[n] = log_sum;
  row_loss[n] = loss;
}

// Rung 2, warp-per-row. A warp reads its row side by side, 4 sectors a request with every byte of them used, and the
// logits twice instead of three times: maximum and sum are kept together (online_softmax.h). The second reading, beside
// the targets, finds a row of up to a few thousand classes in L1; a longer one comes from memory again.
template <class T>
__global__ void cross_entropy_soft_warp_per_row(const T* __restrict__ logits, const float* __restrict__ targets,
                                                float* __restrict__ lse, float* __restrict__ row_loss, int64_t N,
                                                int64_t C) {
  const int64_t n = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (n >= N) return;  // the whole warp leaves together
  MaxSum row;
  for (int64_t c = threadIdx.x % 32; c < C; c += 32) row = append(row, to_float(logits[n * C + c]));
  row = warp_merge(row);
  const float log_sum = row.maximum + logf(row.sum);
  float loss = 0;
  for (int64_t c = threadIdx.x % 32; c < C; c += 32)
    loss += targets[n * C + c] * (log_sum - to_float(logits[n * C + c]));
  loss = warp_sum(loss);
  if (threadIdx.x % 32 == 0) {
    lse[n] = log_sum;
    row_loss[n] = loss;
  }
}

// Rung 3, online. With T = sum_c t the loss of a row is T lse - sum_c t x, which wants one reading, but a difference of
// two large numbers that loses what the loss is made of. Taken from the maximum m it is a sum without cancellation:
//     sum_c t (lse - x) = sum_c t (m - x) + T (lse - m),   m - x >= 0, lse - m = log sum_c exp(x - m) >= 0.
// And a maximum need not be known beforehand: as Milakov and Gimelshein's sum (online_softmax.h) is scaled when the
// maximum grows by d, so this one grows by T d, T being that of the targets so far. Each thread does so by the maximum
// of what it has met itself, and lse alone is brought together. So each input is read once, however long the row; and
// 16 bytes an access, wherever it starts (packs.h), by a block a row.
template <class T>
__global__ void cross_entropy_soft_online(const T* __restrict__ logits, const float* __restrict__ targets,
                                          float* __restrict__ lse, float* __restrict__ row_loss, int64_t C) {
  constexpr int kWide = Pack<float>::kSize, kParts = Pack<T>::kSize / kWide;  // packs of targets beside one of logits
  const int64_t n = blockIdx.x;
  logits += n * C;
  targets += n * C;
  const Packing<T> packing = packing_of(logits, C);
  MaxSum mine;
  float total = 0, loss = 0;  // sum t and sum t (mine.maximum - x) of what this thread has met
  for (int64_t k = threadIdx.x; k < packing.count; k += blockDim.x) {
    const int64_t first = packing.first(k);
    const Pack<T> pack = load_ragged(logits, first, C, -INFINITY);
    Pack<float> shares[kParts];
#pragma unroll
    for (int part = 0; part < kParts; ++part) shares[part] = load_ragged(targets, first + part * kWide, C);
    const MaxSum next = append(mine, pack);
    if (total != 0) loss += total * (next.maximum - mine.maximum);  // of no elements the maximum is none
    mine = next;
#pragma unroll
    for (int e = 0; e < Pack<T>::kSize; ++e) {
      if (first + e < 0 || first + e >= C) continue;  // 0 times infinity
      const float share = shares[e / kWide].values[e % kWide];
      total += share;
      loss += share * (mine.maximum - to_float(pack.values[e]));
    }
  }
  const MaxSum row = block_merge(mine);
  const float log_sum = row.maximum + logf(row.sum);
  if (total != 0) loss += total * (log_sum - mine.maximum);
  loss = block_sum(loss);
  if (threadIdx.x == 0) {
    lse[n] = log_sum;
    row_loss[n] = loss;
  }
}

// Rung 4, register-resident. The online rung scales its sum for every pack, and gives a whole block to a short row. A
// team of threads (row_team.h) loads both rows once, 16 bytes a load, and keeps
// them: the maximum is known before the first exponential is wanted. A block adds up its rows' losses before it writes.
template <class Team, class T>
__global__ void __launch_bounds__(Team::kBlockThreads)
    cross_entropy_soft_register_resident(const T* __restrict__ logits, const float* __restrict__ targets,
                                         float* __restrict__ lse, float* __restrict__ losses, int64_t N, int64_t C) {
  const int64_t n = Team::row(), length = Team::length(N, C);
  const Packing<T> packing = packing_of(logits + n * C, length);
  const auto held = HeldRow<Team, T>::load(logits + n * C, packing, length, -INFINITY);
  const auto shares = HeldRow<Team, T>::load_beside(targets + n * C, packing, length, 0);
  MaxSum row;
#pragma unroll
  for (const float value : held.values) row.maximum = fmaxf(row.maximum, value);
#pragma unroll
  for (const float value : held.values) row.sum += expf(value - row.maximum);
  row = Team::merge(row);
  const float log_sum = row.maximum + logf(row.sum);
  float loss = 0;
#pragma unroll
  for (int i = 0; i < Team::kHeld; ++i) {
    const int64_t c = held.column(packing, i);
    if (c >= 0 && c < length) loss += shares.values[i] * (log_sum - held.values[i]);
  }
  loss = Team::sum(loss);
  if (Team::rank() == 0 && n < N) lse[n] = log_sum;
  store_block_loss<Team>(loss, N, losses);
}

int64_t row_bytes(const Problem& problem) {
  return problem.extents[Rows::rows] * static_cast<int64_t>(sizeof(float));
}

void launch_mean(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const int64_t N = problem.extents[Rows::rows];
  launch_mean_of_row_losses(as<const float>(workspace), as<float>(operands[2]), N, N, stream);
}

void launch_thread_per_row(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const int64_t N = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    launch(cross_entropy_soft_thread_per_row<T>, {.grid = blocks_for(N, 64), .block = 64, .stream = stream},
           as<const T>(operands[0]), as<const float>(operands[1]), as<float>(operands[3]), as<float>(workspace), N, C);
  });
  launch_mean(problem, operands, workspace, stream);
}

void launch_warp_per_row(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const int64_t N = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    launch(cross_entropy_soft_warp_per_row<T>, {.grid = blocks_for(N, kWarps), .block = kBlock, .stream = stream},
           as<const T>(operands[0]), as<const float>(operands[1]), as<float>(operands[3]), as<float>(workspace), N, C);
  });
  launch_mean(problem, operands, workspace, stream);
}

void launch_online(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const int64_t N = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    launch(cross_entropy_soft_online<T>, {.grid = blocks_for(N, 1), .block = kBlock, .stream = stream},
           as<const T>(operands[0]), as<const float>(operands[1]), as<float>(operands[3]), as<float>(workspace), C);
  });
  launch_mean(problem, operands, workspace, stream);
}

void launch_register_resident(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const int64_t N = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    with_row_team(C, [&]<class Team>() {
      const unsigned blocks = blocks_for(N, Team::kTeams);
      const auto loss = as<float>(operands[2]), losses = losses_of_blocks(workspace, loss, blocks);
      launch(cross_entropy_soft_register_resident<Team, T>,
             {.grid = blocks, .block = Team::kBlockThreads, .stream = stream}, as<const T>(operands[0]),
             as<const float>(operands[1]), as<float>(operands[3]), losses, N, C);
      launch_mean_of_row_losses(losses, loss, blocks, N, stream);
    });
  });
}

constexpr const char* kExtents[] = {"rows", "C"};
constexpr Problem kProblems[] = {
    {{1, 2}},
    {{3, 2}, {}, DType::f32, "dogs and cats"},
    {{7, 31}},
    {{33, 7}},
    {{65, 10}, {}, DType::f32, "ten digits"},
    {{11, 101}},
    {{9, 127}},
    {{257, 3}},
    {{32, 1000}, {}, DType::f32, "an ImageNet head"},
    {{2, 4099}},
    {{1, 8191}},
    {{1, 20011}},
    {{1, 50021}},
};
constexpr Rung kRungs[] = {
    {"thread-per-row",
     "A thread reads its row of logits three times.",
     {.dtypes = kFloats},
     launch_thread_per_row,
     row_bytes},
    {"warp-per-row",
     "A warp reads its row side by side, and for maximum and sum together, so once less.",
     {.dtypes = kFloats},
     launch_warp_per_row,
     row_bytes},
    {"online",
     "Loss, maximum and sum in one pass by a block, 16 bytes an access: each input is read once, whatever its length.",
     {.dtypes = kFloats},
     launch_online,
     row_bytes},
    {"register-resident",
     "A team of threads holds both rows in registers, so that no sum is scaled again and again.",
     {.dtypes = kFloats, .takes = fits_row_team, .takes_what = "rows that the registers of a block hold"},
     launch_register_resident,
     row_bytes},
};
double elements(const Problem& p) {
  return static_cast<double>(p.extents[Rows::rows]) * static_cast<double>(p.extents[Rows::C]);
}
int64_t terms(const Problem& p) {
  return p.extents[Rows::rows] + p.extents[Rows::C];
}

}  // namespace

const Op cross_entropy_soft = {
    .name = "cross_entropy_soft",
    .formula =
        "loss = 1/N sum_nc targets[n,c] (lse[n] - logits[n,c]), lse[n] = log sum_c exp(logits[n,c]); logits, targets "
        "(N, C), lse (N), loss (1)",
    .peer = nullptr,  // cuDNN has softmax, and no loss
    .extent_names = kExtents,
    .scalar_names = {},
    .signature =
        [](const Problem& p) {
          const int64_t N = p.extents[Rows::rows], C = p.extents[Rows::C];
          return Signature{4,
                           {{"logits", Role::input, p.dtype, 2, {N, C}},
                            {"targets", Role::input, DType::f32, 2, {N, C}, Fill::positive},
                            {"loss", Role::output, DType::f32, 1, {1}},
                            {"lse", Role::output, DType::f32, 1, {N}}}};
        },
    .check = [](const Problem& p) { require_positive("cross_entropy_soft", kExtents, p); },
    .reference = reference::cross_entropy_soft,
    .flops = [](const Problem& p) { return 6 * elements(p); },
    .bytes =
        [](const Problem& p) {
          return (width(p) + 4) * elements(p) + 4.0 * static_cast<double>(p.extents[Rows::rows] + 1);
        },
    .bound = {.c = 4, .terms = terms},
    .problems = kProblems,
    .rungs = kRungs,
};

}  // namespace weft::WEFT_TARGET
