#pragma once
// The plan as text: a line "LAYER/OP ALGORITHM" for each node, sorted, so that two plans can be compared line by line.
// A second node of the same layer and op is "LAYER/OP#2".

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/graph.h"

namespace weft {

using Choices = std::map<std::string, std::string, std::less<>>;

/// The name of each node in a plan, by NodeId::index.
std::vector<std::string> plan_names(const Graph& graph);
std::string plan_text(const Choices& choices);
/// Throws Error naming the line that is no plan's.
Choices parse_plan(std::string_view text);

}  // namespace weft
