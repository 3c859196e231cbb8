#include "data/mixup.h"

#include <fmt/format.h>

#include <cmath>
#include <numeric>
#include <utility>

#include "kernels/error.h"
#include "kernels/philox.h"

namespace weft {

namespace {

// In (0, 1), so that its logarithm is finite.
double above_zero(Philox& random) {
  return (double(random.next()) + 0.5) * 0x1p-32;
}

// The logarithm of a number drawn from Gamma(shape, 1): Marsaglia and Tsang, "A Simple Method for Generating Gamma
// Variables", 2000. A shape below 1 is reached from shape + 1 by the factor U^(1/shape), in logarithms since for a
// small shape that underflows.
double log_gamma_draw(double shape, Philox& random) {
  if (shape < 1) return log_gamma_draw(shape + 1, random) + std::log(above_zero(random)) / shape;
  double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  while (true) {
    double x = random.normal(), v = std::pow(1 + c * x, 3);
    if (v > 0 && std::log(above_zero(random)) < 0.5 * x * x + d - d * v + d * std::log(v)) return std::log(d * v);
  }
}

}  // namespace

Mixture draw_mixture(double alpha, std::uint64_t seed, std::int64_t epoch, std::int64_t batch, std::int64_t count) {
  if (!(alpha > 0)) fail(fmt::format("mixup: alpha is above 0, not {}", alpha));
  Philox random(seed, subsequence_of("data.mixup") + (std::uint64_t(epoch) << 40) + std::uint64_t(batch));
  Mixture mixture;
  // X / (X + Y) of two draws from Gamma(alpha) is one from Beta(alpha, alpha).
  double x = log_gamma_draw(alpha, random), y = log_gamma_draw(alpha, random);
  mixture.share = 1 / (1 + std::exp(y - x));
  mixture.partner.resize(size_t(count));
  std::iota(mixture.partner.begin(), mixture.partner.end(), std::int64_t{0});
  for (std::int64_t i = count - 1; i > 0; --i)
    std::swap(mixture.partner[size_t(i)], mixture.partner[random.below(std::uint32_t(i + 1))]);
  return mixture;
}

void mix_rows(float* rows, std::int64_t row_size, const Mixture& mixture, std::vector<float>& scratch) {
  auto count = std::int64_t(mixture.partner.size());
  scratch.assign(rows, rows + count * row_size);
  auto share = float(mixture.share), rest = float(1 - mixture.share);
  for (std::int64_t i = 0; i < count; ++i) {
    const float *own = scratch.data() + i * row_size, *other = scratch.data() + mixture.partner[size_t(i)] * row_size;
    for (std::int64_t k = 0; k < row_size; ++k) rows[i * row_size + k] = share * own[k] + rest * other[k];
  }
}

}  // namespace weft
