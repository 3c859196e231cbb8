#include "tools/dogs_vs_cats/sized_model.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/error.h"

namespace weft::cli {

Model sized_model(const std::string& arch, const Classes& classes, std::int64_t channels, std::uint64_t seed,
                  PictureSize size) {
  const auto sized = [&](std::int64_t height, std::int64_t width) {
    Model model = make_model(arch, classes, channels, seed);
    model.set_size(height, width);
    return model;
  };
  try {
    return sized(size.height, size.width);
  } catch (const UsageError&) {
    throw;
  } catch (const Error& error) {
    // Shapes alone are worked out, so that trying sizes takes milliseconds. What fails at every size is not its fault.
    constexpr std::int64_t kEnough = 224;
    for (std::int64_t side = std::max(size.height, size.width) + 1; side <= kEnough; ++side) {
      try {
        sized(side, side);
      } catch (const Error&) {
        continue;
      }
      throw UsageError(fmt::format("pictures of {} x {} are too small for {} ({}); it takes --size {} or more",
                                   size.width, size.height, arch, error.what(), side));
    }
    throw;
  }
}

}  // namespace weft::cli
