#pragma once
// mixup: Zhang, Cisse, Dauphin and Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", 2018. Pictures of a batch
// are blended in pairs, and so are their labels (nn/losses.h): x' = share x + (1 - share) x_partner.

#include <cstdint>
#include <vector>

namespace weft {

/// How a batch is blended: one share for all its rows, drawn from Beta(alpha, alpha), and a partner for each.
struct Mixture {
  double share = 1;
  std::vector<int64_t> partner;
};

/// Of a batch of `count` rows: by the seed, the epoch and the batch's number in it, and nothing else. Throws Error
/// unless alpha is above 0.
Mixture draw_mixture(double alpha, std::uint64_t seed, std::int64_t epoch, std::int64_t batch, std::int64_t count);

/// Blends rows of `row_size` floats in place. `scratch` is memory that may be used again by the next call.
void mix_rows(float* rows, std::int64_t row_size, const Mixture& mixture, std::vector<float>& scratch);

}  // namespace weft
