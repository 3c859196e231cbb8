#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "core/graph.h"

namespace weft {

/// What a pass asks a device of kernels: the name of the rung that would run a node with such operands (of one that is
/// left out, an empty Value); empty where none can.
using RungOf =
    std::function<std::string_view(const Node&, std::span<const Value> inputs, std::span<const Value> outputs)>;

}  // namespace weft
