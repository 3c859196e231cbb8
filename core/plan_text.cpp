#include "core/plan_text.h"

#include <fmt/format.h>

#include "kernels/error.h"

namespace weft {

std::vector<std::string> plan_names(const Graph& graph) {
  std::map<std::string, int> seen;
  std::vector<std::string> names;
  for (const Node& node : graph.nodes()) {
    std::string name = node.name + "/" + node.definition->name;
    const int count = ++seen[name];
    if (count > 1) name += fmt::format("#{}", count);
    names.push_back(std::move(name));
  }
  return names;
}

std::string plan_text(const Choices& choices) {
  std::string text;
  for (const auto& [node, algorithm] : choices) text += node + " " + algorithm + "\n";
  return text;
}

Choices parse_plan(std::string_view text) {
  Choices choices;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.empty()) continue;
    const std::size_t blank = line.rfind(' ');  // a layer's name may hold blanks, an algorithm's does not
    if (blank == std::string_view::npos || blank == 0 || blank + 1 == line.size())
      fail(fmt::format("not a line of a plan: \"{}\"", line));
    choices.insert_or_assign(std::string(line.substr(0, blank)), std::string(line.substr(blank + 1)));
  }
  return choices;
}

}  // namespace weft
