#include "core/math_mode.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "kernels/error.h"

namespace weft {
namespace {

constexpr Math kAll[] = {Math::fast, Math::strict, Math::tf32};

}  // namespace

std::string_view name_of(Math math) {
  switch (math) {
    case Math::fast:
      return "fast";
    case Math::strict:
      return "strict";
    case Math::tf32:
      return "tf32";
  }
  return {};
}

std::vector<std::string> math_names() {
  std::vector<std::string> names;
  for (const Math math : kAll) names.emplace_back(name_of(math));
  return names;
}

Math math_named(std::string_view name) {
  for (const Math math : kAll)
    if (name_of(math) == name) return math;
  throw UsageError(fmt::format("there is no math \"{}\": take {}", name, fmt::join(math_names(), ", ")));
}

}  // namespace weft
