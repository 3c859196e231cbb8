#include "kernels/ops.h"
#include "kernels/reference/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace weft::reference {

using extents::Pool;

void max_pool(const Problem& problem, double* const* operands, double* const*) {
  const std::int64_t* e = problem.extents;
  const std::int64_t N = e[Pool::N], H = e[Pool::H], W = e[Pool::W], C = e[Pool::C], P = e[Pool::P], Q = e[Pool::Q];
  const double* x = operands[0];  // (N, H, W, C)
  double* y = operands[1];        // (N, P, Q, C)
  double* index = operands[2];    // (N, P, Q, C): h * W + w
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t p = 0; p < P; ++p)
      for (std::int64_t q = 0; q < Q; ++q)
        for (std::int64_t c = 0; c < C; ++c) {
          const std::int64_t top = p * e[Pool::stride_h] - e[Pool::pad_h];
          const std::int64_t left = q * e[Pool::stride_w] - e[Pool::pad_w];
          double best = -std::numeric_limits<double>::infinity();
          std::int64_t where = std::max<std::int64_t>(top, 0) * W + std::max<std::int64_t>(left, 0);
          for (std::int64_t r = 0; r < e[Pool::R]; ++r)
            for (std::int64_t s = 0; s < e[Pool::S]; ++s) {
              const std::int64_t h = top + r, w = left + s;
              if (h < 0 || h >= H || w < 0 || w >= W) continue;
              const double value = x[((n * H + h) * W + w) * C + c];
              // torch's rule: the first maximum wins, and a NaN beats everything.
              if (value > best || std::isnan(value)) {
                best = value;
                where = h * W + w;
              }
            }
          y[((n * P + p) * Q + q) * C + c] = best;
          index[((n * P + p) * Q + q) * C + c] = static_cast<double>(where);
        }
}

void max_pool_backward(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t* e = problem.extents;
  const std::int64_t N = e[Pool::N], HW = e[Pool::H] * e[Pool::W], C = e[Pool::C], PQ = e[Pool::P] * e[Pool::Q];
  const double* dy = operands[0];     // (N, P, Q, C)
  const double* index = operands[1];  // (N, P, Q, C)
  double* dx = operands[2];           // (N, H, W, C)
  std::fill(dx, dx + N * HW * C, 0.0);
  std::fill(magnitudes[2], magnitudes[2] + N * HW * C, 0.0);
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t pq = 0; pq < PQ; ++pq)
      for (std::int64_t c = 0; c < C; ++c) {
        const std::int64_t from = (n * PQ + pq) * C + c;
        const std::int64_t to = (n * HW + static_cast<std::int64_t>(index[from])) * C + c;
        dx[to] += dy[from];
        magnitudes[2][to] += std::abs(dy[from]);
      }
}

namespace {

std::size_t outputs(const Problem& problem) {
  const std::int64_t* e = problem.extents;
  return static_cast<std::size_t>(e[Pool::N] * e[Pool::P] * e[Pool::Q] * e[Pool::C]);
}

}  // namespace

void max_pool_unindexed(const Problem& problem, double* const* operands, double* const* magnitudes) {
  std::vector<double> index(outputs(problem));
  double* const with_index[] = {operands[0], operands[1], index.data()};
  max_pool(problem, with_index, magnitudes);
}

void max_pool_unindexed_backward(const Problem& problem, double* const* operands, double* const* magnitudes) {
  std::vector<double> y(outputs(problem)), index(outputs(problem));
  double* const forward[] = {operands[0], y.data(), index.data()};
  max_pool(problem, forward, nullptr);
  double* const backward[] = {operands[1], index.data(), operands[2]};
  max_pool_backward(problem, backward, magnitudes);
}

}  // namespace weft::reference
