#pragma once
// An architecture for pictures of a size.

#include <cstdint>
#include <string>

#include "nn/model.h"

namespace weft::cli {

struct PictureSize {
  std::int64_t height = 0, width = 0;
};

/// make_model(), set to that size. Throws UsageError where it is too small for the architecture, naming the smallest
/// that is not.
Model sized_model(const std::string& arch, const Classes& classes, std::int64_t channels, std::uint64_t seed,
                  PictureSize size);

}  // namespace weft::cli
