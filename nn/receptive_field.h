#pragma once
// What of the picture an activation can see.

#include <cstdint>
#include <optional>
#include <vector>

#include "core/graph.h"
#include "data/image.h"

namespace weft {

/// Along each axis, place i of a value depends on pixels start + i step up to (not including) start + i step + size.
/// They may lie outside the picture: that is padding.
struct ReceptiveField {
  struct Axis {
    std::int64_t size = 1, step = 1, start = 0;
    bool operator==(const Axis&) const = default;
  };
  Axis rows, columns;
  bool operator==(const ReceptiveField&) const = default;

  /// The pixels behind a place, without those outside a picture of width x height.
  Box box(std::int64_t row, std::int64_t column, int width, int height) const;
};

/// Of every value with places that is computed from `input` (N, H, W, C), by ValueId::index; nothing for the others. A
/// window makes the field larger by (window - 1) dilation steps; branches that meet are taken together. After Araujo,
/// Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", 2019. Throws Error where branches of
/// different steps meet.
std::vector<std::optional<ReceptiveField>> receptive_fields(const Graph& graph, ValueId input);

}  // namespace weft
